"""Measures what a batch costs beside its studies: planning and resuming large cohorts, start-up, studies per hour.

    python -m benchmarks.cohort scale --studies 1000 10000 100000    synthetic folders: find, plan, end, resume, tables
    python -m benchmarks.cohort dicom --studies 100 1000    synthetic DICOM: find, load, memory and disk of the plan
    python -m benchmarks.cohort rate --studies 12 --weights WEIGHTS    phantoms, segmented: --jobs 1 and 2, a cluster

`scale` runs no network: it writes what a batch would have left, and times the program's own steps on it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

LESIONS = 3  # per study
_TIMED = 500  # studies whose ends are timed, the last ones


def main() -> None:
    """Run the measurement that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    scale = commands.add_parser("scale")
    scale.add_argument("--studies", type=int, nargs="+", default=[1000, 10_000])
    scale.set_defaults(run=measure_scale)
    dicom = commands.add_parser("dicom")
    dicom.add_argument("--studies", type=int, nargs="+", default=[100, 1000])
    dicom.add_argument("--slices", type=int, default=20, help="of PET and of CT, per study")
    dicom.set_defaults(run=measure_dicom)
    rate = commands.add_parser("rate")
    rate.add_argument("--studies", type=int, default=12)
    rate.add_argument("--weights", type=Path, required=True)
    rate.add_argument("--device", default="cpu")
    rate.set_defaults(run=measure_rate)
    args = parser.parse_args()
    args.run(args)


def measure_scale(args: argparse.Namespace) -> None:
    """Print time, of which CPU, and memory of each step, for each size of cohort."""
    print("| studies | find | plan | a study's end | resume | summary, tables, overview | memory of the plan |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for number in args.studies:
        with tempfile.TemporaryDirectory() as folder:
            print(_measure_one_size(Path(folder), number), flush=True)


def _measure_one_size(folder: Path, number: int) -> str:
    from autosegnet.batch.find import find_studies
    from autosegnet.batch.plan import plan_studies
    from autosegnet.batch.record import Places, StudyResult, StudyRow
    from autosegnet.batch.summary import State
    from autosegnet.batch.whole_cohort import write_cohort
    from autosegnet.cli.batch_command import add_batch_arguments
    from autosegnet.io import write_all
    from autosegnet.model.recipe import Recipe

    source, output = folder / "in", folder / "out"
    for k in range(number):
        study = source / f"p{k // 2:06d}" / f"s{k % 2}"
        study.mkdir(parents=True)
        for name in ("SUV.nii.gz", "CTres.nii.gz"):
            (study / name).write_bytes(b"x")
    parser = argparse.ArgumentParser()
    add_batch_arguments(parser)
    args = parser.parse_args([str(source), str(output)])
    args.input, args.output, args.output_is_mirror = source, output, False
    studies, found = _time(lambda: find_studies(source, leave_out=output))
    tracemalloc.start()
    (_, tasks), _ = _time(lambda: plan_studies(args, studies, Recipe(), {}))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (rows, tasks), planned = _time(lambda: plan_studies(args, studies, Recipe(), {}))
    output.mkdir()
    state = State(output / "summary.csv", rows)
    state.open()
    for task in tasks[:-_TIMED]:
        row, files = _make_results(task, output)
        for path, content in files.items():  # as written, without waiting for the disk
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        state.keep(StudyResult(row))
    began, began_cpu = time.perf_counter(), time.process_time()
    for task in tasks[-_TIMED:]:
        row, files = _make_results(task, output)
        write_all(files, swept=Places(output, row.case).shared_folders)
        state.keep(StudyResult(row))
    end_ms = 1e3 * (time.perf_counter() - began) / _TIMED
    end_cpu_ms = 1e3 * (time.process_time() - began_cpu) / _TIMED
    (resumed, left), resume_times = _time(lambda: plan_studies(args, studies, Recipe(), {}))
    assert not left
    assert all(isinstance(row, StudyRow) for row in resumed.values())
    _, written = _time(lambda: write_cohort(output, resumed.values()))
    each = [f"{1e3 * wall / number:.2f} ({1e3 * cpu / number:.2f})" for wall, cpu in (found, planned)]
    resume, made = (f"{1e3 * wall / number:.2f} ({1e3 * cpu / number:.2f})" for wall, cpu in (resume_times, written))
    end = f"{end_ms:.1f} ({end_cpu_ms:.1f})"
    return f"| {number} | {each[0]} | {each[1]} | {end} | {resume} | {made} | {held_bytes / number:.0f} B |"


def _make_results(task: Any, output: Path) -> tuple[Any, dict[Path, bytes]]:
    """Return the row of a study and the files that it leaves."""
    import hashlib

    from autosegnet.batch.record import Places, Record, StudyRow, format_record
    from autosegnet.lesions import LESION_COLUMNS

    places, mask = Places(output, task.study.case), task.study.case.encode() * 20
    row = StudyRow(case=task.study.case, status="done", lesions=LESIONS, tmtv_ml=1.5, seconds=9.0, mask=task.mask.name)
    record = Record(
        row=row,
        depends_on=task.depends_on,
        made_by={"software": "autosegnet", "suv": ["as given"], "warnings": [], "weights": "0" * 64},
        mask_sha256=hashlib.sha256(mask).hexdigest(),
        body={},
        lesions=[dict.fromkeys(LESION_COLUMNS, 1)] * LESIONS,
    )
    return row, {places.thumbnail: bytes(3000), places.record: format_record(record).encode(), task.mask: mask}


def _time(action: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """Return what an action returns, with the seconds and the seconds of CPU that it took."""
    began, began_cpu = time.perf_counter(), time.process_time()
    result = action()
    return result, (time.perf_counter() - began, time.process_time() - began_cpu)


def measure_dicom(args: argparse.Namespace) -> None:
    """Print time, of which CPU, and memory and disk of finding DICOM, for each size of cohort."""
    print("| studies | slices | find, per slice | load headers, per slice | memory per study | disk per slice |")
    print("|---:|---:|---:|---:|---:|---:|")
    for number in args.studies:
        with tempfile.TemporaryDirectory() as folder:
            print(_measure_dicom(Path(folder), number, args.slices), flush=True)


def _measure_dicom(root: Path, number: int, slices: int) -> str:
    import pickle

    from autosegnet.batch.find import find_studies

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
    from dicom_phantoms import write_series  # type: ignore[import-not-found]

    for k in range(number):
        for kind in ("PET", "CT"):

            def identify(dataset: Any, index: int, uid: str = f"1.2.3.{k}") -> None:
                dataset.StudyInstanceUID = uid

            write_series(root / "in" / f"p{k:05d}" / kind, kind=kind, edit=identify, slices=slices)
    total = number * slices * 2
    studies, (wall, cpu) = _time(lambda: find_studies(root / "in", leave_out=root / "out"))
    assert len(studies) == number
    del studies
    tracemalloc.start()
    studies = find_studies(root / "in", leave_out=root / "out")
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    _, (load_s, load_cpu_s) = _time(lambda: [part.load_headers() for study in studies for part in study.dicom])
    disk = sum(len(pickle.dumps(study)) for study in studies)
    times = [f"{1e3 * a / total:.2f} ({1e3 * b / total:.2f}) ms" for a, b in ((wall, cpu), (load_s, load_cpu_s))]
    return f"| {number} | {total} | {times[0]} | {times[1]} | {held_bytes / number:.0f} B | {disk / total:.0f} B |"


def measure_rate(args: argparse.Namespace) -> None:
    """Print studies per hour, start-up and the time that is no study's, for one and two workers."""
    with tempfile.TemporaryDirectory() as folder:
        source = _make_phantoms(Path(folder) / "in", args.studies)
        print("| workers | wall | studies per hour | a study, by its record | beside the studies |")
        print("|---|---:|---:|---:|---:|")
        for name, options, workers in (("--jobs 1", ["--jobs", "1"], 1), ("--jobs 2", ["--jobs", "2"], 2)):
            print(_measure_run(args, source, Path(folder) / "out", name, options, workers), flush=True)
        for workers in (1, 2):
            print(_measure_cluster(args, source, Path(folder), workers), flush=True)


def _make_phantoms(root: Path, number: int) -> Path:
    import SimpleITK as sitk

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
    from phantoms import phantom  # type: ignore[import-not-found]

    study = phantom(size=(120, 100, 160), spacing=(4.0, 4.0, 4.0))
    for k in range(number):
        folder = root / f"p{k}"
        folder.mkdir(parents=True)
        sitk.WriteImage(sitk.Cast(study.pet * (1.0 + k / 50), sitk.sitkFloat32), str(folder / "SUV.nii.gz"))
        sitk.WriteImage(study.ct, str(folder / "CTres.nii.gz"))
    return root


def _measure_run(
    args: argparse.Namespace, source: Path, output: Path, name: str, options: list[str], workers: int
) -> str:
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "autosegnet", "batch", str(source), str(output), "--weights", str(args.weights)]
    _, (wall_s, _) = _time(
        lambda: subprocess.run([*command, "--device", args.device, *options], check=True, capture_output=True)
    )
    records = [json.loads(path.read_text())["row"]["seconds"] for path in (output / "records").iterdir()]
    each_s = sum(records) / len(records)
    beside_s = wall_s - each_s * len(records) / workers
    return f"| {name} | {wall_s:.1f} s | {3600 * len(records) / wall_s:.0f} | {each_s:.2f} s | {beside_s:.1f} s |"


def _measure_cluster(args: argparse.Namespace, source: Path, folder: Path, workers: int) -> str:
    file = folder / f"scheduler_{workers}.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *common]
    processes = [subprocess.Popen(start, stderr=subprocess.DEVNULL)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nworkers", "1", "--nthreads", "2", *common]
    processes += [
        subprocess.Popen([*worker, "--local-directory", str(folder)], env=environment, stderr=subprocess.DEVNULL)
        for _ in range(workers)
    ]
    try:
        while not file.exists() or not file.read_text().endswith("}"):
            time.sleep(0.1)
        options = ["--scheduler-file", str(file)]
        return _measure_run(args, source, folder / "out", f"Dask, {workers} workers", options, workers)
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


if __name__ == "__main__":
    main()
