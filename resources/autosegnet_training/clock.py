"""Trains networks for so many minutes: learning rate and patch size follow the share of the time that has passed.

The same call goes on after an interruption, with the minutes that are left. How many steps fit into the time depends on
the machine, so that two runs differ; what a step sees does not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autosegnet_training.checkpoint import read_newest, write_checkpoint
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.loss import build_loss
from autosegnet_training.mixture import Mixture
from autosegnet_training.validation import autocast

log = logging.getLogger(__name__)

_WARM_UP_STEPS = 20
_TRAINED = 0.95  # share of the time after which the weights stay as they are, and batch norm's statistics are measured
_SETTLING_BATCHES = (16, 64)  # that measure them: at least, and at most
_UNSEEN = 2**40  # number of the first step that only measures
_LOG_SECONDS = 30.0  # reading the loss waits for the device; it is read this seldom


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the time.

    Args:
        until: share of the time at which it ends.
        size: voxels along each axis of its patches.
    """

    until: float
    size: int


# Small patches first, as many as the time allows; windows of inference last.
PHASES = (Phase(0.35, 64), Phase(0.8, 96), Phase(1.0, 128))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a network is trained.

    Args:
        folder: of its checkpoints.
        minutes: of training, interruptions left out.
        learning_rate: after the warm-up; a cosine takes it to 0.
        step_voxels: voxels of the patches of one step, about.
        phases: in order.
        checkpoint_minutes: between checkpoints.
        dtype: of mixed precision; None for float32.
        fixed_norm: whether batch norm's statistics are measured first and then stay, instead of last.
    """

    folder: Path
    minutes: float
    learning_rate: float
    step_voxels: int
    phases: tuple[Phase, ...] = PHASES
    checkpoint_minutes: float = 5.0
    dtype: torch.dtype | None = None
    fixed_norm: bool = False

    @property
    def trained_share(self) -> float:
        """Return the share of the time after which the weights stay."""
        return 1.0 if self.fixed_norm else _TRAINED

    def find_size(self, passed: float) -> int:
        """Return the size of the patches when a share of the time has passed."""
        return next((phase.size for phase in self.phases if passed < phase.until), self.phases[-1].size)

    def find_count(self, size: int) -> int:
        """Return how many patches of a size a step sees."""
        return max(1, self.step_voxels // size**3)

    def find_learning_rate(self, passed: float, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
        return self.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * min(passed / self.trained_share, 1.0)))


def train_by_the_clock(
    networks: Sequence[nn.Module],
    plan: Plan,
    configuration: TrainingConfiguration,
    make_mixtures: Callable[[int], Sequence[Mixture]],
    *,
    device: torch.device,
    voxel_ml: float,
) -> int:
    """Train networks until their minutes are over, and return the number of steps.

    Networks that are trained side by side take turns in every step, so that they can share the simulated bodies in
    their patches, which take longer to make than a GPU takes to learn from them.

    In the last twentieth of the time the weights stay, and batch norm's statistics become the mean over many batches.
    As a running mean of the last few, which differ much from each other, they would be chance. With `fixed_norm` they
    are measured before the first step, and every step sees what inference will see: a network that is already trained
    then goes on well with one or two patches per step, whose own statistics would be chance, too.

    Args:
        networks: on the device; trained in place.
        plan: how long and how.
        configuration: optimiser's weight decay, loss.
        make_mixtures: gives each network's source of patches of a size.
        device: where the networks are.
        voxel_ml: volume of a voxel, for the loss.
    """
    run = _ClockRun(networks, plan, configuration, device=device, voxel_ml=voxel_ml)
    run.restore()
    last = plan.phases[-1].size
    mixtures: Sequence[Mixture] = ()
    size = 0
    if plan.fixed_norm:
        if run.step == 0:
            run.settle_norm(make_mixtures(last), plan.find_count(last))
            run.start_clock()
        run.fix_norm()
    while (passed := run.measure_passed()) < plan.trained_share:
        if plan.find_size(passed) != size:
            size = plan.find_size(passed)
            mixtures = make_mixtures(size)
        run.train_step(mixtures, plan.find_count(size), passed)
        run.save_if_due()
    run.save()
    run.report(size)
    if not plan.fixed_norm:
        run.settle_norm(mixtures if size == last else make_mixtures(last), plan.find_count(last))
    return run.step


class _ClockRun:
    """Networks, their optimisers, and how far they have come."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        plan: Plan,
        configuration: TrainingConfiguration,
        *,
        device: torch.device,
        voxel_ml: float,
    ) -> None:
        self.networks, self.plan, self.device = [network.train() for network in networks], plan, device
        self.loss = build_loss(configuration, voxel_ml=voxel_ml).to(device)
        self.optimisers = [
            torch.optim.AdamW(
                network.parameters(), lr=plan.learning_rate, weight_decay=configuration.weight_decay, fused=True
            )
            for network in networks
        ]
        self.step, self.before = 0, 0.0
        self.start_clock()
        self.losses: list[torch.Tensor] = []

    def measure_seconds(self) -> float:
        """Return the seconds of training, those before an interruption included."""
        return self.before + time.monotonic() - self.begun

    def measure_passed(self) -> float:
        """Return the share of the time that has passed."""
        return self.measure_seconds() / max(60.0 * self.plan.minutes, 1e-9)

    def start_clock(self) -> None:
        """Count the minutes from now on."""
        self.begun = self.saved = self.logged = time.monotonic()

    def fix_norm(self) -> None:
        """Let batch norm use the statistics that it has, in training, too."""
        for norm in self._list_norms():
            norm.eval()

    def _list_norms(self) -> list[nn.modules.batchnorm._BatchNorm]:
        modules = (module for network in self.networks for module in network.modules())
        return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def train_step(self, mixtures: Sequence[Mixture], count: int, passed: float) -> None:
        """Train every network one step; nothing in it waits for the device."""
        for network, optimiser, mixture in zip(self.networks, self.optimisers, mixtures, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = self.plan.find_learning_rate(passed, self.step)
            patches = mixture.make(self.step, count)
            image = patches.image.contiguous(memory_format=torch.channels_last_3d)
            with autocast(self.device, self.plan.dtype):
                logits = network(image)
            loss = self.loss(logits.float(), patches.truth, patches.weight)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            self.losses.append(loss.detach())
        self.step += 1
        if time.monotonic() - self.logged > _LOG_SECONDS:
            self.report(self.plan.find_size(passed))

    @torch.no_grad()
    def settle_norm(self, mixtures: Sequence[Mixture], count: int) -> None:
        """Set batch norm's statistics to their mean over batches of patches that training has not seen."""
        norms = self._list_norms()
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean
        least, most = _SETTLING_BATCHES
        for number in range(most):
            if number >= least and self.measure_passed() >= 1.0:
                break
            for network, mixture in zip(self.networks, mixtures, strict=True):
                patches = mixture.make(_UNSEEN + number, count)
                with autocast(self.device, self.plan.dtype):
                    network(patches.image.contiguous(memory_format=torch.channels_last_3d))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def report(self, size: int) -> None:
        """Log the mean loss since the last report."""
        mean = float(torch.stack(self.losses).mean()) if self.losses else math.nan
        log.info(
            "%s: step %d, %.1f of %.1f min, patches of %d, loss %.4f",
            self.plan.folder.name, self.step, self.measure_seconds() / 60, self.plan.minutes, size, mean,
        )  # fmt: skip
        self.losses, self.logged = [], time.monotonic()

    def save_if_due(self) -> None:
        """Write a checkpoint when the last one is old enough."""
        if time.monotonic() - self.saved > 60.0 * self.plan.checkpoint_minutes:
            self.save()

    def save(self) -> None:
        """Write a checkpoint."""
        state: dict[str, Any] = {
            "networks": [network.state_dict() for network in self.networks],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.measure_seconds(),
        }
        write_checkpoint(self.plan.folder, state, epoch=0, step=self.step)
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        state = read_newest(self.plan.folder)
        if state is None:
            return
        for network, values in zip(self.networks, state["networks"], strict=True):
            network.load_state_dict(values)
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.step, self.before = state["step"], state["seconds"]
        self.begun = time.monotonic()
        log.info("%s: going on from step %d, %.1f min", self.plan.folder.name, self.step, self.before / 60)
