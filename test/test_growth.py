"""Case after case in one process must not take ever more memory."""

import gc
import sys
from pathlib import Path

import psutil
import pytest

from autosegnet import __main__, segmenter
from autosegnet.runtime.exit import run_program


def growth_mib(folder: Path, *, cases: int, warm_up: int = 20) -> float:
    """Return by how many MiB memory grows per case, over whole runs of `predict` with an engine that costs nothing."""
    from bad_inputs import Job
    from threshold import ThresholdEngine
    from untrained_folds import write_untrained_weights

    write_untrained_weights(folder / "weights", folds=1)
    job = Job.good(folder, folder / "weights")
    process = psutil.Process()
    opened, argv = segmenter.open_engine, sys.argv  # its own name: tests before this one have imported it
    segmenter.open_engine = lambda *_, **__: ThresholdEngine()
    sys.argv = job.arguments("predict")
    sys.argv.insert(0, "autosegnet")
    before = 0
    try:
        for case in range(warm_up + cases):
            if case == warm_up // 2:  # what making the folds left goes, and what cases keep ready comes back
                gc.collect()
            if case == warm_up:
                before = process.memory_info().rss
            assert run_program(__main__._run_command_line) == 0
    finally:
        segmenter.open_engine, sys.argv = opened, argv
    gc.collect()
    return (process.memory_info().rss - before) / cases / 2**20


def test_twenty_cases_grow_by_less_than_a_mebibyte_each(tmp_path: Path) -> None:
    assert growth_mib(tmp_path, cases=20) < 1


@pytest.mark.slow
def test_five_hundred_cases_grow_by_less_than_a_mebibyte_each(tmp_path: Path) -> None:
    assert growth_mib(tmp_path, cases=500) < 1
