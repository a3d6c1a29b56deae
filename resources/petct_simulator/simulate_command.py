"""The sub-commands `simulate` and `simulate-sample`: arguments, processes, progress."""

import argparse
import csv
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosegnet.errors import InputError, UsageError
from autosegnet.io import probe_output, write_text
from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.workers import add_worker_arguments, choose_workers
from petct_simulator.bodies import open_anatomy
from petct_simulator.cohorts import BALANCED, COHORT_STUDIES, COHORTS
from petct_simulator.label_volume import is_held_out
from petct_simulator.protocol import SPACING_MM, Protocol
from petct_simulator.writer import (
    SimulatedCase,
    make_case_row,
    write_autopet,
    write_case_table,
    write_description,
    write_platform,
    write_truth,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SimulateJob:
    """One study to be made and where it goes.

    organ_map: a label map, or None for the procedural anatomy; vary: whether the map's organs change with the seed;
    lesion_voxels: voxels of the map where lesions shall lie, or None.
    """

    case: SimulatedCase
    output: Path
    organ_map: Path | None
    vary: bool
    protocol: Protocol
    lesion_voxels: tuple[tuple[float, float, float], ...] | None = None


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `simulate` and `simulate-sample` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("simulate", help="make whole-body PET/CT studies with known lesions")
    parser.add_argument("--output", type=Path, required=True, help="folder for the studies and cases.csv")
    parser.add_argument("--number", type=int, required=True, help="studies to make")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same studies")
    parser.add_argument(
        "--anatomy", default="procedural", help="'procedural', or a folder of organ label maps (.nii.gz)"
    )
    parser.add_argument("--vary-organs", action="store_true", help="stretch and bend the maps anew for every study")
    parser.add_argument("--held-out", action="store_true", help="use only the maps kept for judging, one study each")
    parser.add_argument(
        "--cohort", choices=(*COHORTS, "sarcoma", "balanced"), help="default: drawn; balanced: dealt out (see below)"
    )
    parser.add_argument(
        "--lesion-positions", type=Path, metavar="CSV",
        help="place lesions where real ones lie: columns case, i, j, k, voxels of the organ map of the same case",
    )  # fmt: skip
    parser.add_argument("--varied", action="store_true", help="vary uptake, patterns and scanner beyond the plausible")
    add_worker_arguments(parser, "--processes")
    parser.add_argument("--spacing", type=float, nargs=3, default=SPACING_MM, metavar=("X", "Y", "Z"), help="mm")
    parser.add_argument("--field", type=float, help="width of the PET's field of view in mm; default: 700 or 814")
    parser.set_defaults(run=run_simulate)
    cohorts = ", ".join(f"{name} {count}" for name, count in COHORT_STUDIES.items())
    parser.epilog = (
        f"Without --cohort, cohorts are drawn in the proportions of FDG-PET-CT-Lesions: {cohorts}. With balanced, two "
        "of nine studies are of each cohort with lesions and three are negative."
    )
    parser = commands.add_parser("simulate-sample", help="make the sample case in the platform's layout")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets images/pet and images/ct")
    parser.add_argument("--truth", type=Path, required=True, help="file for the truth, .mha")
    parser.set_defaults(run=run_sample)


def run_simulate(arguments: argparse.Namespace) -> None:
    """Make the studies that are not there yet, then write cases.csv over all of them."""
    workers = choose_workers(arguments)
    if arguments.number < 1 or arguments.seed < 0 or min(arguments.spacing) <= 0:
        raise UsageError("--number and --spacing must be positive and --seed not negative")
    if workers.are_elsewhere:  # because on another machine the current folder may differ
        arguments.output = arguments.output.absolute()
    maps = list_organ_maps(arguments.anatomy)
    if arguments.held_out:
        maps = [m for m in maps if is_held_out(map_name(m))]
    if not maps and (arguments.vary_organs or arguments.held_out or arguments.lesion_positions):
        raise UsageError("--vary-organs, --held-out and --lesion-positions need a folder of label maps for --anatomy")
    if arguments.vary_organs and arguments.lesion_positions:
        raise UsageError("--lesion-positions needs the organs as the maps have them; leave out --vary-organs")
    positions = {} if arguments.lesion_positions is None else read_lesion_positions(arguments.lesion_positions)
    settings = {"seed": arguments.seed, "anatomy": [m.name for m in maps] or "procedural", "cohort": arguments.cohort,
                "spacing_mm": list(arguments.spacing), "field_mm": arguments.field,
                "vary_organs": arguments.vary_organs, "varied": arguments.varied,
                "lesion_positions": arguments.lesion_positions is not None}  # fmt: skip
    _check_settings(arguments.output, settings)
    jobs = list(plan_studies_to_make(arguments, maps, positions))
    cohorts = dict(run_each(make, jobs, workers=workers, unit="study"))
    rows = [make_case_row(job.case, cohorts[job.case.index]) for job in jobs]
    write_case_table(rows, arguments.output / "cases.csv")
    log.info("%d studies in %s", len(rows), arguments.output)


def list_organ_maps(anatomy: str) -> list[Path]:
    """Return the label maps of a folder, sorted by name; none for the procedural anatomy."""
    if anatomy == "procedural":
        return []
    maps = sorted(Path(anatomy).absolute().glob("*.nii.gz"))
    if not maps:
        raise UsageError(f"no .nii.gz label maps found in {anatomy}; expected 'procedural' or a folder of them")
    return maps


def _check_settings(output: Path, settings: dict[str, object]) -> None:
    """Refuse to mix studies of different settings in one folder; a resumed run must ask for the same ones."""
    path = output / "simulation.json"
    text = json.dumps(settings, indent=1)
    if not path.exists():
        write_text(text, path)
    elif path.read_text() != text:
        raise UsageError(f"{path} names other settings than this run; use them or another --output")


def derive_study_seed(seed: int, index: int) -> int:
    """Return the seed of one study of a run; independent of how many others are made, where and when."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def map_name(path: Path) -> str:
    """Return the case name of an organ map's file."""
    return path.name.removesuffix(".nii.gz")


Positions = dict[str, tuple[tuple[float, float, float], ...]]


def read_lesion_positions(path: Path) -> Positions:
    """Return per case the voxels (i, j, k) of its lesions.

    Raises:
        InputError: the table cannot be read, or lacks a column.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["case"], []).append((float(row["i"]), float(row["j"]), float(row["k"])))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}); expected a CSV with columns case, i, j, k") from error
    return {case: tuple(voxels) for case, voxels in found.items()}


def plan_studies_to_make(
    arguments: argparse.Namespace, maps: list[Path], positions: Positions
) -> Iterator[SimulateJob]:
    """Yield the studies of a run."""
    for index in range(arguments.number):
        seed = derive_study_seed(arguments.seed, index)
        organ_map = maps[index % len(maps)] if maps else None
        # Studies of one organ map are one patient, so that a splitter by patient keeps an anatomy in one fold.
        patient = f"sim_{map_name(organ_map)}" if organ_map else f"sim_{arguments.seed}_{index:05d}"
        case = SimulatedCase(index, patient, f"sim_{arguments.seed}_{index:05d}", seed)
        cohort = BALANCED[index % len(BALANCED)] if arguments.cohort == "balanced" else arguments.cohort
        protocol = Protocol(tuple(arguments.spacing), arguments.field, cohort, arguments.varied)
        voxels = positions.get(map_name(organ_map)) if organ_map else None
        yield SimulateJob(case, arguments.output, organ_map, arguments.vary_organs, protocol, voxels)


def make(job: SimulateJob) -> tuple[int, str]:
    """Make and write one study, unless it is complete; return its index and cohort."""
    folder = job.output / job.case.folder
    note = folder / "study.json"
    if note.is_file():
        return job.case.index, str(json.loads(note.read_text())["cohort"])
    probe_output(note)  # removes leftovers of a killed run
    from petct_simulator.whole_study import simulate_study  # here, because it imports torch

    study = simulate_study(
        job.case.seed,
        anatomy=open_anatomy(job.organ_map, vary=job.vary),
        protocol=job.protocol,
        lesion_voxels=None if job.lesion_voxels is None else np.array(job.lesion_voxels),
    )
    write_autopet(study, folder)
    write_description(study, note)
    return job.case.index, study.cohort


def run_sample(arguments: argparse.Namespace) -> None:
    """Write the sample case and its truth."""
    from petct_simulator.sample_case import sample_study  # here, because it imports torch

    study = sample_study()
    pet, ct = write_platform(study, arguments.output)
    write_truth(study, arguments.truth)
    log.info("sample case: %s, %s, truth %s", pet, ct, arguments.truth)
