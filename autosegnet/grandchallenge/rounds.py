"""Interactive rounds of a study (autoPET IV and V): the clicks of a round, and the study that a server keeps for more.

Every round brings PET, CT and all clicks so far. A server that is called again with the same study does not run the
network again, unless its folds take clicks and these have changed. A program that runs once per job keeps nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from autosegnet.corrections import Clicks, read_clicks
from autosegnet.errors import InputError
from autosegnet.geometry import Grid, view_voxels
from autosegnet.study import Study

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

T = TypeVar("T")


def read_round(path: Path | None, pet: sitk.Image) -> tuple[Clicks, dict[str, Any]]:
    """Return the clicks of a round, and the remark on them for `results.json`.

    Clicks that cannot be used are left out with a warning, because the folds' mask is better than a failed job.

    Args:
        path: of the clicks; None if the job has none.
        pet: of the job.
    """
    if path is None:
        return Clicks(), {}
    try:
        clicks = read_clicks(path)
        clicks.find_voxels(Grid.from_image(pet))
    except InputError as error:
        log.warning("the clicks are not used: %s", error)
        return Clicks(), {"clicks": {"tumor": 0, "background": 0, "refused": str(error)}}
    if not clicks:
        return clicks, {}
    return clicks, {"clicks": {"tumor": len(clicks.tumor), "background": len(clicks.background)}}


class LastStudy(Generic[T]):
    """Keeps the result of the last study in memory until another study comes."""

    def __init__(self) -> None:
        self._key = ""
        self._kept: T | None = None

    def find(self, study: Study, weights: str, compute: Callable[[], T]) -> T:
        """Return the result for the study, from memory or computed now.

        Args:
            study: PET and CT.
            weights: everything else that the result depends on, as text: the weights, and clicks that the folds take.
            compute: for this study.
        """
        key = digest_study(study, weights)
        if self._kept is not None and key == self._key:
            log.info("the same study as before: its probability of lesion was kept")
            return self._kept
        self._kept = None  # frees its memory for the next study
        kept = compute()
        self._key, self._kept = key, kept
        return kept


def digest_study(study: Study, weights: str) -> str:
    """Return a digest of voxels and grids of PET and CT, and of a text."""
    digest = hashlib.blake2b(weights.encode())
    for image in (study.pet, study.ct):
        array = view_voxels(image)
        digest.update(repr((Grid.from_image(image), array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
