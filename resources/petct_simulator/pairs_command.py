"""The sub-command `simulate-pairs`: patients on two dates, with known changes, as files."""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import UsageError
from autosegnet.geometry import make_image
from autosegnet.io import probe_output, write_image, write_text
from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.workers import add_worker_arguments, choose_workers
from petct_simulator.cohorts import COHORTS
from petct_simulator.label_volume import is_held_out
from petct_simulator.simulate_command import derive_study_seed, list_organ_maps, map_name
from petct_simulator.writer import FILES

if TYPE_CHECKING:
    from petct_simulator.pairs import DatedStudy, SimulatedPair

log = logging.getLogger(__name__)
DATES = ("baseline", "followup")


@dataclass(frozen=True, slots=True)
class PairJob:
    """One pair to be made. patient: the organ map's name, or that of the procedural body."""

    folder: Path
    patient: str
    seed: int
    organ_map: Path | None
    cohort: str | None


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `simulate-pairs` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("simulate-pairs", help="make patients on two dates, with known changes")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pairs")
    parser.add_argument("--number", type=int, required=True, help="pairs to make")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same pairs")
    parser.add_argument(
        "--anatomy", default="procedural", help="'procedural', or a folder of organ label maps (.nii.gz)"
    )
    parser.add_argument("--held-out", action="store_true", help="use only the maps kept for judging; else only others")
    parser.add_argument("--cohort", choices=[name for name in COHORTS if name != "negative"], help="default: drawn")
    add_worker_arguments(parser, "--processes")
    parser.set_defaults(run=run_simulate_pairs)


def run_simulate_pairs(arguments: argparse.Namespace) -> None:
    """Make the pairs that are not there yet."""
    workers = choose_workers(arguments)
    if arguments.number < 1 or arguments.seed < 0:
        raise UsageError("--number must be positive and --seed not negative")
    maps = [m for m in list_organ_maps(arguments.anatomy) if is_held_out(map_name(m)) == arguments.held_out]
    if not maps and (arguments.held_out or arguments.anatomy != "procedural"):
        raise UsageError("no label map is on the chosen side of --held-out; give --anatomy FOLDER")
    jobs = []
    for index in range(arguments.number):
        organ_map = maps[index % len(maps)] if maps else None
        name = f"pair_{arguments.seed}_{index:04d}"
        patient = map_name(organ_map) if organ_map else name
        seed = derive_study_seed(arguments.seed, index)
        jobs.append(PairJob(arguments.output.absolute() / name, patient, seed, organ_map, arguments.cohort))
    run_each(make_pair, jobs, workers=workers, unit="pair")
    log.info("%d pairs in %s", len(jobs), arguments.output)


def make_pair(job: PairJob) -> str:
    """Make and write one pair, unless it is complete; return its folder's name."""
    note = job.folder / "pair.json"
    if not note.is_file():
        probe_output(note)
        from petct_simulator.pairs import simulate_pair  # here, because it imports torch

        pair = simulate_pair(job.seed, organ_map=job.organ_map, cohort=job.cohort)
        for date in DATES:
            _write_study(getattr(pair, date), job.folder / date)
        write_text(json.dumps(describe_pair(pair, job.patient, job.seed), indent=1), note)
    return job.folder.name


def describe_pair(pair: "SimulatedPair", patient: str, seed: int) -> dict[str, Any]:
    """Return what is known of a pair: fates of lesions, links between numbered lesions, places on both dates."""
    landmarks = [
        {"tissue": name, "baseline_mm": a, "followup_mm": b, "baseline_ct_mm": c, "followup_ct_mm": d}
        for name, a, b, c, d in zip(
            pair.landmarks,
            *(
                _round(points)
                for points in (pair.baseline_mm, pair.followup_mm, pair.baseline_ct_mm, pair.followup_ct_mm)
            ),
            strict=True,
        )
    ]
    return {
        "simulated": True,
        "patient": patient,
        "seed": seed,
        "course": pair.course,
        "links": [list(link) for link in pair.links],
        **{date: _describe_study(getattr(pair, date)) for date in DATES},
        "landmarks": landmarks,
    }


def _describe_study(study: "DatedStudy") -> dict[str, Any]:
    lesions = [
        {"identity": follow.identity, "fate": follow.fate, "site": follow.lesion.site, "centre_mm": centre,
         "volume_ml": round(4 / 3 * np.pi * follow.lesion.radius_mm**3 / 1000, 3), "suv": round(follow.lesion.suv, 2)}
        for follow, centre in zip(study.follows, _round(study.centres_mm), strict=True)
    ]  # fmt: skip
    return {"arms": study.arms, "weight_kg": round(study.weight_kg, 1), "lesions": lesions}


def _round(points: NDArray[np.float64]) -> list[list[float]]:
    return [[round(value, 2) for value in point] for point in points.tolist()]


def _write_study(study: "DatedStudy", folder: Path) -> None:
    truth = (study.identities > 0).astype(np.uint8)
    for values, name in ((study.suv, "suv"), (study.ct.astype(np.float32), "ct"), (truth, "seg")):
        write_image(make_image(values, study.grid), folder / FILES[name])
