"""Simulated studies beside real ones, row by row: lesions, hot spots, blood, noise, kidneys, bladder, brain.

    python benchmarks/simulation_figures.py --organ-maps DIR --number 16 --output FILE [--lesions DIR]

Writes a Markdown table. The real column is computed from the tables in --lesions (studies.csv, component_volumes.csv,
lesion_sites.csv, hot_spots.csv; FDG-PET-CT-Lesions, see petct_simulator.cohorts for the sources) if they are given;
figures that need real images are quoted as measured once (docs/explanation/simulation.md).
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.workers import Workers
from petct_simulator.bodies import open_anatomy, to_voxels
from petct_simulator.protocol import Protocol
from petct_simulator.regions import SITES
from petct_simulator.simulate_command import derive_study_seed, list_organ_maps
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import LesionRecord, SimulatedStudy, simulate_study

T = Tissue
POSITIVE = ("melanoma", "lung_cancer", "lymphoma")
SLICES_AT_THE_END = 3
COARSE_MM = 6.0  # grid of the published component volumes
FIELD_MM = 814.4  # of the real studies; what is above a percentile of all voxels depends on how much of them is air
# What the rule that sorted real lesions calls a site; a site that it does not know is sorted by its place.
REGIONS = {
    "neck": "neck/supraclavicular", "mediastinum": "mediastinum/hilum", "lung": "lung", "liver": "liver",
    "spleen": "spleen", "stomach": "stomach", "heart": "heart", "kidney": "kidney", "brain": "brain", "head": "head",
    "prostate": "prostate", "pleura": "pleura/rib/edge of lung", "axilla": "axilla/shoulder",
    "chest wall": "chest wall/other chest", "arm": "arm/axilla/lateral", "groin": "groin/thigh/leg",
    "pelvis": "pelvis", "lateral abdomen": "lateral abdomen", "upper abdomen": "upper abdomen outside organs",
    "central abdomen": "central abdomen (para-aortic, mesentery, bowel)", "back": "back wall/scapula",
    "thoracic spine": "thoracic spine/paravertebral", "lumbar spine": "lumbar spine/retroperitoneum",
}  # fmt: skip
BY_PLACE = ("lumbar spine", "thoracic spine", "central abdomen", "lateral abdomen", "pelvis", "groin", "mediastinum",
            "neck", "head", "axilla", "back", "chest wall", "arm")  # fmt: skip
Volume = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Task:
    """One study to simulate."""

    seed: int
    organ_map: Path | None
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured in one simulated study."""

    cohort: str
    components: int
    burden_ml: float
    component_ml: tuple[float, ...]
    lesion_suv: Volume
    lesion_hu: Volume
    sites: tuple[str, ...]
    hot_spots: int
    share_in_lowest_slices: float
    aorta: tuple[float, float]
    liver: tuple[float, float, float, float]
    """SUV, CV, and FWHM of the noise's autocorrelation in plane and along z in mm."""
    kidneys: tuple[float, float, float]
    """Parenchyma's median SUV, ml above SUV 4 per kidney, maximum."""
    bladder: tuple[float, float, float, float]
    """ml, width and height in mm, maximum SUV."""
    brain: tuple[float, float, float]
    """Median, 99th percentile, maximum SUV."""


def measure(task: Task) -> Figures:
    """Simulate one study and measure it."""
    study = simulate_study(task.seed, anatomy=open_anatomy(task.organ_map), protocol=task.protocol)
    truth, tissue, suv = study.truth.astype(bool), study.tissue, study.suv
    voxel_ml = float(np.prod(study.grid.spacing_mm)) / 1000
    components = int(cc3d.connected_components(truth, connectivity=18).max())
    rng = np.random.default_rng(task.seed)
    voxels = rng.permutation(np.flatnonzero(truth))[:4000]
    records = [study.lesions[i] for i in rng.permutation(len(study.lesions))[:10]]
    hot_spots, lowest = count_hot_spots(suv, truth)
    return Figures(
        cohort=study.cohort,
        components=components,
        burden_ml=float(truth.sum()) * voxel_ml,
        component_ml=tuple(measure_coarse_volumes(truth, study.grid.spacing_mm)),
        lesion_suv=suv.ravel()[voxels],
        lesion_hu=study.ct.ravel()[voxels].astype(np.float32),
        sites=tuple(name_region(record, study) for record in records),
        hot_spots=hot_spots,
        share_in_lowest_slices=lowest,
        aorta=measure_aorta(study),
        liver=measure_liver(suv, (tissue == T.LIVER) & ~truth, study.grid.spacing_mm),
        kidneys=measure_kidneys(suv, tissue, truth, voxel_ml),
        bladder=measure_bladder(suv, tissue, study.grid.spacing_mm),
        brain=measure_brain(suv, tissue),
    )


def name_region(record: LesionRecord, study: SimulatedStudy) -> str:
    """Return where a lesion lies, in the words of the tables of real lesions."""
    if record.site in REGIONS:
        return REGIONS[record.site]
    matrix = to_voxels(study.grid)
    voxel = np.rint(matrix[:, :3] @ record.centre_mm + matrix[:, 3]).astype(int)
    place = study.body.find_reference_mm(voxel[None])[0]
    place[0] = abs(place[0])
    for site in BY_PLACE:
        _, *bounds = SITES[site]
        if all(low <= at <= high for at, (low, high) in zip(place, bounds, strict=True)):
            return REGIONS[site]
    return "elsewhere"


def measure_coarse_volumes(truth: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> list[float]:
    """Return the components' volumes in ml on a grid of 6 mm, on which the published volumes were counted."""
    index = np.ix_(*[
        np.arange(0.5 * COARSE_MM, n * s, COARSE_MM).__floordiv__(s).astype(np.intp)
        for n, s in zip(truth.shape, spacing_mm[::-1], strict=True)
    ])  # fmt: skip
    labels = cc3d.connected_components(truth[index], connectivity=18)
    return [float(v) for v in np.bincount(labels.ravel())[1:] * COARSE_MM**3 / 1000]


def count_hot_spots(suv: Volume, truth: NDArray[np.bool_]) -> tuple[int, float]:
    """Return the components above the 99.75th percentile outside lesions, and the share in the lowest slices."""
    hot = (suv > np.percentile(suv, 99.75)) & ~truth
    labels = cc3d.connected_components(hot, connectivity=18)
    count = int(labels.max())
    if count == 0:
        return 0, 0.0
    centres = np.array(ndimage.center_of_mass(hot, labels, np.arange(1, count + 1)))
    return count, float((centres[:, 0] < SLICES_AT_THE_END).mean())


def measure_aorta(study: SimulatedStudy) -> tuple[float, float]:
    """Return mean SUV and CV of the voxels in the descending aorta; NaN if it is not seen."""
    blood = np.argwhere(ndimage.binary_erosion(study.body.labels == T.BLOOD))
    at = study.body.find_reference_mm(blood)
    inside = (at[:, 2] > 1130) & (at[:, 2] < 1390) & (at[:, 0] > 2) & (at[:, 0] < 32) & (at[:, 1] > 15)
    x, y, z = blood[inside].T
    suv = study.suv.transpose(2, 1, 0)[::-1, ::-1][x, y, z]
    return (float(suv.mean()), float(suv.std() / suv.mean())) if suv.size > 30 else (np.nan, np.nan)


def measure_liver(
    suv: Volume, liver: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float, float]:
    """Return SUV, CV and the full width at half maximum of the noise's autocorrelation in plane and along z."""
    inside = ndimage.binary_erosion(liver, iterations=3)
    if inside.sum() < 500:
        return (np.nan,) * 4
    steps = spacing_mm[::-1]
    mean = float(suv[inside].mean())
    away = np.where(inside, suv - mean, 0.0)
    sigma = [25.0 / s for s in steps]
    away -= ndimage.gaussian_filter(away, sigma) / np.maximum(
        ndimage.gaussian_filter(inside.astype(float), sigma), 1e-3
    )
    variance = float((away[inside] ** 2).mean())
    widths = [measure_half_width(away, inside, variance, axis) * steps[axis] * 2 for axis in range(3)]
    return mean, float(np.sqrt(variance)) / mean, (widths[1] + widths[2]) / 2, widths[0]


def measure_half_width(away: Volume, inside: NDArray[np.bool_], variance: float, axis: int) -> float:
    """Return the distance in voxels at which the autocorrelation falls to a half."""
    before = 1.0
    for lag in range(1, 12):
        one: list[slice] = [slice(None)] * 3
        other: list[slice] = [slice(None)] * 3
        one[axis], other[axis] = slice(lag, None), slice(None, -lag)
        both = inside[tuple(one)] & inside[tuple(other)]
        now = float((away[tuple(one)][both] * away[tuple(other)][both]).mean()) / variance
        if now < 0.5:
            return lag - 1 + (before - 0.5) / (before - now)
        before = now
    return float("nan")


def measure_kidneys(
    suv: Volume, tissue: NDArray[np.uint8], truth: NDArray[np.bool_], voxel_ml: float
) -> tuple[float, float, float]:
    """Return the parenchyma's median SUV, the volume above SUV 4 per kidney, and the maximum."""
    kidney = np.isin(tissue, (T.KIDNEY, T.RENAL_PELVIS, T.RENAL_SINUS)) & ~truth
    far = ndimage.binary_dilation(tissue == T.RENAL_PELVIS, iterations=3)
    parenchyma = (tissue == T.KIDNEY) & ~far & ~truth
    if parenchyma.sum() < 50:
        return (np.nan,) * 3
    return float(np.median(suv[parenchyma])), float((suv[kidney] > 4).sum()) * voxel_ml / 2, float(suv[kidney].max())


def measure_bladder(
    suv: Volume, tissue: NDArray[np.uint8], spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float, float]:
    """Return the bladder's volume, width, height and maximum SUV; NaN if there is none."""
    bladder = tissue == T.BLADDER
    if not bladder.any():
        return (np.nan,) * 4
    z, _, x = (np.ptp(at) + 1 for at in np.nonzero(bladder))
    volume = float(bladder.sum()) * float(np.prod(spacing_mm)) / 1000
    return volume, float(x) * spacing_mm[0], float(z) * spacing_mm[2], float(suv[bladder].max())


def measure_brain(suv: Volume, tissue: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return median, 99th percentile and maximum of the brain's SUV; NaN if none is seen."""
    brain = np.isin(tissue, (T.GREY_MATTER, T.WHITE_MATTER, T.CEREBELLUM, T.DEEP_GREY))
    if brain.sum() < 1000:
        return (np.nan,) * 3
    return float(np.median(suv[brain])), float(np.percentile(suv[brain], 99)), float(suv[brain].max())


def spread(values: Sequence[float] | NDArray[np.float64], digits: int = 1) -> str:
    """Return median and 5th to 95th percentile."""
    low, middle, high = np.nanpercentile(np.asarray(values, float), (5, 50, 95))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def format_quantiles(values: Sequence[float]) -> str:
    """Return the 25, 50, 75, 90 and 95 % quantiles."""
    return "/".join(f"{v:.2g}" for v in np.percentile(np.asarray(values, float), (25, 50, 75, 90, 95)))


def format_per_cohort(value: Callable[[str], str]) -> str:
    """Return a value per cohort with lesions, in their order."""
    return ", ".join(value(cohort) for cohort in POSITIVE)


def list_lesion_rows(studies: Sequence[Figures], real: "RealTables | None") -> list[tuple[str, str, str]]:
    """Return the rows on number, burden, volume, SUV and site of lesions."""

    def select_cohort(cohort: str) -> list[Figures]:
        return [s for s in studies if s.cohort == cohort]

    def format_counts(counts: Sequence[float]) -> str:
        return f"{np.median(counts):.3g}/{np.percentile(counts, 90):.0f}"

    numbers = {c: [s.components for s in select_cohort(c)] for c in POSITIVE}
    burdens = {c: [s.burden_ml for s in select_cohort(c)] for c in POSITIVE}
    pooled = [v for s in studies for v in s.component_ml]
    suv, hu = (np.concatenate([getattr(s, name) for s in studies]) for name in ("lesion_suv", "lesion_hu"))
    rows = [
        ("components per study, median/90 %: melanoma, lung, lymphoma",
         format_per_cohort(lambda c: format_counts(numbers[c])),
         format_per_cohort(lambda c: format_counts(real.numbers[c])) if real else "5/46, 6/34, 10.5/200"),
        ("studies with more than 10, %", format_per_cohort(lambda c: f"{100 * np.mean(np.array(numbers[c]) > 10):.0f}"),
         format_per_cohort(lambda c: f"{100 * np.mean(np.array(real.numbers[c]) > 10):.0f}") if real else "33, 26, 50"),
        ("total ml, median", format_per_cohort(lambda c: f"{np.median(burdens[c]):.0f}"),
         format_per_cohort(lambda c: f"{np.median(real.burdens[c]):.0f}") if real else "29, 150, 152"),
        ("ml of a component, 25/50/75/90/95 % (6 mm grid)", format_quantiles(pooled),
         format_quantiles(real.volumes) if real else "0.65/1.5/4.5/20/56"),
        ("lesion voxels, SUV; HU (mean ± SD)", f"{suv.mean():.1f} ± {suv.std():.1f}; {hu.mean():.0f} ± {hu.std():.0f}",
         "6.1 ± 6.1; -2 ± 234"),
    ]  # fmt: skip
    for cohort in POSITIVE:
        simulated = Counter(site for s in select_cohort(cohort) for site in s.sites)
        rows.append(
            (
                f"sites, %: {cohort}",
                format_shares(simulated),
                format_shares(real.sites[cohort]) if real else "see --lesions",
            )
        )
    return rows


def format_shares(counts: Counter[str]) -> str:
    """Return the ten most frequent names with their shares in per cent."""
    total = max(sum(counts.values()), 1)
    return ", ".join(f"{name} {100 * n / total:.0f}" for name, n in counts.most_common(10))


def list_body_rows(studies: Sequence[Figures]) -> list[tuple[str, str, str]]:
    """Return the rows on hot spots, blood, noise, kidneys, bladder and brain."""
    negative = [s for s in studies if s.cohort == "negative"] or studies
    ends = np.array([s.share_in_lowest_slices for s in studies])
    # The published hot spots are ten components per study, drawn at random.
    shown = 100 * np.mean(1 - (1 - ends) ** 10)
    aorta, liver, kidneys, bladder, brain = (
        np.array([getattr(s, name) for s in studies]) for name in ("aorta", "liver", "kidneys", "bladder", "brain")
    )
    return [
        ("studies with a hot spot of ten in the three lowest slices, %", f"{shown:.0f}", "59 (600 of 1014)"),
        ("hot spots in the three lowest slices, %", f"{100 * ends.mean():.0f}", "13"),
        ("components above the 99.75th percentile, negatives", spread([s.hot_spots for s in negative], 0),
         "749 (151 to 1739)"),
        ("aorta, SUV", spread(aorta[:, 0], 2), "1.91 ± 0.30"),
        ("aorta, CV of voxels", spread(aorta[:, 1], 3), "0.186 (0.145 to 0.254)"),
        ("liver, SUV", spread(liver[:, 0], 2), "2.73 ± 0.38"),
        ("liver, CV of voxels", spread(liver[:, 1], 3), "0.105 (Siemens), 0.24 (GE)"),
        ("liver noise, FWHM of the autocorrelation, mm: in plane", spread(liver[:, 2]), "9.0 (Siemens), 9.5 (GE)"),
        ("liver noise, FWHM of the autocorrelation, mm: axial", spread(liver[:, 3]), "7.0 (Siemens), 4.6 (GE)"),
        ("kidney parenchyma, SUV", spread(kidneys[:, 0]), "2.7"),
        ("ml above SUV 4 per kidney", spread(kidneys[:, 1]), "6 to 22"),
        ("kidneys, maximum", spread(kidneys[:, 2]), "17 to 51"),
        ("bladder, ml", spread(bladder[:, 0], 0), "73 and 130"),
        ("bladder, width × height, mm", f"{spread(bladder[:, 1], 0)} × {spread(bladder[:, 2], 0)}", "78-96 × 35-45"),
        ("brain, SUV: median", spread(brain[:, 0]), "mean 9.7"),
        ("brain, SUV: 99th percentile; maximum", f"{spread(brain[:, 1])}; {spread(brain[:, 2])}", "17; 28"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RealTables:
    """Figures of the real studies, per cohort."""

    numbers: dict[str, list[float]]
    burdens: dict[str, list[float]]
    volumes: list[float]
    sites: dict[str, Counter[str]]


def read_real(folder: Path) -> RealTables:
    """Return the figures of the tables of real lesions."""

    def read_rows(name: str) -> list[dict[str, str]]:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    positive = [r for r in read_rows("studies.csv") if r["diagnosis"] in POSITIVE and float(r["lesions"]) > 0]
    return RealTables(
        {c: [float(r["lesions"]) for r in positive if r["diagnosis"] == c] for c in POSITIVE},
        {c: [float(r["lesion_ml"]) for r in positive if r["diagnosis"] == c] for c in POSITIVE},
        [float(r["component_ml"]) for r in read_rows("component_volumes.csv")],
        {c: Counter(r["site"] for r in read_rows("lesion_sites.csv") if r["diagnosis"] == c) for c in POSITIVE},
    )


def main() -> None:
    """Simulate, measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--organ-maps", default="procedural", help="folder of organ label maps; default: procedural")
    parser.add_argument("--lesions", type=Path, help="folder of the tables of real lesions")
    parser.add_argument("--number", type=int, default=16, help="studies per cohort")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spacing", type=float, nargs=3, default=(4.07, 4.07, 3.0), metavar=("X", "Y", "Z"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    arguments = parser.parse_args()
    maps = list_organ_maps(arguments.organ_maps)
    cohorts = (*POSITIVE, "negative")
    tasks = [
        Task(derive_study_seed(arguments.seed, i), maps[(7 * i) % len(maps)] if maps else None,
             Protocol(tuple(arguments.spacing), FIELD_MM, cohorts[i % len(cohorts)]))
        for i in range(len(cohorts) * arguments.number)
    ]  # fmt: skip
    studies = run_each(measure, tasks, workers=Workers(arguments.processes), unit="study")
    rows = list_lesion_rows(studies, read_real(arguments.lesions) if arguments.lesions else None) + list_body_rows(
        studies
    )
    table = ["| | simulated | real |", "|---|---|---|"] + [f"| {' | '.join(row)} |" for row in rows]
    arguments.output.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
