"""Sites of real lesions by real organ maps, against an independent landmark rule; and what flags would mark.

    python benchmarks/lesion_sites.py DATA [--adjusted]

DATA holds organ_maps/ (ten labels per map) and autopet_lesions/ (centres of real lesions and of physiological hot
spots, without images). The landmark rule of lesion_sites.csv was made by others from the same maps and is approximate.
The rules of sites were adjusted on the first 40 maps (`--adjusted`); by default those of all other patients are used.
"""

import argparse
import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from autosegnet.geometry import Grid
from autosegnet.io import read_image
from autosegnet.lesions import ORGAN_TABLES, Context, OrganLabels
from autosegnet.lesions.organ_names import PHYSIOLOGICAL_ORGANS, describe_label
from autosegnet.lesions.sites import Locator

ADJUSTED = 40

# Region of the other rule, as it begins, and ours that mean the same or hold it.
SAME = {
    "head gland": {"salivary glands"}, "head": {"head"}, "neck": {"neck", "shoulder or arm"},
    "axilla": {"chest wall or armpit", "shoulder or arm"}, "arm": {"shoulder or arm", "chest wall or armpit"},
    "mediastinum": {"chest, between the lungs"}, "thoracic spine": {"chest, between the lungs"},
    "chest": {"chest, between the lungs", "chest wall or armpit", "abdomen"},
    "back wall": {"chest, between the lungs", "chest wall or armpit"},
    "pleura": {"chest wall or armpit", "lung", "chest, between the lungs"}, "lung": {"lung"}, "heart": {"heart"},
    "central abdomen": {"abdomen"}, "lateral abdomen": {"abdomen"}, "upper abdomen": {"abdomen"},
    "lumbar": {"abdomen"}, "pelvis": {"pelvis"}, "groin": {"leg", "pelvis"}, "leg": {"leg"},
    "kidney": {"kidney"}, "bladder": {"urinary bladder"}, "brain": {"brain"}, "liver": {"liver"},
    "spleen": {"spleen"}, "stomach": {"stomach"}, "prostate": {"prostate"},
}  # fmt: skip


def main() -> None:
    """Print the agreement of sites, and how many lesions and hot spots lie in organs that are flagged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--adjusted", action="store_true", help="use the maps that the rules were adjusted on")
    args = parser.parse_args()
    print_sites(args.data, adjusted=args.adjusted)
    for name, column in (("lesions", "organ_at_centre"), ("hot_spots", "organ")):
        print_flags(args.data / "autopet_lesions" / f"{name}.csv", column)


def print_sites(data: Path, *, adjusted: bool) -> None:
    """Print how many lesion centres get the same site by both rules, and the commonest differences."""
    rows = defaultdict(list)
    with (data / "autopet_lesions" / "lesion_sites.csv").open() as file:
        for row in csv.DictReader(file):
            rows[row["case"]].append(row)
    counts: Counter[bool] = Counter()
    differences: Counter[str] = Counter()
    every = [path for path in sorted((data / "organ_maps").glob("*.nii.gz")) if path.name[:-7] in rows]
    known = {path.name.split("_")[1] for path in every[:ADJUSTED]}
    found = every[:ADJUSTED] if adjusted else [path for path in every if path.name.split("_")[1] not in known]
    for path in found:
        image = read_image(path)
        locator = Locator(Grid.from_image(image), Context(organs=OrganLabels(image, ORGAN_TABLES["autopet3"])))
        for row in rows[path.name[:-7]]:
            site = locator.locate(np.array([[int(row[axis]) for axis in "ijk"]])).name
            key = next(name for name in SAME if row["site"].startswith(name))
            counts[site in SAME[key]] += 1
            if site not in SAME[key]:
                differences[f"{row['site']}: here {site or 'nothing'}"] += 1
    sys.stdout.write(f"{len(found)} maps: {counts[True]} of {counts.total()} lesion centres have the same site\n")
    for difference, times in differences.most_common(8):
        sys.stdout.write(f"  {times} x {difference}\n")


def print_flags(path: Path, column: str) -> None:
    """Print how many places lie in an organ that is flagged."""
    names = {str(label): describe_label(name)[0] for label, name in ORGAN_TABLES["autopet3"].items()}
    with path.open() as file:
        organs = [names.get(row[column], "") for row in csv.DictReader(file)]
    flagged = sum(organ in PHYSIOLOGICAL_ORGANS for organ in organs)
    sys.stdout.write(f"{path.name}: {flagged} of {len(organs)} centres lie in an organ that is flagged\n")


if __name__ == "__main__":
    main()
