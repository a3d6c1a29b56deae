"""The command `cross-validate`: every trained fold on its validation cases, compared with thresholds.

Each study is read from its own files and goes through `autosegnet.pipeline`, as at inference, without clicks; masks are
compared on the original grids. The tables have the form of the paper's Table 1.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.evaluation import CaseMetrics, format_table, measure_masks
from autosegnet.geometry import view_voxels
from autosegnet.io import probe_output, write_text
from autosegnet.model.engine import Engine
from autosegnet.model.folded import fold_batch_norm
from autosegnet.model.network import make_network, read_pth
from autosegnet.model.recipe import Recipe
from autosegnet.pipeline import segment_study
from autosegnet.runtime.distribute import run_all
from autosegnet.runtime.workers import Workers, add_worker_arguments, choose_workers
from autosegnet_training import configuration as settings
from autosegnet_training import runs
from autosegnet_training.arrays import open_prepared
from autosegnet_training.baselines import Counts, count, find_best_threshold, segment_above, segment_above_fraction
from autosegnet_training.cases import FOLDS, Case
from autosegnet_training.distributed import Processes, join_processes
from autosegnet_training.runs import Trained
from autosegnet_training.studies import Labelled, read_labelled
from autosegnet_training.validation import NetworkEngine, make_one_fold

log = logging.getLogger(__name__)

TABLE, CASES, SUMMARY = "cross_validation.md", "cross_validation.csv", "cross_validation.json"

Metrics = dict[str, CaseMetrics]
"""Metrics by the names of cases."""


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cross-validate` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("cross-validate", help="evaluate trained folds on their validation cases")
    parser.add_argument("prepared", type=Path, metavar="DIR", help="folder that prepare wrote")
    parser.add_argument("--runs", type=Path, required=True, metavar="RUNS", help="folder with fold_0, fold_1, …")
    parser.add_argument("--folds", type=int, default=FOLDS, help="default: %(default)s")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    parser.add_argument(
        "--train", action="store_true", help="first train what is not finished, with the settings below"
    )
    add_worker_arguments(parser.add_argument_group("where the cases are evaluated"))
    settings.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Evaluate the folds and write the tables beside them.

    Raises:
        InputError: a fold is not trained, or a case cannot be read.
    """
    workers = choose_workers(args)
    if workers.are_elsewhere:  # because on another machine the current folder may differ
        args.prepared = args.prepared.absolute()
    probe_output(args.runs / TABLE)
    logging.getLogger("autosegnet.pipeline").setLevel(logging.WARNING)  # the progress bar is enough
    prepared = open_prepared(args.prepared)
    with join_processes(args.device) as processes:
        if args.train:
            _train(args, processes)
        if processes.writes:  # other processes take part only in training, and end before its last file is written
            folds = [runs.open_trained(args.runs, fold) for fold in range(args.folds)]
            sums = [
                t.compute_sha256() for t in folds
            ]  # before the hours in which another process may train a fold again
            device = None if workers.are_elsewhere and args.device == "auto" else processes.device
            evaluated = [evaluate_fold(t, prepared.cases, device, workers) for t in folds]
            _write(evaluated, args.runs, sums)


def _train(args: argparse.Namespace, processes: Processes) -> None:
    from autosegnet_training.train import train_fold

    configuration = settings.read_configuration(args)
    for fold in range(args.folds):
        train_fold(open_prepared(args.prepared), configuration, processes, output=args.runs, fold=fold)


class Evaluated:
    """The scores of the network and of every threshold on the validation cases of one fold."""

    def __init__(self) -> None:
        self.network: Metrics = {}
        self.thresholds: dict[str, Metrics] = {"SUV > 4": {}, "SUV > 2.5": {}, "41 % of maximum": {}}
        self.counts: dict[str, Counts] = {}
        self.cases: list[Case] = []


@dataclass(frozen=True, slots=True)
class EvaluateCases:
    """The work of one fold (`autosegnet.runtime.work.Work`), which any process can do.

    Args:
        best: the fold's weights.
        recipe: of the fold.
        device: where the network runs; None for the GPU of the worker, if there is one.
    """

    best: Path
    recipe: Recipe
    device: torch.device | None

    def open(self) -> Engine:
        """Return the engine with the fold loaded."""
        own = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return _open_best(self.best, self.device or own, self.recipe)

    def read(self, task: Case) -> Labelled:
        """Return the study and the truth of a case; raise InputError if it cannot be trusted."""
        return read_labelled(task)

    def do(
        self, opened: Engine, task: Case, reading: Future[Labelled], tell: Callable[[float], None]
    ) -> tuple[CaseMetrics, list[CaseMetrics], Counts]:
        """Return the metrics of the network and of each threshold, and the counts for the best threshold."""
        labelled = reading.result()
        found = segment_study(labelled.study, opened, self.recipe, progress=lambda done, total: tell(done / total)).mask
        suv, truth = _read_arrays(labelled)
        spacing_mm = labelled.truth.GetSpacing()
        masks = (segment_above(suv, 4.0), segment_above(suv, 2.5), segment_above_fraction(suv))
        thresholds = [_measure_found(mask, truth, spacing_mm) for mask in masks]
        return _measure_found(view_voxels(found) != 0, truth, spacing_mm), thresholds, count(suv, truth)


def evaluate_fold(
    trained: Trained, cases: Sequence[Case], device: torch.device | None, workers: Workers | None = None
) -> Evaluated:
    """Return the metrics of a fold's validation cases, on their original grids.

    Args:
        trained: the fold.
        cases: of the prepared folder, with the fold's validation cases among them.
        device: where the network runs, as for `EvaluateCases`.
        workers: where the cases are evaluated; None for this process.

    Raises:
        InputError: a validation case of the run is not in the table, or cannot be read.
    """
    by_name = {case.name: case for case in cases}
    missing = [name for name in trained.description["validation"] if name not in by_name]
    if missing:
        raise InputError(f"{trained.folder} was validated on {missing[0]}, which is not among the prepared cases")
    evaluated = Evaluated()
    evaluated.cases = [by_name[name] for name in trained.description["validation"]]
    work = EvaluateCases(trained.best.absolute(), make_one_fold(trained.recipe), device)
    results = run_all(work, evaluated.cases, workers=workers or Workers(), unit="case")
    for case, (network, thresholds, counts) in zip(evaluated.cases, results, strict=True):
        evaluated.network[case.name] = network
        for name, metrics in zip(evaluated.thresholds, thresholds, strict=True):
            evaluated.thresholds[name][case.name] = metrics
        evaluated.counts[case.name] = counts
    return evaluated


def _open_best(best: Path, device: torch.device, recipe: Recipe) -> Engine:
    """Return the engine that inference would use for a network."""
    state = read_pth(best)
    if device.type == "cuda":
        network = make_network(state, where=str(best), inputs=recipe.input_channels)
        return NetworkEngine(network.to(device), device)
    from autosegnet.model.openvino_engine import OpenvinoEngine

    return OpenvinoEngine([partial(fold_batch_norm, {k: v.numpy() for k, v in state.items()}, recipe, where=str(best))])


def _read_arrays(labelled: Labelled) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read SUV and truth as arrays (z, y, x)."""
    return np.asarray(view_voxels(labelled.study.pet), dtype=np.float32), np.asarray(view_voxels(labelled.truth) != 0)


def _measure_found(found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> CaseMetrics:
    return measure_masks(found, truth, spacing_mm=spacing_mm[::-1])


def _write(folds: Sequence[Evaluated], output: Path, sums: Sequence[str]) -> None:
    best = find_best_threshold([c for fold in folds for c in fold.counts.values()])
    methods: dict[str, list[Metrics]] = {"network": [fold.network for fold in folds]}
    for name in folds[0].thresholds:
        methods[name] = [fold.thresholds[name] for fold in folds]
    methods[f"SUV > {best:g} (best, chosen on these cases)"] = [_find_at(best, fold) for fold in folds]
    text = format_folds_table(methods)
    write_text(text, output / TABLE)
    write_text(_format_csv(methods), output / CASES)
    scores = [fmean([m.dsc for m in f.network.values() if m.is_positive] or [0.0]) for f in folds]
    summary = [
        {"fold": k, "dsc": score, "sha256": sha256} for k, (score, sha256) in enumerate(zip(scores, sums, strict=True))
    ]
    write_text(json.dumps(summary, indent=1) + "\n", output / SUMMARY)
    sys.stdout.write(text)


def _find_at(threshold: float, fold: Evaluated) -> Metrics:
    metrics = {}
    for case in fold.cases:
        labelled = read_labelled(case)
        suv, truth = _read_arrays(labelled)
        metrics[case.name] = _measure_found(segment_above(suv, threshold), truth, labelled.truth.GetSpacing())
    return metrics


def format_folds_table(methods: Mapping[str, Sequence[Metrics]]) -> str:
    """Return as Markdown the network's folds in the form of the paper's Table 1, then every method over all folds.

    Args:
        methods: for every method, the metrics of each fold's cases; the first is the network.
    """
    folds = next(iter(methods.values()))
    parts = ["# Cross-validation\n"]
    for heading, kept in (("Cases with lesions", True), ("All cases; without lesions the DSC is 0", False)):
        rows = {str(k): _choose_metrics(fold, positives=kept) for k, fold in enumerate(folds)}
        rows["all"] = [m for row in rows.values() for m in row]
        parts.append(f"## {heading}\n\n{format_table(rows)}\n")
        compared = {
            n: [m for f in per_fold for m in _choose_metrics(f, positives=kept)] for n, per_fold in methods.items()
        }
        parts.append(format_table(compared, heading="Method") + "\n")
    return "\n".join(parts)


def _choose_metrics(metrics: Metrics, *, positives: bool) -> list[CaseMetrics]:
    return [m for m in metrics.values() if m.is_positive or not positives]


def _format_csv(methods: Mapping[str, Sequence[Metrics]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["method", "fold", "case", *(f.name for f in fields(CaseMetrics))])
    for method, folds in methods.items():
        for k, fold in enumerate(folds):
            table.writerows([method, k, case, *astuple(metrics)] for case, metrics in fold.items())
    return text.getvalue()
