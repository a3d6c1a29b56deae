"""How many windows of 192^3 voxels of 2 mm a crop of each layer by itself would save, from outlines of bodies.

    python -m benchmarks.layer_windows DIR --output table.md

DIR holds label volumes (`autosegnet-train label-volumes`). Windows are those of the crop to the body; "left" are those
if each layer of windows, along z, is cropped to the body in it. Both crops leave a margin of 14 mm. Nothing is run:
windows of a cropped layer start elsewhere, so the mask would be another.
"""

from __future__ import annotations

import argparse
import sys
from math import ceil, floor, prod
from pathlib import Path

import numpy as np

from autosegnet.geometry import find_occupied_box
from autosegnet.io import write_text
from autosegnet.model.sliding_window import find_window_starts
from petct_simulator.label_volume import LabelVolume, read_label_volume
from petct_simulator.tissue import Tissue

_VOXEL_MM, _PATCH, _OVERLAP = 2.0, 192, 0.5  # as trained in the paper
_MARGIN_MM = 14.0  # beyond tissue, as `preprocess.find_body_region` leaves
_LONG_MM = 1200.0  # from here on, a scan goes beyond the thighs
_NO_BODY = (Tissue.OUTSIDE, Tissue.TABLE, Tissue.TABLE_FOAM, Tissue.MATTRESS)


def count_windows(volume: LabelVolume) -> tuple[int, int]:
    """Return the windows of a body, and those that are left if each layer is cropped by itself."""
    body = ~np.isin(volume.labels, _NO_BODY)
    body = body[find_occupied_box(body)]
    extents_mm = [n * mm + 2 * _MARGIN_MM for n, mm in zip(body.shape, volume.spacing_mm, strict=True)]
    x, y, z = (_list_starts(extent) for extent in extents_mm)
    left, mm = 0, volume.spacing_mm[2]
    for start in z:
        low, high = (_VOXEL_MM * place - _MARGIN_MM for place in (start, start + _PATCH))
        across = find_occupied_box(body[:, :, max(0, floor(low / mm)) : ceil(high / mm)])[:2]
        left += prod(
            len(_list_starts(min(whole, (part.stop - part.start) * step + 2 * _MARGIN_MM)))
            for part, step, whole in zip(across, volume.spacing_mm, extents_mm, strict=False)
        )
    return len(x) * len(y) * len(z), left


def _list_starts(extent_mm: float) -> tuple[int, ...]:
    length = max(_PATCH, round(extent_mm / _VOXEL_MM))
    return find_window_starts(length, patch=_PATCH, overlap=_OVERLAP)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="label volumes")
    parser.add_argument("--output", type=Path, help="Markdown")
    args = parser.parse_args()
    found: dict[str, list[tuple[int, int]]] = {}
    for path in sorted(args.folder.glob("*.npz")):
        volume = read_label_volume(path)
        height_mm = volume.labels.shape[2] * volume.spacing_mm[2]
        kind = "procedural" if volume.from_map is None else "around an organ map"
        length = "longer" if height_mm >= _LONG_MM else "shorter"
        found.setdefault(f"{kind}, {length} than {_LONG_MM / 1000:g} m", []).append(count_windows(volume))
    lines = ["| bodies | number | windows | left | bodies with fewer |\n|---|---:|---:|---:|---:|\n"]
    for name, counts in sorted(found.items()):
        windows, left = (sum(column) for column in zip(*counts, strict=True))
        fewer = sum(after < before for before, after in counts)
        lines.append(f"| {name} | {len(counts)} | {windows} | {left} | {fewer} |\n")
    sys.stdout.write("".join(lines))
    if args.output:
        write_text("".join(lines), args.output)


if __name__ == "__main__":
    main()
