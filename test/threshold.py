"""Engines whose answers are known, in a module that imports neither torch nor pytest: processes are started with it."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosegnet.model.recipe import PET_CHANNEL


@dataclass(frozen=True)
class ThresholdEngine:
    """An engine whose answer is known: lesion where SUV is above a threshold."""

    suv: float = 4.0
    name: str = "threshold, CPU"
    folds: int = 1

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        assert window.dtype == np.float32
        assert window.flags.c_contiguous
        difference: NDArray[np.float32] = window[PET_CHANNEL] - np.float32(self.suv)
        return difference


@dataclass(frozen=True)
class CountingEngine(ThresholdEngine):
    """A threshold that keeps the fold of every window it was given."""

    passes: list[int] = field(default_factory=list)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        self.passes.append(fold)
        return super().compute_logits(window, fold)


class DeadlyEngine(ThresholdEngine):
    """A threshold whose process is killed, as for want of memory, by a study with SUV above 100."""

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        if window[PET_CHANNEL].max() > 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().compute_logits(window, fold)


def open_threshold(weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine`."""
    return ThresholdEngine()


def open_deadly(weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine`."""
    return DeadlyEngine()


def open_on_gpu(weights: object, *, device: str) -> ThresholdEngine:
    """Stands in for `open_engine` where the network leaves the cores free, so that results are written behind."""
    return ThresholdEngine(name="threshold, GPU")


def open_deadly_on_gpu(weights: object, *, device: str) -> ThresholdEngine:
    """Stands in for `open_engine` where results are written behind."""
    return DeadlyEngine(name="threshold, GPU")


def open_nothing(weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine` if a fold is broken."""
    from autosegnet.errors import WeightsError

    raise WeightsError("fold_0 is altered")


def open_with_a_bug(weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine` if it has a bug."""
    raise KeyError("engine")


def open_without_memory(weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine` if the folds do not fit."""
    raise MemoryError


class SlowEngine(ThresholdEngine):
    """A threshold that takes its time."""

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        time.sleep(0.5)
        return super().compute_logits(window, fold)


@dataclass(frozen=True)
class DeadlyOnceEngine(ThresholdEngine):
    """A threshold whose process is killed by the first study with SUV above 100, once: a file says that it was."""

    killed: Path = Path()

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        if window[PET_CHANNEL].max() > 100 and not self.killed.exists():
            self.killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().compute_logits(window, fold)


def open_slow(weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine`."""
    return SlowEngine()


def open_deadly_once(killed: Path, weights: object, *, device: str) -> ThresholdEngine:
    """Stand in for `open_engine`."""
    return DeadlyOnceEngine(killed=killed)


def count_parses(log: Path) -> None:
    """Have this process note in a file each part of a DICOM file that pydicom parses: path, begin and end."""
    import pydicom.filereader as reader

    read_dataset = reader.read_dataset

    def read_and_note(file, *args, at_top_level=True, **options):  # type: ignore[no-untyped-def]
        begin = file.tell()
        dataset = read_dataset(file, *args, at_top_level=at_top_level, **options)
        if at_top_level and (name := getattr(file, "name", "")):
            with suppress(OSError), log.open("a") as lines:  # the test may be over
                lines.write(f"{name}\t{begin}\t{file.tell()}\n")
        return dataset

    reader.read_dataset = read_and_note


def open_counting(log: Path, weights: object, *, device: str) -> ThresholdEngine:
    """Stands in for `open_engine` in a process of its own, whose parses are counted."""
    count_parses(log)
    return ThresholdEngine()
