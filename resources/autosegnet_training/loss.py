"""The paper's loss, generalised Dice plus focal, and what the starter folds add to it. Plain torch.

For patch i, class l and voxel j, with p the softmax of the logits x, g the one-hot truth and N^3 voxels:

    GDL = 1 - mean_i [ (2 Σ_l w_l Σ_j p g + 1e-5) / (Σ_l w_l Σ_j (p + g) + 1e-5) ],   w_l = 1 / (Σ_j g)^2
    FL  = mean_i,l,j [ v_l (1 - q)^γ (-log q) ],   q = σ(x) where g is 1, 1 - σ(x) where it is 0

An infinite w_l (a class that is absent) is replaced by the largest finite one of its patch. Both are means over
patches: the mean over equal micro-batches is the loss of the batch.

Neither term removes false volume from a body. With one network, a patch without lesions in which 197 ml were marked had
a loss of 0.05, and one with a missed lesion of 1.7 ml had 1.04. So a third term may be added, with F_i the false volume
in ml:

    FV  = mean_i [ F_i / (F_i + 10 ml) ],   F_i = voxel volume · Σ_j p_lesion (1 - g_lesion)

Its slope is steepest at the first millilitre. All sums may weight voxels.

Source: paper, section 2.4, with rows 4 and 5 of docs/explanation/decisions.md. The first two terms are MONAI 1.6's
`GeneralizedDiceFocalLoss(to_onehot_y=True, softmax=True)`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from autosegnet_training.configuration import TrainingConfiguration

_SMOOTHING = 1e-5
_HALF_ML = 10.0  # false volume at which its term is a half
_SPACE = (2, 3, 4)


class SegmentationLoss(nn.Module):
    """Measure how wrong logits are.

    Args:
        gamma: exponent of the focal loss.
        focal_weights: of the channels of background and lesion.
        false_volume: weight of the third term; 0 leaves the paper's loss.
        voxel_ml: volume of a voxel, for the third term.
    """

    focal_weights: torch.Tensor

    def __init__(
        self, *, gamma: float, focal_weights: tuple[float, float], false_volume: float = 0.0, voxel_ml: float = 0.0
    ) -> None:
        super().__init__()
        self.gamma, self.false_volume, self.voxel_ml = gamma, false_volume, voxel_ml
        self.register_buffer("focal_weights", torch.tensor(focal_weights).view(1, 2, 1, 1, 1), persistent=False)

    def forward(self, logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Return the loss, a mean over patches.

        Args:
            logits: (B, 2, X, Y, Z) float32; sums over seven million voxels are beyond float16.
            label: (B, 1, X, Y, Z), 1 in lesions.
            weight: (B, 1, X, Y, Z) of each voxel; None: all count 1.
        """
        lesion = label.to(logits.dtype)
        truth = torch.cat([1 - lesion, lesion], dim=1)
        chance = logits.softmax(dim=1)
        loss = self._compute_dice(chance, truth, weight) + self._compute_focal(logits, truth, weight)
        if self.false_volume > 0:
            false = chance[:, 1:] * (1 - lesion)
            false_ml = self.voxel_ml * _sum(false, weight)
            loss = loss + self.false_volume * (false_ml / (false_ml + _HALF_ML)).mean()
        return loss

    def _compute_dice(self, chance: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        size = _sum(truth, weight)  # (B, 2)
        w = size.square().reciprocal()
        absent = torch.isinf(w)
        w = w.masked_fill(absent, 0.0)
        w = w + absent * w.amax(dim=1, keepdim=True)
        overlap = (w * _sum(chance * truth, weight)).sum(dim=1)
        total = (w * (_sum(chance, weight) + size)).sum(dim=1)
        return (1 - (2 * overlap + _SMOOTHING) / (total + _SMOOTHING)).mean()

    def _compute_focal(self, logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        towards = logits * (2 * truth - 1)
        focal = torch.exp(self.gamma * functional.logsigmoid(-towards)) * -functional.logsigmoid(towards)
        focal = self.focal_weights * focal
        return (focal if weight is None else focal * weight).mean()


def _sum(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return the weighted sum over the voxels of each patch and channel: (B, C)."""
    return (values if weight is None else values * weight).sum(dim=_SPACE)


def build_loss(configuration: TrainingConfiguration, *, voxel_ml: float = 0.0) -> SegmentationLoss:
    """Return the loss that a configuration asks for.

    Args:
        configuration: of the run.
        voxel_ml: volume of a voxel of the working grid, which the weight of false volume needs.
    """
    return SegmentationLoss(
        gamma=configuration.focal_gamma,
        focal_weights=configuration.focal_weights,
        false_volume=configuration.false_volume,
        voxel_ml=voxel_ml,
    )
