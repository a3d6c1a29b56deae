"""The command `starter`: label volumes and real crops -> five exported folds, in so many minutes.

First a network common to all folds sees bodies made anew for every patch, and no patient; then each fold goes on from
it, with the real crops of its training patients laid into such bodies. Given again, the command goes on where it
stopped. Needs torch, numpy, scipy and safetensors alone.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autosegnet.errors import InputError, UsageError
from autosegnet.io import write_bytes, write_text
from autosegnet.model.network import Storage, build_network, make_network, read_pth, read_safetensors
from autosegnet.model.recipe import Recipe
from autosegnet.model.weights import import_folds, open_weights
from autosegnet_training.arrays import PreparedCase, PreparedFolder, load, open_prepared
from autosegnet_training.cases import FOLDS, split_fold
from autosegnet_training.clock import PHASES, Phase, Plan, train_by_the_clock
from autosegnet_training.configuration import PRESETS, TrainingConfiguration, describe_configuration
from autosegnet_training.mixture import Mixture, Share, SimulatedPatches, derive_seed, is_cold, read_crop
from autosegnet_training.pieces import split_folder
from autosegnet_training.train import choose_arithmetic
from autosegnet_training.validation import NetworkEngine, predict_prepared
from petct_simulator.generator import BodyLibrary
from petct_simulator.label_volume import LabelVolume, is_held_out, read_label_volumes
from petct_simulator.regions import Regions, find_regions

log = logging.getLogger(__name__)

COMMON_SHARE = 0.55  # of the time, without --initial
_FEW_BODIES = 16  # whose regions are found before a second process is up
COMMON_RATE = 1e-3
OFFSETS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)  # of the lesion's logits
# Voxels of the patches of a step: two of 96³ keep two cores in their caches. A GPU makes patches more slowly than it
# learns from them, so it makes many steps of them.
STEP_VOXELS = {"cpu": 2 * 96**3, "cuda": 4 * 128**3}
# A GPU makes a patch of 128³ in hardly more time than one of 64³.
PHASES_BY_DEVICE = {"cpu": PHASES, "cuda": (Phase(0.5, 96), Phase(1.0, PHASES[-1].size))}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What all stages share: where files go, what is trained on, and how."""

    output: Path
    bodies: BodyLibrary
    prepared: PreparedFolder
    configuration: TrainingConfiguration
    real_share: float
    learning_rate: float
    device: torch.device
    checkpoint_minutes: float
    phases: tuple[Phase, ...]
    storage: Storage

    @property
    def spacing_mm(self) -> float:
        """Return the spacing of the patches."""
        return self.prepared.recipe.spacing_mm[0]


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `starter` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("starter", help="label volumes and real crops -> five folds, in so many minutes")
    parser.add_argument("--labels", type=Path, required=True, metavar="DIR", help="folder that label-volumes wrote")
    parser.add_argument("--real", type=Path, required=True, metavar="DIR", help="folder that prepare wrote")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for checkpoints and weights")
    parser.add_argument(
        "--minutes", type=float, required=True,
        help="of training, for the common network and all five folds, also if --folds trains only some of them",
    )  # fmt: skip
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    parser.add_argument(
        "--initial",
        type=Path,
        metavar="WEIGHTS",
        help="a network that has seen no patient (.pt, .safetensors), to start the common one from; or a folder of "
        "folds of the same split, each of which goes on alone, without a common network",
    )
    parser.add_argument(
        "--folds", type=int, nargs="*", choices=range(FOLDS), default=list(range(FOLDS)), metavar="K",
        help="only these, so that processes can train folds side by side; none: only the common network",
    )  # fmt: skip
    parser.add_argument(
        "--real-share", type=float, default=0.4, metavar="SHARE",
        help="share of a fold's patches that hold a real crop; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--learning-rate", type=float, default=3e-4, metavar="RATE", help="of the folds, at first; default: %(default)s"
    )
    parser.add_argument(
        "--false-volume", type=float, default=PRESETS["starter"].false_volume, metavar="WEIGHT",
        help="weight of the loss's term for false volume; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="MINUTES",
        help="at most so long between checkpoints; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--largest-patch", type=int, default=PHASES[-1].size, metavar="VOXELS",
        help="edge of the largest patch; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--storage", choices=["float16", "int8"], default="int8", help="of the folds; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--pieces-mib", type=float, help="also write the weights in pieces of at most so many MiB")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train what is not trained yet, and export the folds.

    Raises:
        UsageError: no time, a share out of range, no such device, another run in the folder, or too few folds to start
            from.
        InputError: label volumes or cases that cannot be read, or a body that is kept for judging.
    """
    if args.minutes <= 0:
        raise UsageError(f"--minutes is {args.minutes:g}; expected more than 0")
    if not 0.0 <= args.real_share <= 1.0:
        raise UsageError(f"--real-share is {args.real_share:g}; expected 0 to 1")
    if args.learning_rate <= 0:
        raise UsageError(f"--learning-rate is {args.learning_rate:g}; expected more than 0")
    if args.false_volume < 0:
        raise UsageError(f"--false-volume is {args.false_volume:g}; expected 0 or more")
    inputs = read_inputs(args)
    _write_or_check(args, inputs)
    if args.initial is not None and args.initial.is_dir():
        share, starts = 0.0, _list_folds(args.initial)
    else:
        common = train_common(inputs, COMMON_SHARE * args.minutes, initial=args.initial)
        share, starts = COMMON_SHARE, [common] * FOLDS
    minutes = (1.0 - share) * args.minutes / FOLDS
    for folds in list_turns(args.folds, inputs.device):
        train_starter_folds(inputs, folds, minutes * len(folds), starts)
    missing = [fold for fold in range(FOLDS) if not fold_path(inputs, fold).exists()]
    if missing:
        sys.stdout.write(f"folds {', '.join(map(str, missing))} are still to be trained in {args.output}\n")
        return
    weights = export(inputs, [measure_fold(inputs, fold) for fold in range(FOLDS)], minutes=args.minutes)
    pieces = split_folder(weights, args.output / "pieces", args.pieces_mib) if args.pieces_mib else []
    sys.stdout.write(f"{FOLDS} folds in {weights}" + (f", {len(pieces)} pieces beside it" if pieces else "") + "\n")


def _list_folds(folder: Path) -> list[Path]:
    weights = open_weights(folder)
    if len(weights.recipe.folds) != FOLDS:
        raise UsageError(f"--initial {folder} holds {len(weights.recipe.folds)} folds; expected {FOLDS}")
    return [weights.find_path(fold) for fold in weights.recipe.folds]


def read_inputs(args: argparse.Namespace) -> Inputs:
    """Return what a command line names, read and checked."""
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but no CUDA device can be used here; --device auto trains on the CPU")
    device = torch.device("cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True  # patches have few shapes
    bodies = read_label_volumes(args.labels)
    held_out = [body.name for body in bodies if is_held_out(body.name)]
    if held_out:
        raise InputError(f"{args.labels} holds {held_out[0]}, which is kept for judging; make the volumes again")
    prepared = open_prepared(args.real)
    if len(set(prepared.recipe.spacing_mm)) != 1:
        raise InputError(f"{args.real} has voxels of {prepared.recipe.spacing_mm} mm; expected cubes")
    configuration = replace(PRESETS["starter"], seed=args.seed, false_volume=args.false_volume)
    phases = tuple(Phase(p.until, min(p.size, args.largest_patch)) for p in PHASES_BY_DEVICE[device.type])
    return Inputs(
        args.output,
        BodyLibrary(bodies, device, find_all_regions(bodies)),
        prepared,
        configuration,
        args.real_share,
        args.learning_rate,
        device,
        args.checkpoint_minutes,
        phases,
        args.storage,
    )


def find_all_regions(bodies: Sequence[LabelVolume]) -> list[Regions]:
    """Return where lesions of each body can sit, found by all cores."""
    if len(bodies) <= _FEW_BODIES:
        return [find_regions(body) for body in bodies]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        return list(processes.map(find_regions, bodies, chunksize=4))


def _write_or_check(args: argparse.Namespace, inputs: Inputs) -> None:
    """Write what the run is, or make sure that the one in the folder is the same."""
    wanted: dict[str, Any] = {
        "minutes": args.minutes,
        "initial": str(args.initial or ""),
        "settings": describe_configuration(inputs.configuration),
        "real_share": inputs.real_share,
        "learning_rate": inputs.learning_rate,
        "phases": [asdict(phase) for phase in inputs.phases],
        "bodies": len(inputs.bodies.volumes),
        "cases": [case.name for case in inputs.prepared.cases],
    }
    path = inputs.output / "starter.json"
    if not path.exists():
        write_text(json.dumps(wanted, indent=1) + "\n", path)
        return
    begun: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    different = [name for name in wanted if begun.get(name) != wanted[name]]
    if different:
        raise UsageError(
            f"{path} is a run with other {', '.join(different)}; use the same command, or another --output"
        )


def train_common(inputs: Inputs, minutes: float, *, initial: Path | None) -> Path:
    """Train the network that all folds start from; return its file. It sees no patient."""
    path = inputs.output / "common.pt"
    if not path.exists():
        torch.manual_seed(inputs.configuration.seed)
        network = build_network() if initial is None else read_network(initial)
        _train(inputs, [network], "common", minutes, rate=COMMON_RATE, folds=[-1], cases=[[]])
        write_network(network, path)
    return path


def fold_path(inputs: Inputs, fold: int) -> Path:
    """Return the file of a trained fold."""
    return inputs.output / f"fold_{fold}.pt"


def list_turns(folds: Sequence[int], device: torch.device) -> list[list[int]]:
    """Return which folds are trained together: all of them on a GPU, one after the other on a CPU."""
    if device.type == "cpu":
        return [[fold] for fold in folds]
    return [list(folds)] if folds else []


def train_starter_folds(inputs: Inputs, folds: Sequence[int], minutes: float, starts: Sequence[Path]) -> None:
    """Train folds side by side, each with the crops of its training patients, unless that is done."""
    if all(fold_path(inputs, fold).exists() for fold in folds):
        return
    networks = [read_network(starts[fold]) for fold in folds]
    cases = [load_training_cases(inputs, fold) for fold in folds]
    _train(
        inputs,
        networks,
        "fold_" + "_".join(map(str, folds)),
        minutes,
        rate=inputs.learning_rate,
        folds=folds,
        cases=cases,
    )
    for fold, network, own in zip(folds, networks, cases, strict=True):
        settle_threshold(network, own, make_engine(network, inputs.device), make_recipe(inputs))
        write_network(network, fold_path(inputs, fold))


def load_training_cases(inputs: Inputs, fold: int) -> list[PreparedCase]:
    """Return the real crops that a fold is trained on."""
    training, _ = split_fold(inputs.prepared.cases, fold)
    return [load(inputs.prepared.folder, case.name) for case in training]


def settle_threshold(network: nn.Module, cases: Sequence[PreparedCase], engine: NetworkEngine, recipe: Recipe) -> float:
    """Add a constant to the lesion's logits, so that 0.5 is the best threshold of the probability; return it.

    The loss's term for false volume makes a network mark too little. The constant with the best mean Dice on its warm
    training crops is taken. Starter folds are no better on these than on unseen ones, so they may choose it. Cold
    lesions, whose contours are those of another modality, have no say.

    Args:
        network: changed in place: the bias of its last convolution.
        cases: those it was trained on.
        engine: runs the network.
        recipe: of the folds.
    """
    warm = [case for case in cases if not is_cold(case)]
    dice = np.zeros(len(OFFSETS))
    for case in warm:
        truth, chance = case.read_truth(), predict_prepared(case, engine, recipe)
        dice += [compute_dice(chance > 1.0 / (1.0 + math.exp(offset)), truth) for offset in OFFSETS]
    offset = OFFSETS[int(dice.argmax())]
    log.info(
        "lesion's logits + %g; Dice of %d training crops by offset: %s", offset, len(warm), dice / max(len(warm), 1)
    )
    with torch.no_grad():
        list(network.parameters())[-1][1] += offset
    return offset


def measure_fold(inputs: Inputs, fold: int) -> float:
    """Return the mean Dice of a fold's validation patients."""
    network = read_network(fold_path(inputs, fold)).to(inputs.device)
    _, validation = split_fold(inputs.prepared.cases, fold)
    cases = [load(inputs.prepared.folder, case.name) for case in validation]
    score = measure_dice(cases, make_engine(network, inputs.device), make_recipe(inputs))
    log.info("fold_%d: mean Dice %.3f of %d validation cases, on the working grid", fold, score, len(cases))
    return score


def _train(
    inputs: Inputs,
    networks: Sequence[nn.Module],
    name: str,
    minutes: float,
    *,
    rate: float,
    folds: Sequence[int],
    cases: Sequence[Sequence[PreparedCase]],
) -> None:
    """Train networks side by side, one per fold with its real cases; fold -1 is the network common to all."""
    for network in networks:
        network.to(inputs.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # missing in its types
    crops = [[read_crop(case, inputs.device) for case in some] for some in cases]
    real = any(crops)
    plan = Plan(
        folder=inputs.output / name,
        minutes=minutes,
        learning_rate=rate,
        step_voxels=STEP_VOXELS[inputs.device.type],
        phases=inputs.phases[-1:] if real and inputs.device.type == "cuda" else inputs.phases,
        checkpoint_minutes=inputs.checkpoint_minutes,
        dtype=choose_dtype(inputs.device),
        fixed_norm=real,
    )

    def make_mixtures(size: int) -> list[Mixture]:
        share = Share(
            real=inputs.real_share, size=size, spacing_mm=inputs.spacing_mm, suv_limit=inputs.prepared.recipe.suv_limit
        )
        seed = derive_seed(inputs.configuration, folds[0] + 1)
        simulated = SimulatedPatches(inputs.bodies, share, seed=seed)
        return [
            Mixture(simulated, own, share=share, configuration=inputs.configuration, fold=fold + 1)
            for fold, own in zip(folds, crops, strict=True)
        ]

    voxel_ml = inputs.spacing_mm**3 / 1000
    steps = train_by_the_clock(
        networks, plan, inputs.configuration, make_mixtures, device=inputs.device, voxel_ml=voxel_ml
    )
    log.info("%s: %d steps in %.1f min", name, steps, minutes)


def choose_dtype(device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where the device has instructions for it, else None, which is float32."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None  # no public function tells it
    chosen = choose_arithmetic(TrainingConfiguration(), device)
    return chosen if chosen is torch.bfloat16 else None  # float16 would need a scaler of the loss


def read_network(path: Path) -> nn.Module:
    """Return the network of a state dict (.pt) or a fold (.safetensors).

    Raises:
        WeightsError: it cannot be read, or is another network.
    """
    return make_network(read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path), where=str(path))


def write_network(network: nn.Module, path: Path) -> None:
    """Write the state dict of a network, as `read_network` reads it."""
    buffer = io.BytesIO()
    torch.save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, buffer)
    write_bytes(buffer.getvalue(), path)


def measure_dice(cases: Sequence[PreparedCase], engine: NetworkEngine, recipe: Recipe) -> float:
    """Return the mean Dice of cases with lesions, by inference's sliding window on the working grid."""
    scores = []
    for case in cases:
        truth = case.read_truth()
        if truth.any():
            scores.append(compute_dice(predict_prepared(case, engine, recipe) > 0.5, truth))
    return sum(scores) / max(len(scores), 1)


def make_engine(network: nn.Module, device: torch.device) -> NetworkEngine:
    """Return the engine of one network, which is put into evaluation mode."""
    return NetworkEngine(network.eval(), device, choose_dtype(device))


def compute_dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the Dice of two masks, of which one at least is not empty."""
    return 2.0 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def make_recipe(inputs: Inputs) -> Recipe:
    """Return the recipe of the folds, still without them: its windows are as large as the last patches.

    Patches lie anywhere, so that the folds do not depend on how the real crops' own grids were anchored.
    """
    size = inputs.phases[-1].size
    return replace(inputs.prepared.recipe, patch=(size, size, size), overlap=0.5, anchor="lattice")


def export(inputs: Inputs, scores: Sequence[float], *, minutes: float) -> Path:
    """Write the folder of weights; return it."""
    patients = len({case.patient for case in inputs.prepared.cases})
    recipe = replace(
        make_recipe(inputs),
        description=f"Trained on real crops of {patients} patients and on bodies simulated from "
        f"{len(inputs.bodies.volumes)} label volumes; starter weights, not for clinical use.",
        training={
            "settings": describe_configuration(inputs.configuration),
            "phases": [asdict(phase) for phase in inputs.phases],
            "real_share": inputs.real_share,
            "learning_rate": inputs.learning_rate,
            "minutes": minutes,
            "device": inputs.device.type,
            "validation_dsc_from": "the working grid",
            "torch": torch.__version__.split("+")[0],
        },
    )
    folder = inputs.output / "weights"
    sources = [fold_path(inputs, fold) for fold in range(FOLDS)]
    import_folds(sources, folder, recipe=recipe, weights=[], validation_dsc=list(scores), storage=inputs.storage)
    return folder
