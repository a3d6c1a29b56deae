"""Turns an anatomy into a label volume: axes of the network, a table under the body, air around it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid
from petct_simulator.anatomy import Anatomy, AnatomySource, make_procedural_anatomy
from petct_simulator.frame import make_lattice, measure_axis_mm
from petct_simulator.label_volume import LabelVolume
from petct_simulator.shapes import PointMm
from petct_simulator.tissue import Tissue

TABLE_MM = 60.0  # how far the table reaches below the body


def open_anatomy(organ_map: Path | None, *, vary: bool = False) -> AnatomySource:
    """Return what makes the patient: the procedural anatomy, or an organ map, varied or as it is."""
    if organ_map is None:
        return make_procedural_anatomy
    from petct_simulator.organ_maps import from_file

    return from_file(organ_map, vary=vary)


def make_body(
    name: str, seed: int, spacing_mm: PointMm, organ_map: Path | None = None, *, vary: bool = False
) -> LabelVolume:
    """Return a body on a grid of the given spacing; the same arguments give the same body.

    Args:
        name: of the body.
        seed: of everything random.
        spacing_mm: along (x, y, z).
        organ_map: a label map whose organs it gets; None for a procedural body.
        vary: stretch and bend the map's organs.
    """
    anatomy = open_anatomy(organ_map, vary=vary)(np.random.default_rng(seed), spacing_mm)
    return label_volume(name, anatomy, fit_table(anatomy))


def fit_table(anatomy: Anatomy) -> Grid:
    """Return an anatomy's lattice with room for the table."""
    lattice = anatomy.lattice
    missing = _find_back_mm(anatomy) + TABLE_MM - float(measure_axis_mm(lattice, 1)[-1])
    rows = lattice.shape[1] + max(0, int(np.ceil(missing / lattice.spacing_mm[1])))
    return replace(lattice, size=(lattice.size[0], rows, lattice.size[2]))


def fit_field(anatomy: Anatomy, field_mm: float) -> Grid:
    """Return the PET's grid: a square field of view around the patient, at least as wide as the lattice."""
    lattice = fit_table(anatomy)
    origin, shape = [lattice.origin_mm[2]], [lattice.shape[0]]
    for axis in (1, 0):
        step, size = lattice.spacing_mm[axis], lattice.shape[2 - axis]
        before = max(0, round((lattice.origin_mm[axis] + field_mm / 2) / step))
        shape.append(max(round(field_mm / step), before + size))
        origin.append(lattice.origin_mm[axis] - before * step)
    return make_lattice((shape[0], shape[1], shape[2]), lattice.spacing_mm, (origin[2], origin[1], origin[0]))


def label_volume(name: str, anatomy: Anatomy, grid: Grid) -> LabelVolume:
    """Return the label volume of an anatomy.

    Args:
        name: of the body.
        anatomy: the patient, arrays (z, y, x) in LPS.
        grid: voxels of the volume, which hold those of the anatomy's lattice.
    """
    tissue, (before_x, before_y) = _widen(anatomy, grid)
    x, y = measure_axis_mm(grid, 0)[None, :], measure_axis_mm(grid, 1)[:, None]
    for region, label in _draw_table(x, y, _find_back_mm(anatomy)):
        tissue[:, region] = np.where(tissue[:, region] == Tissue.OUTSIDE, label, tissue[:, region])
    labels = np.ascontiguousarray(tissue.transpose(2, 1, 0)[::-1, ::-1])
    canvas = anatomy.canvas
    step_x = canvas.axis_x[:, 1] - canvas.axis_x[:, 0]
    step_y = canvas.axis_y[:, 1] - canvas.axis_y[:, 0]
    last_x = canvas.axis_x[:, 0] + step_x * (grid.shape[2] - 1 - before_x)
    last_y = canvas.axis_y[:, 0] + step_y * (grid.shape[1] - 1 - before_y)
    reference = np.stack([canvas.axis_z, last_x, -step_x, last_y, -step_y], axis=1).astype(np.float32)
    from_map = None if anatomy.from_map is None else to_voxels(grid) @ np.vstack([anatomy.from_map, [0, 0, 0, 1]])
    return LabelVolume(name, labels, grid.spacing_mm, reference, anatomy.weight_kg, from_map)


def to_voxels(grid: Grid) -> NDArray[np.float64]:
    """Return (3, 4): LPS mm to voxel of a label volume, whose x and y run the other way."""
    matrix = np.zeros((3, 4))
    for axis, sign in enumerate((-1.0, -1.0, 1.0)):
        step, size = sign / grid.spacing_mm[axis], grid.shape[2 - axis]
        matrix[axis, axis] = step
        matrix[axis, 3] = (size - 1 if sign < 0 else 0) - step * grid.origin_mm[axis]
    return matrix


def _widen(anatomy: Anatomy, grid: Grid) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return the tissues on a larger grid, and how many voxels were added before x and y."""
    lattice = anatomy.lattice
    before = [round((lattice.origin_mm[a] - grid.origin_mm[a]) / grid.spacing_mm[a]) for a in (0, 1)]
    tissue = np.zeros(grid.shape, np.uint8)
    _, rows, columns = lattice.shape
    tissue[:, before[1] : before[1] + rows, before[0] : before[0] + columns] = anatomy.canvas.tissue
    return tissue, (before[0], before[1])


def _find_back_mm(anatomy: Anatomy) -> float:
    rows = np.flatnonzero((anatomy.canvas.tissue > 0).any(axis=(0, 2)))
    return float(measure_axis_mm(anatomy.lattice, 1)[rows[-1]])


def _draw_table(x: NDArray[np.float64], y: NDArray[np.float64], back_mm: float) -> list[tuple[NDArray[np.bool_], int]]:
    """Return the table's cross-section at y (to the back) and x: a shell of carbon fibre, foam in it, a mattress."""
    depth = y - (back_mm + 8.0 - 14.0 * (x / 215.0) ** 2)
    across = np.abs(x) < 215
    bottom = 38 * (1 - (x / 230.0) ** 2)
    shell = across & (depth > 0) & (depth < bottom + 6)
    rim = shell & ((depth < 4.5) | (depth > bottom + 1.5) | (np.abs(x) > 209))
    return [(across & (depth > -14) & (depth <= 0), Tissue.MATTRESS), (rim, Tissue.TABLE), (shell, Tissue.TABLE_FOAM)]
