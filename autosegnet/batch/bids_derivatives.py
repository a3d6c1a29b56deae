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
        InputError: no study is named as in BIDS, or two have one place in the dataset. Nothing is written then.
        OutputError: something cannot be written.
    """
    places = _find_places(rows)
    for stem, row in places.items():
        record = read_record(Places(output, row.case).record)
        sidecar = {"Type": "Lesion", **({} if record is None else {"GeneratedFrom": record.made_by})}
        text = json.dumps(sidecar, indent=2) + "\n"
        write_all({dataset / f"{stem}.json": text, dataset / f"{stem}.nii.gz": (output / row.mask).read_bytes()})
    description = {
        "Name": "Lesions in FDG PET/CT",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "autosegnet", "Version": __version__}],
    }
    write_all({dataset / "dataset_description.json": json.dumps(description, indent=2) + "\n"})
    return len(places)


def _find_places(rows: Iterable[StudyRow]) -> dict[str, StudyRow]:
    """Return the masks' studies by where they lie in the dataset, without the end of the name."""
    places = dict[str, StudyRow]()
    for row in rows:
        match = _NAME.fullmatch(row.case)
        if row.status != "done" or match is None or not row.mask.endswith(".nii.gz"):
            continue
        folders = "/".join(filter(None, (match["subject"], match["session"], "pet")))
        stem = f"{folders}/{row.case[match.start('subject') :]}_label-lesion_mask"
        if stem in places:
            raise InputError(
                f"{places[stem].case} and {row.case} would be one mask in the BIDS dataset, {stem}.nii.gz; expected "
                "the masks of one dataset, in which a subject has one name"
            )
        places[stem] = row
    if not places:
        raise InputError("no study is done, named sub-… and written as .nii.gz; expected the masks of a BIDS dataset")
    return places
