"""Where the tasks of a command run: in this process, in several processes, or on a Dask cluster."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from autosegnet.errors import UsageError, format_path


@dataclass(frozen=True, slots=True)
class Workers:
    """Where tasks run.

    Args:
        jobs: processes of this machine; 1 for this process alone.
        scheduler: address of a Dask scheduler, "" for none.
        scheduler_file: file to which a Dask scheduler wrote its address.
    """

    jobs: int = 1
    scheduler: str = ""
    scheduler_file: Path | None = None

    @property
    def are_elsewhere(self) -> bool:
        """Return whether the tasks may run on other machines."""
        return bool(self.scheduler) or self.scheduler_file is not None


def add_worker_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *older: str) -> None:
    """Add the options that choose where tasks run.

    Args:
        older: other names of --jobs, which scripts may use.
    """
    parser.add_argument(
        "--jobs", *older, dest="jobs", type=int, default=1, metavar="N",
        help="processes on this machine, each with its share of the cores and one GPU (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler",
        default="",
        metavar="ADDRESS",
        help="run on the Dask cluster at ADDRESS, e.g. tcp://10.0.0.1:8786 (needs autosegnet[cluster])",
    )
    parser.add_argument(
        "--scheduler-file",
        type=Path,
        metavar="FILE",
        help="the same; FILE is what `dask scheduler --scheduler-file FILE` wrote",
    )


def choose_workers(args: argparse.Namespace) -> Workers:
    """Return where tasks run, by the arguments.

    Raises:
        UsageError: the options contradict each other.
    """
    workers = Workers(args.jobs, args.scheduler, args.scheduler_file)
    if workers.jobs < 1:
        raise UsageError(f"--jobs is {workers.jobs}; expected at least 1")
    if workers.scheduler and workers.scheduler_file is not None:
        raise UsageError("--scheduler and --scheduler-file both name a cluster; give one of them")
    if workers.are_elsewhere and workers.jobs > 1:
        raise UsageError("--jobs is for this machine; on a cluster, start more workers instead")
    if workers.scheduler_file is not None and not workers.scheduler_file.is_file():
        raise UsageError(
            f"found no file {format_path(workers.scheduler_file)}; "
            "start `dask scheduler --scheduler-file FILE` first, and wait until FILE is there"
        )
    return workers
