"""Which lesions of a mask are kept: all, unless the user leaves out small or doubtful ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.lesions.context import Context
from autosegnet.lesions.figures import LeftOut, Lesion
from autosegnet.lesions.lesion_table import LesionTable
from autosegnet.lesions.measure import measure_lesions
from autosegnet.lesions.numbering import number_lesions

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to leave out, and what makes a lesion.

    Args:
        min_volume_ml: lesions below it are left out.
        drop_flagged: lesions that may be physiological are left out.
        labelled: each label of the mask is one lesion.
    """

    min_volume_ml: float = 0.0
    drop_flagged: bool = False
    labelled: bool = False


def measure_selected(
    mask: sitk.Image, suv: sitk.Image, context: Context | None, selection: Selection
) -> tuple[sitk.Image, LesionTable]:
    """Return a mask without what is left out, and its figures, which say what was left out.

    Args:
        mask: integer, lesion where it is not 0; returned as it is if nothing is left out.
        suv: PET in SUV (g/ml), on the same grid.
        context: as in `measure_lesions`.
        selection: what to leave out.

    Raises:
        InputError: as `measure_lesions`.
    """
    table = measure_lesions(mask, suv, context, labelled=selection.labelled)
    small = [lesion for lesion in table.lesions if lesion.volume_ml < selection.min_volume_ml]
    flagged = [
        lesion for lesion in table.lesions if selection.drop_flagged and lesion.site.flag and lesion not in small
    ]
    if not small and not flagged:
        return mask, table
    labels, n = number_lesions(mask, labelled=selection.labelled)
    kept = np.ones(n + 1, bool)
    kept[[lesion.number for lesion in (*small, *flagged)]] = False
    remaining = make_image(
        np.where(kept[labels], view_voxels(mask), 0).astype(view_voxels(mask).dtype), Grid.from_image(mask)
    )
    left_out = tuple(
        LeftOut(reason, len(lesions), sum(lesion.volume_ml for lesion in lesions))
        for reason, lesions in _list_reasons(small, flagged, selection)
        if lesions
    )
    # References also avoid lesions that are left out.
    kept_table = measure_lesions(remaining, suv, context, labelled=selection.labelled)
    return remaining, replace(kept_table, references=table.references, left_out=left_out)


def _list_reasons(
    small: list[Lesion], flagged: list[Lesion], selection: Selection
) -> tuple[tuple[str, list[Lesion]], tuple[str, list[Lesion]]]:
    return (
        (f"smaller than {selection.min_volume_ml:g} ml (--min-volume)", small),
        ("may be physiological uptake of an organ (--drop-flagged)", flagged),
    )
