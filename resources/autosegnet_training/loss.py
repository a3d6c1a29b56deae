"""The paper's loss: generalised Dice plus focal, from MONAI.

For patch i, class l and voxel j, with p the softmax of the logits x, g the one-hot truth and N^3 voxels:

    GDL = 1 - mean_i [ (2 Σ_l w_l Σ_j p g + 1e-5) / (Σ_l w_l Σ_j (p + g) + 1e-5) ],   w_l = 1 / (Σ_j g)^2
    FL  = mean_i,l,j [ v_l (1 - q)^γ (-log q) ],   q = σ(x) where g is 1, 1 - σ(x) where it is 0

An infinite w_l (a class that is absent) is replaced by the largest finite one of its patch. Both are means over
patches: the mean over equal micro-batches is the loss of the batch.

Source: paper, section 2.4, with rows 4 and 5 of docs/explanation/decisions.md.
"""

from __future__ import annotations

from torch import nn

from autosegnet_training.configuration import TrainingConfiguration


def build_loss(configuration: TrainingConfiguration) -> nn.Module:
    """The loss of logits (B, 2, X, Y, Z) float32 and labels (B, 1, X, Y, Z).

    Logits must be float32: sums over seven million voxels are beyond float16.
    """
    from monai.losses import GeneralizedDiceFocalLoss

    loss: nn.Module = GeneralizedDiceFocalLoss(
        to_onehot_y=True, softmax=True, gamma=configuration.focal_gamma, weight=configuration.focal_weights
    )
    return loss
