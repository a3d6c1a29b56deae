"""Masks of a cohort as a BIDS derivative dataset, with what made each mask beside it.

Source: Brain Imaging Data Structure 1.10, "Derivatives" and "Imaging data types": a mask is named after its PET, with
the entity `label` and the suffix `mask`, and lies in a dataset whose description says `derivative`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from autosegnet import __version__
from autosegnet.batch.record import Places, StudyRow, read_record
from autosegnet.errors import InputError
from autosegnet.io import write_all

_NAME = re.compile(r"(?:.*_)?(?P<subject>sub-[A-Za-z0-9]+)(_(?P<session>ses-[A-Za-z0-9]+))?(_.*)?")


def write_bids_derivatives(output: Path, rows: Iterable[StudyRow], dataset: Path) -> int:
    """Write the masks of the studies that BIDS names into a derivative dataset, and return how many.

    Args:
        output: folder of the batch.
        rows: of all studies; those that are not done, or not named `sub-…`, are left out.
        dataset: folder of the derivatives.

    Raises:
        InputError: no study is named as in BIDS.
        OutputError: something cannot be written.
    """
    written = 0
    for row in rows:
        match = _NAME.fullmatch(row.case)
        if row.status != "done" or match is None or not row.mask.endswith(".nii.gz"):
            continue
        folder = dataset.joinpath(*filter(None, (match["subject"], match["session"])), "pet")
        name = f"{row.case[match.start('subject') :]}_label-lesion_mask"
        record = read_record(Places(output, row.case).record)
        sidecar = {"Type": "Lesion", **({} if record is None else {"GeneratedFrom": record.made_by})}
        text = json.dumps(sidecar, indent=2) + "\n"
        write_all({folder / f"{name}.json": text, folder / f"{name}.nii.gz": (output / row.mask).read_bytes()})
        written += 1
    if not written:
        raise InputError("no study is done, named sub-… and written as .nii.gz; expected the masks of a BIDS dataset")
    description = {
        "Name": "Lesions in FDG PET/CT",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "autosegnet", "Version": __version__}],
    }
    write_all({dataset / "dataset_description.json": json.dumps(description, indent=2) + "\n"})
    return written
