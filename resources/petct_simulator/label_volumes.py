"""The sub-command `label-volumes`: bodies from organ maps and from nothing, as label volumes to train and judge on."""

import argparse
import json
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

from autosegnet.errors import UsageError
from autosegnet.io import write_bytes, write_text
from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.workers import add_worker_arguments, choose_workers
from petct_simulator.bodies import make_body
from petct_simulator.label_volume import is_held_out, pack
from petct_simulator.simulate_command import derive_study_seed, list_organ_maps, map_name

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BodyJob:
    """One body to be made. organ_map: None for a procedural one; vary: stretch and bend the map's organs."""

    name: str
    seed: int
    spacing_mm: float
    organ_map: Path | None
    vary: bool
    output: Path


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `label-volumes` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("label-volumes", help="make the bodies that training patches are simulated from")
    parser.add_argument("--output", type=Path, required=True, help="folder for the label volumes, one .npz per body")
    parser.add_argument("--organ-maps", type=Path, help="folder of organ label maps (.nii.gz), one body per map")
    parser.add_argument("--procedural", type=int, default=0, help="bodies to make without a map")
    parser.add_argument("--held-out", action="store_true", help="use the maps kept for judging, not those for training")
    parser.add_argument("--vary-organs", action="store_true", help="stretch and bend the organs of every map")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same bodies")
    add_worker_arguments(parser, "--processes")
    parser.set_defaults(run=run_label_volumes)


def run_label_volumes(arguments: argparse.Namespace) -> None:
    """Make the bodies that are not there yet, then write bodies.json, which lists them."""
    workers = choose_workers(arguments)
    if arguments.seed < 0 or arguments.procedural < 0 or arguments.spacing <= 0:
        raise UsageError("--spacing must be positive, --procedural and --seed not negative")
    if workers.are_elsewhere:  # because on another machine the current folder may differ
        arguments.output = arguments.output.absolute()
    jobs = plan_bodies(arguments)
    if not jobs:
        raise UsageError("nothing to make; give --organ-maps FOLDER or --procedural NUMBER, or both")
    run_each(make_label_volume, jobs, workers=workers, unit="body")
    listed = {"seed": arguments.seed, "spacing_mm": arguments.spacing, "held_out": arguments.held_out,
              "bodies": [job.name for job in jobs]}  # fmt: skip
    write_text(json.dumps(listed, indent=1) + "\n", arguments.output / "bodies.json")
    log.info("%d label volumes in %s", len(jobs), arguments.output)


def plan_bodies(arguments: argparse.Namespace) -> list[BodyJob]:
    """Return the bodies of a run: maps on the chosen side of `is_held_out`, then procedural ones."""
    maps = list_organ_maps(str(arguments.organ_maps)) if arguments.organ_maps else []
    maps = [m for m in maps if is_held_out(map_name(m)) == arguments.held_out]
    varied = f"_varied_{arguments.seed}" if arguments.vary_organs else ""
    named: list[tuple[str, Path | None]] = [(map_name(m) + varied, m) for m in maps]
    kind = "judging" if arguments.held_out else "procedural"
    named += [(f"{kind}_{arguments.seed}_{i:04d}", None) for i in range(arguments.procedural)]
    return [
        BodyJob(
            name,
            derive_study_seed(arguments.seed, zlib.crc32(name.encode())),
            arguments.spacing,
            organ_map,
            arguments.vary_organs,
            arguments.output,
        )
        for name, organ_map in named
    ]


def make_label_volume(job: BodyJob) -> str:
    """Make and write one body, unless it is there; return its name."""
    path = job.output / f"{job.name}.npz"
    if not path.exists():
        spacing = (job.spacing_mm, job.spacing_mm, job.spacing_mm)
        vary = job.vary and job.organ_map is not None
        write_bytes(pack(make_body(job.name, job.seed, spacing, job.organ_map, vary=vary)), path)
    return job.name
