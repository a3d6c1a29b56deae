"""The files of a comparison, by name; all are written or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autosegnet.comparison.change_table import encode_changes_parquet, format_changes_csv, format_comparison_json
from autosegnet.comparison.comparison_page import make_comparison_page
from autosegnet.comparison.pictures import draw_projections, draw_slices
from autosegnet.geometry import view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.comparison.comparison_result import Comparison

COMPARISON_PAGE: Final = "comparison.html"
_NAMES: Final = frozenset({
    COMPARISON_PAGE, "changes.csv", "comparison.json", "changes.parquet", "transform.tfm",
    "baseline_suv.nii.gz", "baseline_ct.nii.gz", "baseline_lesions.nii.gz", "followup_lesions.nii.gz",
})  # fmt: skip


def is_comparison_file(name: str) -> bool:
    """Return whether a file of this name is one of a comparison."""
    return name in _NAMES


def make_comparison_files(found: Comparison, *, title: str = "") -> dict[str, bytes | str]:
    """Return the content of page, tables and transform by name.

    Args:
        found: the comparison.
        title: of the page; '' names nobody.
    """
    projections = draw_projections(found)
    files: dict[str, bytes | str] = {
        COMPARISON_PAGE: make_comparison_page(found, projections, draw_slices(found), title=title),
        "changes.csv": format_changes_csv(found),
        "comparison.json": format_comparison_json(found),
        "transform.tfm": encode_transform(found.warp.transform),
    }
    table = encode_changes_parquet(found)
    return files if table is None else {**files, "changes.parquet": table}


def encode_transform(transform: sitk.Transform) -> bytes:
    """Return a transform as ITK's text file, which SimpleITK, 3D Slicer and ANTs read."""
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transform.tfm"
        sitk.WriteTransform(transform, str(path))
        return path.read_bytes()


def _cast(image: sitk.Image) -> sitk.Image:
    """Return numbers in a type that every viewer reads: uint8 up to 255, else float32."""
    import SimpleITK as sitk

    if image.GetPixelID() != sitk.sitkUInt16:
        return image
    cast: sitk.Image = sitk.Cast(image, sitk.sitkUInt8 if view_voxels(image).max(initial=0) < 256 else sitk.sitkFloat32)
    return cast


def save_comparison(
    found: Comparison, folder: str | os.PathLike[str], *, title: str = "", aligned: bool = False
) -> Path:
    """Write the files of a comparison into a folder, all or none, remove older ones, and return the folder.

    Args:
        found: the comparison.
        folder: made if it is missing.
        title: of the page; '' names nobody.
        aligned: also write PET, CT and lesions of the baseline on the follow-up's grid.

    Raises:
        OutputError: one of the files cannot be written.
    """
    from autosegnet.io import write_all
    from autosegnet.io.places import OutputFolder, remove_file

    folder = Path(folder)
    files: dict[Path, sitk.Image | str | bytes] = {
        folder / name: content for name, content in make_comparison_files(found, title=title).items()
    }
    if aligned:
        images = {**found.align_baseline(), "followup_lesions": found.number_changes(found.followup)}
        files.update({folder / f"{name}.nii.gz": _cast(image) for name, image in images.items()})
    write_all(files)
    for path in OutputFolder(folder, is_comparison_file).list_files():
        if path not in files:
            remove_file(path)
    return folder
