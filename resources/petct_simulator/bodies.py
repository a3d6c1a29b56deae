"""Turns an anatomy into a label volume: axes of the network, a table under the body."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from petct_simulator.anatomy import Anatomy, procedural
from petct_simulator.label_volume import LabelVolume
from petct_simulator.organ_maps import from_organ_map, map_to_lattice_mm, read_organ_map
from petct_simulator.shapes import Point
from petct_simulator.tissue import Tissue

TABLE_MM = 60.0  # how far the table reaches below the body


def make_body(
    name: str, seed: int, spacing_mm: Point, organ_map: Path | None = None, *, vary: bool = False
) -> LabelVolume:
    """Return a body on a grid of the given spacing; the same arguments give the same body.

    Args:
        name: of the body.
        seed: of everything random.
        spacing_mm: along (x, y, z).
        organ_map: a label map whose organs it gets; None for a procedural body.
        vary: stretch and bend the map's organs.
    """
    rng = np.random.default_rng(seed)
    if organ_map is None:
        return label_volume(name, procedural(rng, spacing_mm))
    labels = read_organ_map(organ_map)
    anatomy = from_organ_map(labels, rng, spacing_mm, vary=vary)
    return label_volume(name, anatomy, from_map=None if vary else map_to_lattice_mm(labels))


def label_volume(name: str, anatomy: Anatomy, *, from_map: NDArray[np.float64] | None = None) -> LabelVolume:
    """Return the label volume of an anatomy.

    Args:
        name: of the body.
        anatomy: the patient, arrays (z, y, x) in LPS.
        from_map: (3, 4), voxel of the organ map's file to LPS mm of the anatomy's lattice.
    """
    canvas, lattice = anatomy.canvas, anatomy.lattice
    tissue = canvas.tissue
    rows = np.flatnonzero((tissue > 0).any(axis=(0, 2)))
    back = float(lattice.axis(1)[rows[-1]])
    extra = max(0, int(np.ceil((back + TABLE_MM - float(lattice.axis(1)[-1])) / lattice.spacing_mm[1])))
    tissue = np.pad(tissue, ((0, 0), (0, extra), (0, 0)))
    wider = replace(lattice, shape=(tissue.shape[0], tissue.shape[1], tissue.shape[2]))
    x, y = wider.axis(0)[None, :], wider.axis(1)[:, None]
    for plane in tissue:
        for region, label in _table(x, y, back):
            plane[region & (plane == Tissue.OUTSIDE)] = label
    labels = np.ascontiguousarray(tissue.transpose(2, 1, 0)[::-1, ::-1])
    nx, ny, _ = labels.shape
    step_x = canvas.axis_x[:, 1] - canvas.axis_x[:, 0]
    step_y = canvas.axis_y[:, 1] - canvas.axis_y[:, 0]
    reference = np.stack(
        [
            canvas.axis_z,
            canvas.axis_x[:, 0] + step_x * (nx - 1),
            -step_x,
            canvas.axis_y[:, 0] + step_y * (ny - 1),
            -step_y,
        ],
        axis=1,
    ).astype(np.float32)
    if from_map is not None:  # LPS mm of the lattice -> voxel, RAS
        to_voxel = np.diag([-1.0 / lattice.spacing_mm[0], -1.0 / lattice.spacing_mm[1], 1.0 / lattice.spacing_mm[2]])
        origin = np.array(lattice.origin_mm)
        from_map = to_voxel @ from_map
        from_map[:, 3] -= to_voxel @ origin
        from_map[:2, 3] += (nx - 1, ny - 1)
    return LabelVolume(name, labels, lattice.spacing_mm, reference, anatomy.weight_kg, from_map)


def _table(x: NDArray[np.float64], y: NDArray[np.float64], back_mm: float) -> list[tuple[NDArray[np.bool_], int]]:
    """Return the table's cross-section at y (to the back) and x: a shell of carbon fibre, foam in it, a mattress."""
    depth = y - (back_mm + 8.0 - 14.0 * (x / 215.0) ** 2)
    across = np.abs(x) < 215
    bottom = 38 * (1 - (x / 230.0) ** 2)
    shell = across & (depth > 0) & (depth < bottom + 6)
    rim = shell & ((depth < 4.5) | (depth > bottom + 1.5) | (np.abs(x) > 209))
    return [(across & (depth > -14) & (depth <= 0), Tissue.MATTRESS), (rim, Tissue.TABLE), (shell, Tissue.TABLE_FOAM)]
