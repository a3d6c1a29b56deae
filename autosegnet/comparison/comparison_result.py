"""What a comparison found, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autosegnet.comparison.changes import BodyChange, LesionChange
from autosegnet.comparison.matching import Matched
from autosegnet.comparison.percist import PercistSuggestion
from autosegnet.comparison.registration_check import RegistrationCheck
from autosegnet.comparison.visits import Visit
from autosegnet.comparison.warp import Warp
from autosegnet.geometry import Grid, make_image
from autosegnet.lesions import number_lesions

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed between two dates.

    Args:
        baseline: the earlier visit.
        followup: the later visit.
        warp: from follow-up to baseline.
        check: figures of the registration.
        matched: links between lesions.
        changes: of every disease, the largest first.
        body: figures of the region that both dates cover.
        percist: what PERCIST suggests.
        deauville: suggested score of baseline and follow-up, '' without references.
        doubts: what makes the PETs hard to compare, a sentence each.
        warnings: of identity, order and registration, a sentence each.
        days: from baseline to follow-up, None if not known.
    """

    baseline: Visit
    followup: Visit
    warp: Warp
    check: RegistrationCheck
    matched: Matched
    changes: tuple[LesionChange, ...]
    body: tuple[BodyChange, ...]
    percist: PercistSuggestion
    deauville: tuple[str, str]
    doubts: tuple[str, ...]
    warnings: tuple[str, ...]
    days: int | None

    def number_changes(self, visit: Visit) -> sitk.Image:
        """Return the mask of one of both visits in which each lesion has its change's number, uint16."""
        labels, n = number_lesions(visit.mask, labelled=visit.table.labelled)
        numbers = np.zeros(n + 1, np.uint16)
        for change in self.changes:
            figures = change.baseline if visit is self.baseline else change.followup
            numbers[list(figures.lesions)] = change.number
        return make_image(numbers[labels], Grid.from_image(visit.mask))

    def align_baseline(self) -> dict[str, sitk.Image]:
        """Return PET (SUV), CT (HU) and numbered lesions of the baseline on the grid of the follow-up's PET, by name.

        PET and CT are interpolated linearly, 0 and -1024 outside; lesions take the nearest voxel. For the eye:
        figures are measured on each PET's own grid.
        """
        import SimpleITK as sitk

        study, target = self.baseline.loaded.study, self.followup.loaded.study.pet
        lesions = sitk.Resample(
            self.number_changes(self.baseline), target, self.warp.transform, sitk.sitkNearestNeighbor, 0
        )
        pet, ct = (
            sitk.Resample(image, target, self.warp.transform, sitk.sitkLinear, outside, sitk.sitkFloat32)
            for image, outside in ((study.pet, 0.0), (study.ct, -1024.0))
        )
        return {"baseline_suv": pet, "baseline_ct": ct, "baseline_lesions": lesions}
