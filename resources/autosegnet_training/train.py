"""The command `train`: one fold, from prepared arrays to the best epoch's weights. Read it from top to bottom.

One process, or several under `torchrun`. The same command continues a stopped run, with the same result.
Source: paper, sections 2.2 to 2.4.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from autosegnet.errors import InputError, UsageError
from autosegnet.model.network import (
    build_network,
    count_inputs,
    make_network,
    read_pth,
    read_safetensors,
    widen_inputs,
)
from autosegnet.model.recipe import IMAGE_CHANNELS
from autosegnet_training import configuration as settings
from autosegnet_training import distributed, runs
from autosegnet_training.arrays import PreparedCase, PreparedFolder, load, open_prepared
from autosegnet_training.augmentation import apply
from autosegnet_training.checkpoint import collect_random_states, read_newest, restore_random_states, write_checkpoint
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.distributed import Processes
from autosegnet_training.history import Board, HistoryRow, draw_curves, write_history
from autosegnet_training.loss import build_loss
from autosegnet_training.sampling import MicroBatch, PatchSampler, count_steps_per_epoch, open_bodies
from autosegnet_training.simulated_clicks import add_click_channels
from autosegnet_training.validation import NetworkEngine, Validation, autocast, measure_prepared

log = logging.getLogger(__name__)

_BOTTOM = "model." + 4 * "1.submodule."  # name of the deepest level in MONAI's UNet
_NOT_VALIDATED = {"dsc": math.nan, "fpv_ml": math.nan, "fnv_ml": math.nan, "negative_fpv_ml": math.nan}


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("train", help="train one fold; repeat the command to continue after an interruption")
    parser.add_argument("prepared", type=Path, metavar="DIR", help="folder that prepare wrote")
    parser.add_argument("--fold", type=int, required=True, help="fold whose cases are for validation")
    parser.add_argument("--output", type=Path, required=True, metavar="RUNS", help="the run goes to RUNS/fold_K")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    settings.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train the fold that a command line asks for."""
    configuration = settings.read_configuration(args)
    prepared = open_prepared(args.prepared)
    with distributed.join_processes(args.device) as processes:
        if not processes.writes:
            logging.getLogger().setLevel(logging.WARNING)  # one process prints it
        result = train_fold(prepared, configuration, processes, output=args.output, fold=args.fold)
    if processes.writes:
        sys.stdout.write(f"fold {args.fold}: best validation DSC {result['dsc']:.4f} in epoch {result['epoch']}\n")


def train_fold(
    prepared: PreparedFolder, configuration: TrainingConfiguration, processes: Processes, *, output: Path, fold: int
) -> dict[str, Any]:
    """Train the rest of a fold's run, and return its result.

    Raises:
        InputError: a case cannot be read, or the loss is not finite.
        UsageError: the folder holds a run of other settings, or the processes cannot share the batch.
    """
    _check_shares(configuration, processes)
    begun = runs.plan_run(prepared, configuration, runs=output, fold=fold)
    runs.write_or_check_run(begun, writes=processes.writes)
    processes.wait()
    training = [load(prepared.folder, name) for name in begun.training]
    validation = [load(prepared.folder, name) for name in begun.validation]
    trainer = Trainer(begun, processes, training=training, validation=validation)
    trainer.restore()
    with Board(begun.folder / "tensorboard", writes=processes.writes, first_epoch=trainer.epoch + 1) as board:
        trainer.train(board)
    return trainer.best


def _check_shares(configuration: TrainingConfiguration, processes: Processes) -> None:
    micro = configuration.micro_batch or max(1, configuration.batch // processes.ranks)
    if configuration.batch % (micro * processes.ranks):
        raise UsageError(
            f"--batch {configuration.batch} cannot be shared by {processes.ranks} processes in micro-batches of {micro}"
            "; expected a multiple"
        )


class Trainer:
    """The state of a run: network, optimiser, schedule and progress."""

    def __init__(
        self, begun: runs.Run, processes: Processes, *, training: list[PreparedCase], validation: list[PreparedCase]
    ) -> None:
        self.run, self.processes, self.configuration = begun, processes, begun.configuration
        self.validation = validation
        self.patches = PatchSampler(
            training,
            self.configuration,
            bodies=open_bodies(self.configuration, begun.recipe),
            rank=processes.rank,
            ranks=processes.ranks,
        )
        self.steps = count_steps_per_epoch(self.configuration, len(training))
        torch.manual_seed(self.configuration.seed)
        self.network = open_initial_network(self.configuration, inputs=begun.recipe.input_channels)
        self.network.to(processes.device)
        if self.configuration.channels_last:
            self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # missing in its types
        self.distributed = processes.wrap(self.network)
        if self.configuration.compile:
            # Patches and windows have one size each; torch 2.13 cannot compile this network for all sizes at once.
            self.distributed.compile(dynamic=False)
        voxel_ml = math.prod(begun.recipe.spacing_mm) / 1000
        self.loss = build_loss(self.configuration, voxel_ml=voxel_ml).to(processes.device)
        self.optimiser = build_optimiser(self.configuration, self.network)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, T_max=self.configuration.epochs)
        self.dtype = choose_arithmetic(self.configuration, processes.device)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=self.dtype is torch.float16)
        self.epoch = self.step = 0
        self.losses: list[float] = []  # of the steps of this epoch
        self.seconds = 0.0  # of this epoch, before this process began
        self.started = time.monotonic()  # of this epoch, as if it had not been interrupted
        self.history: list[HistoryRow] = []
        self.best: dict[str, Any] = {"dsc": math.nan, "epoch": 0, "finished": False}

    def train(self, board: Board) -> None:
        """Train the epochs that are left."""
        c = self.configuration
        total = c.epochs * self.steps if c.minutes == 0 else None
        log.info(
            "fold %d: %d training and %d validation cases, %d steps of %d patches an epoch, %d process(es), %s, %s",
            self.run.fold, len(self.run.training), len(self.validation), self.steps, c.batch, self.processes.ranks,
            self.processes.device, self.dtype or "float32",
        )  # fmt: skip
        shown = None if self.processes.writes else True  # tqdm: None hides the bar where there is no terminal
        with tqdm(total=total, initial=self.epoch * self.steps + self.step, unit="step", disable=shown) as bar:
            over = self.is_over()
            while not over:
                self.started = time.monotonic() - self.seconds
                self.train_epoch(bar)
                over = self.finish_epoch(board, seconds=time.monotonic() - self.started)
                bar.set_description(f"epoch {self.epoch}, DSC {self.best['dsc']:.3f}")
        self.best["finished"] = True
        if self.processes.writes:
            runs.write_result(self.run, self.best)
            draw_curves(self.history, self.run.folder / "curves.png")

    def measure_passed(self) -> float:
        """Return the share of the minutes that training has taken, without validation."""
        before = math.fsum(row["seconds"] for row in self.history)
        passed_s = self.processes.mean(before + time.monotonic() - self.started)
        return passed_s / (60 * self.configuration.minutes)

    def is_over(self) -> bool:
        """Return whether all epochs are trained, or all minutes have passed."""
        if self.configuration.minutes > 0:
            return self.measure_passed() >= 1.0
        return self.epoch >= self.configuration.epochs

    def follow_clock(self) -> None:
        """Set the learning rate by the share of the minutes that has passed."""
        share = min(self.measure_passed(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.configuration.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def train_epoch(self, bar: Any) -> None:
        """Train the rest of this epoch, or until the minutes are over, but at least one step."""
        self.distributed.train()
        if self.configuration.frozen_norm:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        saved = time.monotonic()
        micro_batches = self.patches.iterate_epoch(self.epoch, first_step=self.step)
        while self.step < self.steps and (self.step == 0 or not self.is_over()):
            loss = self.train_step(micro_batches)
            self.losses.append(loss)
            self.step += 1
            bar.set_postfix(loss=f"{loss:.4f}")
            bar.update()
            if time.monotonic() - saved > 60 * self.configuration.checkpoint_minutes and self.step < self.steps:
                self.seconds = time.monotonic() - self.started
                self.save()
                saved = time.monotonic()

    def train_step(self, micro_batches: Iterator[MicroBatch]) -> float:
        """Train one step, and return the loss of its batch over all processes.

        Raises:
            InputError: the loss is not finite. The step leaves the network unchanged.
        """
        if self.configuration.minutes > 0:
            self.follow_clock()
        self.optimiser.zero_grad(set_to_none=True)
        summed = 0.0
        for k in range(self.patches.micro_batches):
            image, label = self.move_to_device(self.read(micro_batches))
            with self.processes.defer_gradients(self.distributed, last=k + 1 == self.patches.micro_batches):
                with autocast(self.processes.device, self.dtype):
                    logits = self.distributed(image)
                loss = self.loss(logits.float(), label) / self.patches.micro_batches
                self.scaler.scale(loss).backward()
            summed += float(loss.detach())
        mean = self.processes.mean(summed)
        if not math.isfinite(mean):
            names = ", ".join(self.patches.list_names(self.epoch, self.step))
            raise InputError(
                f"the loss is {mean} in epoch {self.epoch}, step {self.step}, for the cases {names}; "
                "expected a finite one (look at these cases, or lower --learning-rate)"
            )
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return mean

    def read(self, micro_batches: Iterator[MicroBatch]) -> MicroBatch:
        """Return the next micro-batch, once it is read."""
        return next(micro_batches)

    def move_to_device(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the patches on the network's device, augmented there, with the channels that the network takes."""
        device, image, label = self.processes.device, batch.input, batch.label
        if device.type == "cuda":
            image, label = image.pin_memory(), label.pin_memory()
        image, label = image.to(device, non_blocking=True), label.to(device, non_blocking=True)
        image, label = apply(batch.draws, image, label)
        image = add_click_channels(batch.draws, image, label, self.run.recipe)
        if self.configuration.channels_last:
            image = image.contiguous(memory_format=torch.channels_last_3d)
        return image, label

    def finish_epoch(self, board: Board, *, seconds: float) -> bool:
        """Validate if due, keep the best network, and write everything; return whether this was the last epoch."""
        learning_rate = float(self.optimiser.param_groups[0]["lr"])
        self.schedule.step()
        row: HistoryRow = {
            "epoch": self.epoch + 1,
            "loss": math.fsum(self.losses) / len(self.losses),
            "learning_rate": learning_rate,
            "seconds": seconds,
            **_NOT_VALIDATED,
        }
        by_clock = self.configuration.minutes > 0
        last = self.is_over() if by_clock else self.epoch + 1 == self.configuration.epochs
        if last or (self.epoch + 1) % self.configuration.validate_every == 0:
            row |= self.validate(board)
        self.history.append(row)
        board.add_row(row)
        log.info(
            "epoch %d of %d: loss %.4f, %.0f s, about %.2f h left%s",
            self.epoch + 1, self.configuration.epochs, row["loss"], seconds, self.estimate_hours_left(seconds),
            _format_row(row),
        )  # fmt: skip
        self.epoch, self.step, self.losses, self.seconds = self.epoch + 1, 0, [], 0.0
        self.started = time.monotonic()
        self.save()
        if self.processes.writes:
            write_history(self.history, self.run.folder / "history.csv")
        return last

    def estimate_hours_left(self, seconds: float) -> float:
        """Estimate how long training still takes if every epoch takes this many seconds."""
        if self.configuration.minutes > 0:
            return max(0.0, 1.0 - self.measure_passed()) * self.configuration.minutes / 60
        return (self.configuration.epochs - self.epoch - 1) * seconds / 3600

    def validate(self, board: Board) -> HistoryRow:
        """Measure the validation cases, divided among the processes, and keep the best network."""
        self.processes.share_buffers(self.network)
        self.network.eval()
        engine = NetworkEngine(self.network, self.processes.device, self.dtype)
        mine = self.validation[self.processes.rank :: self.processes.ranks]
        metrics, masks = measure_prepared(mine, engine, self.run.recipe)
        validation = Validation(dict(sorted(self.processes.gather(metrics).items())))
        board.add_pictures(mine, masks, epoch=self.epoch + 1)
        row: HistoryRow = {name: getattr(validation, name) for name in _NOT_VALIDATED}
        # If no validation case has a lesion, the network with the least false volume is the best.
        score = row["dsc"] if not math.isnan(row["dsc"]) else -row["fpv_ml"]
        if self.best["epoch"] == 0 or score > self.best["score"]:
            self.best = {"epoch": self.epoch + 1, "score": score, **row, "finished": False}
            if self.processes.writes:
                runs.write_best(self.run, self.network)
                runs.write_result(self.run, self.best)
        return row

    def save(self) -> None:
        """Write a checkpoint, in the one process that writes."""
        if not self.processes.writes:
            return
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": collect_random_states(),
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "seconds": self.seconds,
            "history": self.history,
            "best": self.best,
        }
        write_checkpoint(self.run.folder / "checkpoints", state, epoch=self.epoch, step=self.step)

    def restore(self) -> None:
        """Continue from the newest checkpoint, if there is one. Every process reads it."""
        state = read_newest(self.run.folder / "checkpoints")
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        restore_random_states(state["random"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.losses, self.history, self.best = state["losses"], state["history"], state["best"]
        log.info("continuing from epoch %d, step %d", self.epoch, self.step)


def _format_row(row: HistoryRow) -> str:
    if math.isnan(row["fpv_ml"]):
        return ""
    return (
        f"; validation: DSC {row['dsc']:.4f} and FNV {row['fnv_ml']:.2f} ml of positives, "
        f"FPV {row['fpv_ml']:.2f} ml of all, {row['negative_fpv_ml']:.2f} ml of negatives"
    )


def build_optimiser(configuration: TrainingConfiguration, network: nn.Module) -> torch.optim.Optimizer:
    """Return Adam (paper, section 2.4) or AdamW."""
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[configuration.optimiser]
    return kind(
        network.parameters(), lr=configuration.learning_rate, weight_decay=configuration.weight_decay, fused=True
    )


def open_initial_network(configuration: TrainingConfiguration, *, inputs: int = IMAGE_CHANNELS) -> nn.Module:
    """Return the network that training starts from: random weights, or those of a trained one.

    A trained network without click channels gets them with weights of 0, so that clicks have no effect at first.

    Args:
        configuration: of the run.
        inputs: number of channels that the network takes.

    Raises:
        WeightsError: a file that cannot be read, or of another network.
    """
    if not configuration.initial:
        return build_network(inputs)
    path = Path(configuration.initial)
    state = read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
    if count_inputs(state) == IMAGE_CHANNELS < inputs:
        state = widen_inputs(state, inputs)
    network = make_network(state, where=str(path), inputs=inputs)
    if configuration.frozen_bottom:
        for weight in select_bottom_weights(network):
            weight.requires_grad_(False)
    return network


def select_bottom_weights(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the convolutions of the deepest level."""
    return [
        parameter for name, parameter in network.named_parameters() if name.startswith(_BOTTOM) and parameter.ndim == 5
    ]


def choose_arithmetic(configuration: TrainingConfiguration, device: torch.device) -> torch.dtype | None:
    """Return the smaller type of mixed precision; None for float32. On the CPU only on request.

    Without instructions for it, a CPU takes 35 times longer in bfloat16 than in float32.

    Raises:
        UsageError: mixed precision was asked for on a CPU that has no instructions for it.
    """
    wanted = configuration.precision
    if device.type != "cuda":
        if wanted == "bfloat16" and torch.cpu._is_avx512_bf16_supported():  # there is no public function for it
            return torch.bfloat16
        if wanted in ("bfloat16", "float16"):
            raise UsageError(f"--precision {wanted} needs a CUDA device, or for bfloat16 a CPU with AVX-512 BF16")
        return None
    if wanted == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
