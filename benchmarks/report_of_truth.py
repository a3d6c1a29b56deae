"""A report of a study with its known lesions in place of a network's: to look at, and for its picture in the docs.

    python benchmarks/report_of_truth.py STUDY OUTPUT

STUDY holds SUV.nii.gz, CTres.nii.gz and SEG.nii.gz, as `autosegnet-train simulate` writes them; --empty leaves the
lesions out.
"""

import argparse
from datetime import datetime
from pathlib import Path

import numpy as np

from autosegnet import __version__
from autosegnet.geometry import Grid, make_image
from autosegnet.io import read_image, read_mask, write_all
from autosegnet.lesions import Context, measure_lesions
from autosegnet.report import Provenance, report_files
from autosegnet.result_files import is_page_file, remove_unwritten
from autosegnet.study import check_study


def main() -> None:
    """Write the files of the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--note", default="the lesions are the study's known truth.", help="in place of a model card")
    args = parser.parse_args()
    study = check_study(pet=read_image(args.study / "SUV.nii.gz"), ct=read_image(args.study / "CTres.nii.gz"))
    mask = read_mask(args.study / "SEG.nii.gz")
    if args.empty:
        mask = make_image(np.zeros(mask.GetSize()[::-1], np.uint8), Grid.from_image(mask))
    provenance = Provenance(
        software=f"autosegnet {__version__}",
        engine="no network was run",
        weights="none",
        description=args.note,
        suv=("The PET was given in SUV (body weight, g/ml); nothing was converted.",),
        warnings=(),
        made=datetime.now().astimezone(),
    )
    files = report_files(study, mask, measure_lesions(mask, study.pet, Context(ct=study.ct)), provenance)
    written = {args.output / name: content for name, content in files.items()}
    write_all(written)
    remove_unwritten(args.output, is_page_file, written)


if __name__ == "__main__":
    main()
