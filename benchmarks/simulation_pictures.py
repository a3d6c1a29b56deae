"""Draw simulated studies for docs/explanation/simulation.md: PET projections with lesion outlines, and CT slices.

python benchmarks/simulation_pictures.py --output docs/images/simulation.png
"""

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from petct_simulator.cohorts import COHORTS  # noqa: E402
from petct_simulator.protocol import Protocol  # noqa: E402
from petct_simulator.whole_study import SimulatedStudy, simulate_study  # noqa: E402


def draw(study: SimulatedStudy, axes: list[Axes]) -> None:
    """Draw the coronal and sagittal projection (inverted grey, SUV 0–10) and a coronal CT slice, feet down."""
    x_mm, y_mm, z_mm = study.grid.spacing_mm
    suv, ct, truth = (values[::-1] for values in (study.suv, study.ct, study.truth))
    axes[0].imshow(suv.max(axis=1), aspect=z_mm / x_mm, cmap="gray_r", vmin=0, vmax=10)
    axes[1].imshow(suv.max(axis=2), aspect=z_mm / y_mm, cmap="gray_r", vmin=0, vmax=10)
    if truth.any():
        axes[0].contour(truth.max(axis=1), [0.5], colors="red", linewidths=0.6)
        axes[1].contour(truth.max(axis=2), [0.5], colors="red", linewidths=0.6)
    middle = round(-study.grid.origin_mm[1] / y_mm)
    axes[2].imshow(ct[:, middle], aspect=z_mm / x_mm, cmap="gray", vmin=-200, vmax=300)
    volume = float(study.truth.sum()) * float(np.prod(study.grid.spacing_mm)) / 1000
    axes[0].set_title(f"{study.cohort}, {study.weight_kg:.0f} kg, {volume:.0f} ml", fontsize=8)


def main() -> None:
    """Draw one procedural study of every cohort."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=300)
    parser.add_argument("--output", type=Path, required=True, help="PNG file")
    arguments = parser.parse_args()
    figure, axes = plt.subplots(2, 6, figsize=(12, 8.5))
    for i, cohort in enumerate(COHORTS):
        study = simulate_study(arguments.seed + i, protocol=Protocol(field_mm=560.0, cohort=cohort))
        draw(study, list(axes[i // 2, 3 * (i % 2) : 3 * (i % 2) + 3]))
    for ax in axes.flat:
        ax.axis("off")
    figure.suptitle("Simulated studies: PET projections with lesion outlines, CT", fontsize=9)
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=68)


if __name__ == "__main__":
    main()
