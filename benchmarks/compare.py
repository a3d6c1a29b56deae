"""Does `autosegnet compare` align, match and refuse as it should? Simulated pairs with known truth, or a warped study.

    autosegnet-train simulate-pairs --output pairs --number 40 --anatomy organ_maps --held-out --seed 2026
    python -m benchmarks.compare --pairs pairs --output comparison.csv
    python -m benchmarks.compare --warp STUDY --output warped.csv

`--pairs` compares every pair by its true masks, and each baseline with the next patient's follow-up, which must be
refused. `--warp` compares a study with itself after a known rigid motion and a smooth deformation, five times.
Intervals are 95 %, from 2000 bootstrap samples of the pairs.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.comparison import Comparison, Visit, VisitFiles, compare_visits
from autosegnet.comparison.compare import align
from autosegnet.comparison.visits import open_visit
from autosegnet.geometry import Grid, make_image, place_on, view_voxels
from autosegnet.loading import LoadedStudy
from autosegnet.study import check_study
from petct_simulator.writer import FILES

Row = dict[str, Any]
_BOOTSTRAPS = 2000
_WARPS = 5


def open_date(folder: Path) -> Visit:
    """Return a date of a pair, with its true mask."""
    return open_visit(VisitFiles(folder=folder, mask=folder / FILES["seg"]), refuse_segmenter)


def refuse_segmenter() -> Any:
    """Refuse to segment: the masks of a benchmark are given."""
    raise AssertionError("the mask is given")


def measure_pair(folder: Path) -> tuple[Row, Visit, Visit]:
    """Return the figures of a pair, and its visits."""
    truth = json.loads((folder / "pair.json").read_text(encoding="utf-8"))
    baseline, followup = (open_date(folder / name) for name in ("baseline", "followup"))
    begin = time.monotonic()
    found = compare_visits(baseline, followup, accept_doubtful=True, tell=lambda line: None)
    row: Row = {"pair": folder.name, "course": truth["course"], "seconds": round(time.monotonic() - begin, 1)}
    row["arms"] = f"{truth['baseline']['arms']} {truth['followup']['arms']}"
    for kind in ("_ct_mm", "_mm"):
        places = [np.array([mark[f"{date}{kind}"] for mark in truth["landmarks"]]) for date in ("baseline", "followup")]
        errors = np.linalg.norm(found.warp.to_baseline(places[1]) - places[0], axis=1)
        name = "ct" if kind == "_ct_mm" else "pet"
        row[f"{name}_median_mm"], row[f"{name}_95_mm"] = (round(float(v), 2) for v in np.percentile(errors, (50, 95)))
    true = {tuple(link) for link in truth["links"]}
    row |= count_links(found, true) | count_diseases(found, true)
    row |= compare_with_plan(found, truth)
    return {**row, **describe_check(found.check)}, baseline, followup


def describe_check(check: Any) -> Row:
    """Return the figures by which a registration is believed or refused."""
    return {
        "body_dice": round(check.body_dice, 3),
        "likeness": round(check.likeness, 3),
        "spread": round(check.spread, 3),
        "jacobian_min": round(check.jacobian[0], 3),
        "landmark_mm": None if check.landmark_mm is None else round(check.landmark_mm, 1),
        "refused": int(bool(check.faults)),
    }


def count_links(found: Comparison, true: set[tuple[int, ...]]) -> Row:
    """Return hits, false and missed links, and the same of new and of vanished lesions that both dates cover."""
    links = {(link.baseline, link.followup) for link in found.matched.links}
    row: Row = {"links_hit": len(links & true), "links_false": len(links - true), "links_missed": len(true - links)}
    sides = (("vanished", 0, found.matched.imaged_at_followup), ("new", 1, found.matched.imaged_at_baseline))
    for name, side, seen in sides:
        numbers = {k for k, share in enumerate(seen, start=1) if share >= 0.5}
        told, known = (numbers - {link[side] for link in some} for some in (links, true))
        row |= {
            f"{name}_hit": len(told & known),
            f"{name}_false": len(told - known),
            f"{name}_missed": len(known - told),
        }
    return row


def count_diseases(found: Comparison, true: set[tuple[int, ...]]) -> Row:
    """Return how many lesions have a right partner, only right ones, and how many diseases are told exactly right.

    A disease is a group of lesions that true links join, directly or through others; found ones are rows of the table.
    Lesions that the other date does not cover are left out. Partners are those in the same group.
    """
    counts = found.baseline.table.body.lesions, found.followup.table.body.lesions
    seen = (found.matched.imaged_at_followup, found.matched.imaged_at_baseline)
    known = [group for group in join_lesions(counts, true) if all(seen[side][k - 1] >= 0.5 for side, k in group)]
    told = [
        frozenset([(0, k) for k in change.baseline.lesions] + [(1, k) for k in change.followup.lesions])
        for change in found.changes
    ]
    row: Row = {"diseases": len(known), "diseases_exact": len(set(known) & set(told))}
    owner = {lesion: group for group in told for lesion in group}
    row |= {"partner_hit": 0, "partner_missed": 0, "only_right": 0, "some_wrong": 0}
    for group in known:
        for lesion in group:
            true_partners = {other for other in group if other[0] != lesion[0]}
            found_partners = {other for other in owner[lesion] if other[0] != lesion[0]}
            if true_partners:
                row["partner_hit" if true_partners & found_partners else "partner_missed"] += 1
            if found_partners:
                row["only_right" if found_partners <= true_partners else "some_wrong"] += 1
    return row


def join_lesions(counts: tuple[int, int], links: set[tuple[int, ...]]) -> list[frozenset[tuple[int, int]]]:
    """Return the groups of lesions, each (0 at baseline or 1 at follow-up, number), that links join."""
    groups = {(side, k): {(side, k)} for side in (0, 1) for k in range(1, counts[side] + 1)}
    for first, second in links:
        joined = groups[0, first] | groups[1, second]
        for lesion in joined:
            groups[lesion] = joined
    return list({frozenset(group) for group in groups.values()})


def compare_with_plan(found: Comparison, truth: dict[str, Any]) -> Row:
    """Return how far the found volume and SUVmax ratios of lesions that only grew or shrank lie from the planned ones.

    A lesion is taken if it is the only one of its centre's change, and at least 1 ml on both dates; errors are of the
    natural logarithm of the ratio.
    """
    volume, uptake = [], []
    before = {one["identity"]: one for one in truth["baseline"]["lesions"]}
    after = {one["identity"]: one for one in truth["followup"]["lesions"]}
    numbers = view_voxels(found.number_changes(found.baseline))
    grid = Grid.from_image(found.baseline.mask)
    for identity, one in before.items():
        if one["fate"] not in ("same", "grown", "shrunk") or identity not in after:
            continue
        x, y, z = (round(v) for v in grid.find_index(tuple(one["centre_mm"])))
        if not all(0 <= k < n for k, n in zip((x, y, z), grid.size, strict=True)) or not numbers[z, y, x]:
            continue
        change = found.changes[int(numbers[z, y, x]) - 1]
        a, b = change.baseline, change.followup
        if change.fate == "matched" and not change.is_cut and min(a.volume_ml, b.volume_ml) >= 1.0:
            volume.append(np.log(b.volume_ml / a.volume_ml) - np.log(after[identity]["volume_ml"] / one["volume_ml"]))
            uptake.append(np.log((b.suv_max or 1) / (a.suv_max or 1)) - np.log(after[identity]["suv"] / one["suv"]))
    return {"planned": len(volume), "volume_log_errors": " ".join(f"{v:.3f}" for v in volume),
            "suv_max_log_errors": " ".join(f"{v:.3f}" for v in uptake)}  # fmt: skip


def swap_patients(name: str, baseline: Visit, other: str, followup: Visit) -> Row:
    """Return the check of a baseline against another patient's follow-up."""
    _, check = align(baseline, followup, accept_doubtful=True)
    return {"pair": f"{name} with {other}", "course": "swapped", **describe_check(check)}


def measure_pairs(folders: Sequence[Path], output: Path) -> tuple[list[Row], list[Row]]:
    """Return the figures of all pairs, and of each baseline with the next patient's follow-up; write them meanwhile."""
    measured: list[Row] = []
    swapped: list[Row] = []
    before: tuple[str, Visit] | None = None
    first: tuple[str, Visit] | None = None
    for folder in folders:
        row, baseline, followup = measure_pair(folder)
        measured.append(row)
        if before is not None:
            swapped.append(swap_patients(*before, folder.name, followup))
        before, first = (folder.name, baseline), first or (folder.name, followup)
        write_rows([*measured, *swapped], output)
        sys.stderr.write(f"{row}\n")
    if before is not None and first is not None and len(folders) > 1:
        swapped.append(swap_patients(*before, *first))
        write_rows([*measured, *swapped], output)
    return measured, swapped


def warp_study(folder: Path, seed: int) -> Row:
    """Return the error of the registration of a study with itself, moved and bent by a known map.

    The motion turns by up to 6 degrees and shifts by up to 40 mm; the bending has an SD of 5 mm over about 160 mm.
    """
    first = open_visit(VisitFiles(folder=folder, mask=find_mask(folder)), refuse_segmenter)
    rng = np.random.default_rng(seed)
    ct = first.loaded.study.ct
    grid = Grid.from_image(ct)
    middle = grid.find_position_mm(tuple((n - 1) / 2 for n in grid.size))  # type: ignore[arg-type]
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(middle)
    rigid.SetRotation(*np.deg2rad(rng.uniform(-6.0, 6.0, 3)).tolist())
    rigid.SetTranslation(rng.uniform(-40.0, 40.0, 3).tolist())
    known = sitk.CompositeTransform([rigid, sitk.DisplacementFieldTransform(draw_bending(grid, rng))])
    moved = {
        name: sitk.Resample(image, image, known, kind, outside)
        for name, image, kind, outside in (
            ("pet", first.loaded.study.pet, sitk.sitkLinear, 0.0),
            ("ct", ct, sitk.sitkLinear, -1024.0),
            ("mask", first.mask, sitk.sitkNearestNeighbor, 0),
        )
    }
    noisy = make_image(
        (view_voxels(moved["ct"]) + rng.normal(0.0, 12.0, grid.shape)).astype(np.float32), grid
    )  # as another CT would be
    loaded = LoadedStudy(check_study(pet=moved["pet"], ct=noisy))
    second = replace(first, loaded=loaded, mask=moved["mask"])
    second = replace(second, table=second.measure(moved["mask"]))
    begin = time.monotonic()
    found = compare_visits(first, second, accept_doubtful=True, any_order=True, tell=lambda line: None)
    seconds = time.monotonic() - begin
    points = draw_points(noisy, ct, known, rng)
    truth = np.array([known.TransformPoint(point) for point in points.tolist()])
    errors = np.linalg.norm(found.warp.to_baseline(points) - truth, axis=1)
    median, high = np.percentile(errors, (50, 95))
    fates = ", ".join(change.fate for change in found.changes)
    return {"pair": f"{folder.name} {seed}", "seconds": round(seconds, 1), "ct_median_mm": round(float(median), 2),
            "ct_95_mm": round(float(high), 2), "fates": fates, **describe_check(found.check)}  # fmt: skip


def find_mask(folder: Path) -> Path:
    """Return the mask in the folder of a study: SEG.nii.gz, or a structure set below it."""
    images = list(folder.glob("SEG.nii.gz"))
    return (images or sorted(path for path in folder.rglob("*.dcm") if "RTst" in str(path) or "RTSTRUCT" in str(path)))[
        0
    ]


def draw_bending(grid: Grid, rng: np.random.Generator) -> sitk.Image:
    """Return a smooth displacement, SD 5 mm, on a grid of 8 mm."""
    steps = np.array(grid.spacing_mm) * grid.size / 8.0
    coarse = replace(grid, size=tuple(int(np.ceil(n)) + 1 for n in steps), spacing_mm=(8.0, 8.0, 8.0))  # type: ignore[arg-type]
    parts = [ndimage.gaussian_filter(rng.standard_normal(coarse.shape), 160.0 / 2.355 / 8.0) for _ in range(3)]
    field = np.stack([5.0 * part / part.std() for part in parts], axis=-1)
    image = sitk.GetImageFromArray(field, isVector=True)
    place_on(image, coarse)
    return image


def draw_points(moved: sitk.Image, ct: sitk.Image, known: sitk.Transform, rng: np.random.Generator) -> NDArray[Any]:
    """Return 400 places of tissue in the moved CT that the first CT covers."""
    grid, whole = Grid.from_image(moved), Grid.from_image(ct)
    index = np.argwhere(view_voxels(moved) > -300)[:, ::-1]
    chosen = index[rng.integers(len(index), size=2000)] @ grid.steps_mm.T + grid.origin_mm
    there = np.array([whole.find_index(known.TransformPoint(point)) for point in chosen.tolist()])
    inside = ((there > 3) & (there < np.array(whole.size) - 4)).all(axis=1)
    return np.asarray(chosen[inside][:400])


def estimate(rows: Sequence[Row], compute: Callable[[Sequence[Row]], float]) -> str:
    """Return a figure of the rows with its interval."""
    rng = np.random.default_rng(0)
    draws = [compute([rows[k] for k in rng.integers(len(rows), size=len(rows))]) for _ in range(_BOOTSTRAPS)]
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return f"{compute(rows):.3g} ({low:.3g} to {high:.3g})"


def share(top: str, *others: str) -> Callable[[Sequence[Row]], float]:
    """Return what computes the sum of a column over the sum of it and others."""

    def compute(rows: Sequence[Row]) -> float:
        hit = sum(row[top] for row in rows)
        whole = hit + sum(row[name] for row in rows for name in others)
        return hit / whole if whole else float("nan")

    return compute


def divide(part: str, whole: str) -> Callable[[Sequence[Row]], float]:
    """Return what computes the sum of a column over the sum of another."""

    def compute(rows: Sequence[Row]) -> float:
        total = sum(row[whole] for row in rows)
        return sum(row[part] for row in rows) / total if total else float("nan")

    return compute


def average(over: Callable[..., Any], name: str) -> Callable[[Sequence[Row]], float]:
    """Return what computes the mean or median of a column."""
    return lambda some: float(over([row[name] for row in some]))


def measure_ratios(name: str) -> Callable[[Sequence[Row]], float]:
    """Return what computes the median factor by which ratios are wrong, in percent."""

    def compute(some: Sequence[Row]) -> float:
        values = [abs(float(v)) for row in some for v in row[name].split()]
        return 100 * (float(np.exp(np.median(values))) - 1) if values else float("nan")

    return compute


def format_summary_of_pairs(rows: Sequence[Row], swapped: Sequence[Row]) -> str:
    """Return the figures of the evidence page as a Markdown table."""
    lines: list[tuple[str, str]] = []
    for kind in ("ct", "pet"):
        for what in ("median", "95"):
            name = f"{kind}_{what}_mm"
            lines.append((name, estimate(rows, average(np.median, name))))
    lines.append(("lesions with a true partner: one found", estimate(rows, share("partner_hit", "partner_missed"))))
    lines.append(("lesions with found partners: all true", estimate(rows, share("only_right", "some_wrong"))))
    lines.append(("diseases told exactly", estimate(rows, divide("diseases_exact", "diseases"))))
    for what in ("links", "new", "vanished"):
        lines.append((f"{what}, sensitivity", estimate(rows, share(f"{what}_hit", f"{what}_missed"))))
        lines.append((f"{what}, precision", estimate(rows, share(f"{what}_hit", f"{what}_false"))))
    lines.append(("volume ratio, median error, %", estimate(rows, measure_ratios("volume_log_errors"))))
    lines.append(("SUVmax ratio, median error, %", estimate(rows, measure_ratios("suv_max_log_errors"))))
    lines.append(("true pairs refused", estimate(rows, average(np.mean, "refused"))))
    lines.append(("swapped patients refused", estimate(swapped, average(np.mean, "refused"))))
    lines.append(("seconds, median", estimate(rows, average(np.median, "seconds"))))
    count = sum(row["links_hit"] + row["links_missed"] for row in rows)
    head = f"{len(rows)} pairs, {count} true links, {sum(row['planned'] for row in rows)} lesions with a planned change"
    return "\n".join(
        [head, "", "| figure | value (95 % interval) |", "|---|---:|", *(f"| {a} | {b} |" for a, b in lines)]
    )


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows with the columns of all of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="folder of `simulate-pairs`")
    parser.add_argument("--warp", type=Path, help="folder of one study with a mask")
    parser.add_argument("--output", type=Path, required=True, help="CSV")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    if args.warp is not None:
        rows = [warp_study(args.warp, seed) for seed in range(_WARPS)]
        write_rows(rows, args.output)
        sys.stdout.write("\n".join(map(str, rows)) + "\n")
        return
    folders = sorted(path.parent for path in args.pairs.glob("*/pair.json"))
    measured, swapped = measure_pairs(folders, args.output)
    sys.stdout.write(format_summary_of_pairs(measured, swapped) + "\n")


if __name__ == "__main__":
    main()
