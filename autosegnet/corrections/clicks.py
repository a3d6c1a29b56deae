"""Clicks of a reader: read from grand-challenge's "Multiple points", and found on the PET's grid.

A scribble is given as all its voxels, each a point of its own. Points are (x, y, z), either voxel indices of the PET,
as in the challenge's own files, or LPS positions in mm.

Source: autoPET IV and V, `lesion-clicks.json` (github.com/lab-midas/autoPETCTIV, clicks/simulate_clicks.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from autosegnet.errors import InputError
from autosegnet.geometry import Grid
from autosegnet.io.small_files import read_json

Point = tuple[float, float, float]
Index = tuple[int, int, int]
Space = Literal["voxel", "mm"]

_MOST_BYTES: Final = 8 << 20
_MOST_POINTS: Final = 100_000
_FARTHEST: Final = 1e6
_EXPECTED: Final = (
    '{"type": "Multiple points", "points": [{"point": [x, y, z], "name": "tumor" or "background"}, …]}, with voxel '
    'indices of the PET, or with LPS positions in mm and "space": "mm" beside "points"'
)


@dataclass(frozen=True, slots=True)
class Clicks:
    """Points on tumour and on background.

    Args:
        tumor: points that the mask must hold.
        background: points that it must not hold.
        space: "voxel" for indices (x, y, z) of the PET, "mm" for LPS positions.
    """

    tumor: tuple[Point, ...] = ()
    background: tuple[Point, ...] = ()
    space: Space = "voxel"

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.tumor) + len(self.background)

    def describe(self) -> str:
        """Return how many points there are, in words."""
        return f"{len(self.tumor)} on tumour, {len(self.background)} on background"

    def find_voxels(self, grid: Grid) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
        """Return the voxels of the tumour and of the background, as (x, y, z) indices, each once and in order.

        Raises:
            InputError: a point lies outside the PET, or one voxel is both.
        """
        tumor = _find_all(self.tumor, "tumor", self.space, grid)
        background = _find_all(self.background, "background", self.space, grid)
        both = set(tumor) & set(background)
        if both:
            raise InputError(f"voxel {min(both)} of the PET has a click on tumor and one on background; remove one")
        return tumor, background


def _find_all(points: tuple[Point, ...], name: str, space: Space, grid: Grid) -> tuple[Index, ...]:
    return tuple(sorted({_find_one(point, name, space, grid) for point in points}))


def _find_one(point: Point, name: str, space: Space, grid: Grid) -> Index:
    place = point if space == "voxel" else grid.find_index(point)
    x, y, z = (math.floor(value + 0.5) for value in place)
    if not all(0 <= at < count for at, count in zip((x, y, z), grid.size, strict=True)):
        shown = ", ".join(f"{value:g}" for value in point)
        size = " x ".join(str(count) for count in grid.size)
        what = "as a voxel index" if space == "voxel" else "in mm, LPS"
        raise InputError(
            f"the {name} click ({shown}), read {what}, lies outside the PET of {size} voxels; if the file holds "
            f'{"positions in mm" if space == "voxel" else "voxel indices"}, say "space": '
            f'"{"mm" if space == "voxel" else "voxel"}" in it'
        )
    return x, y, z


def read_clicks(path: Path) -> Clicks:
    """Return the clicks in a file; an empty file holds none.

    Raises:
        InputError: the file cannot be read as clicks, or is larger than any reader's.
    """
    if path.is_file() and path.stat().st_size == 0:  # the platform's, before the first round
        return Clicks()
    return read_json(path, parse_clicks, what="clicks", expected=_EXPECTED, most_bytes=_MOST_BYTES)


def parse_clicks(value: Any) -> Clicks:
    """Return the clicks in a JSON value.

    Args:
        value: the platform's "Multiple points"; or `{"tumor": [[x, y, z], …], "background": […]}`, as the challenge's
            click generator writes them; or an empty list. Either object may say `"space": "mm"` or `"voxel"`.

    Raises:
        InputError: another shape, another name, or a point that is not three finite numbers.
    """
    if value == []:
        return Clicks()
    if not isinstance(value, Mapping):
        raise InputError(f"clicks are a {type(value).__name__}; expected {_EXPECTED}")
    space = value.get("space", "voxel")
    if space not in ("voxel", "mm"):
        raise InputError(f'"space" of the clicks is {space!r}; expected "voxel" or "mm"')
    named: dict[str, list[Point]] = {"tumor": [], "background": []}
    for name, point in _list_points(value):
        if name not in named:
            raise InputError(f'a click has the name {name!r}; expected "tumor" or "background"')
        if sum(map(len, named.values())) == _MOST_POINTS:
            raise InputError(f"there are more than {_MOST_POINTS} clicks; expected those of a reader")
        named[name].append(_check_point(point, is_whole="space" not in value))
    return Clicks(tuple(named["tumor"]), tuple(named["background"]), space)


def _list_points(value: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    if "points" not in value and ("tumor" in value or "background" in value):
        return [(name, point) for name in ("tumor", "background") for point in _check_list(value.get(name, []), name)]
    kind = value.get("type", "Multiple points")
    if kind != "Multiple points":
        raise InputError(f'"type" of the clicks is {kind!r}; expected "Multiple points"')
    points = _check_list(value.get("points"), "points")
    if not all(isinstance(entry, Mapping) for entry in points):
        raise InputError(f"a click is not an object; expected {_EXPECTED}")
    return [(entry.get("name"), entry.get("point")) for entry in points]


def _check_list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f'"{name}" of the clicks is {"missing" if value is None else "no list"}; expected {_EXPECTED}')
    return value


def _check_point(point: Any, *, is_whole: bool) -> Point:
    is_triple = isinstance(point, list | tuple) and len(point) == 3
    if not is_triple or not all(_is_number(value) for value in point):
        raise InputError(f"a click is at {str(point)[:80]}; expected three finite numbers, x, y, z")
    if is_whole and not all(float(value).is_integer() for value in point):
        raise InputError(
            f'a click is at {list(point)}, which is no whole voxel; if it is a position in mm (LPS), say "space": "mm" '
            'in the file, and "space": "voxel" if it is an index'
        )
    x, y, z = (float(value) for value in point)
    return x, y, z


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FARTHEST
