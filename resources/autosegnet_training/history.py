"""The history of a run, epoch by epoch: history.csv, TensorBoard, and curves.png at the end."""

from __future__ import annotations

import csv
import io
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from autosegnet.io import write_bytes, write_text
from autosegnet.model.recipe import PET_CHANNEL
from autosegnet_training.arrays import PreparedCase

log = logging.getLogger(__name__)

HISTORY_COLUMNS = ("epoch", "loss", "learning_rate", "seconds", "dsc", "fpv_ml", "fnv_ml", "negative_fpv_ml")
_VALIDATION = HISTORY_COLUMNS[4:]
_SUV_SHOWN = 10.0  # black in pictures
_INSTALL = 'in a checkout: pip install --editable ".[train]"'

HistoryRow = dict[str, float]
"""One epoch: a value for every column, NaN where there was no validation."""


def write_history(rows: Sequence[HistoryRow], path: Path) -> None:
    """Write the CSV; NaN is an empty cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HISTORY_COLUMNS)
    for row in rows:
        values = [row[column] for column in HISTORY_COLUMNS[1:]]
        table.writerow([int(row["epoch"]), *("" if math.isnan(v) else repr(v) for v in values)])
    write_text(text.getvalue(), path)


class Board:
    """TensorBoard's files; nothing if the package is not installed or this process does not write."""

    def __init__(self, folder: Path, *, writes: bool, first_epoch: int) -> None:
        self._writer: Any = None
        if not writes:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings of TensorBoard's own dependencies
                from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_epoch)
        except ImportError:
            log.warning("tensorboard is not installed: no scalars and pictures for it (%s)", _INSTALL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add_row(self, row: HistoryRow) -> None:
        """Add the scalars of an epoch."""
        if self._writer is None:
            return
        for column in HISTORY_COLUMNS[1:]:
            if not math.isnan(row[column]):
                group = "validation" if column in _VALIDATION else "training"
                self._writer.add_scalar(f"{group}/{column}", row[column], int(row["epoch"]))
        self._writer.flush()

    def add_pictures(
        self, cases: Sequence[PreparedCase], found: Mapping[str, NDArray[np.bool_]], *, epoch: int
    ) -> None:
        """Add a maximum intensity projection for every mask that was found."""
        if self._writer is None:
            return
        for case in cases:
            if case.name in found:
                picture = draw_projection(case, found[case.name])
                self._writer.add_image(f"validation/{case.name}", picture, epoch, dataformats="HWC")


def draw_projection(case: PreparedCase, found: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw the PET from the front, (Z, X, 3), black at SUV 10; truth green, mask red, both yellow.

    The patient's head is at the top and the right side at the left, as in reports.
    """
    shown = [
        np.asarray(volume).max(axis=1)[::-1, ::-1].T for volume in (case.array[PET_CHANNEL], case.read_truth(), found)
    ]
    pet, truth, prediction = (np.asarray(s) for s in shown)
    grey = 255.0 * (1.0 - np.clip(pet.astype(np.float32) / _SUV_SHOWN, 0.0, 1.0))
    picture = np.stack([grey, grey, grey], axis=-1)
    marked = truth | prediction
    picture[marked] *= 0.3
    picture[..., 0] += 178.5 * prediction
    picture[..., 1] += 178.5 * truth
    shown_as: NDArray[np.uint8] = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    return shown_as


def draw_curves(rows: Sequence[HistoryRow], path: Path) -> None:
    """Draw loss and validation DSC over the epochs; do nothing if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("matplotlib is not installed: no %s (%s)", path.name, _INSTALL)
        return
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    loss, dsc = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    loss.plot(epochs, [row["loss"] for row in rows])
    loss.set(xlabel="epoch", ylabel="loss of training")
    validated = [row for row in rows if not math.isnan(row["dsc"])]
    dsc.plot([row["epoch"] for row in validated], [row["dsc"] for row in validated], marker=".")
    dsc.set(xlabel="epoch", ylabel="mean DSC of validation cases with lesions", ylim=(0, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes(buffer.getvalue(), path)
