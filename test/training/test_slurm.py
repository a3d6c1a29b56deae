"""The template for Slurm, with stand-ins for the cluster's commands."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "resources" / "slurm" / "train_folds.sbatch"
JOB = {
    "PREPARED": "prepared", "RUNS": "runs", "SLURM_JOB_NODELIST": "a", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_PER_NODE": "4",
}  # fmt: skip


def test_a_fold_has_the_cores_of_its_job(tmp_path: Path) -> None:
    for name, does in (("scontrol", "echo a"), ("srun", 'echo "$OMP_NUM_THREADS" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, **JOB, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", SCRIPT, "--epochs", "2"], env=environment, capture_output=True, text=True, check=True
    )
    threads, *started = done.stdout.split()
    assert threads == "8"
    assert started[:3] == ["--cpus-per-task", "32", "torchrun"]
    assert started[-7:] == ["prepared", "--fold", "3", "--output", "runs", "--epochs", "2"]


BATCH = {"STUDIES": "studies", "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8"}


def run_template(name: str, tmp_path: Path, stand_ins: dict[str, str], job: dict[str, str]) -> list[str]:
    """Run a template with stand-ins for commands; return what they wrote."""
    for command, does in stand_ins.items():
        (tmp_path / command).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / command).chmod(0o755)
    environment = {
        **os.environ, **job, "MASKS": str(tmp_path / "masks"), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    command = ["bash", SCRIPT.with_name(name), "--report"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_a_cohort_is_segmented_by_a_worker_per_gpu_of_the_job(tmp_path: Path) -> None:
    stand_ins = {
        "dask": 'if [ "$1" = scheduler ]; then sleep 1; echo {} > "$3"; fi; exec sleep 60',
        "srun": 'echo srun "$@" >&2; exec sleep 60',
        "autosegnet": 'echo "$@"; test -s "$5"',
    }
    done = run_template("batch.sbatch", tmp_path, stand_ins, BATCH)
    file = str(tmp_path / "masks" / ".scheduler-7.json")
    assert done == ["batch", "studies", str(tmp_path / "masks"), "--scheduler-file", file, "--report"]
    assert not Path(file).exists()


def test_an_array_divides_a_cohort_into_parts(tmp_path: Path) -> None:
    job = {**BATCH, "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}
    done = run_template("batch_array.sbatch", tmp_path, {"autosegnet": 'echo "$OMP_NUM_THREADS" "$@"'}, job)
    assert done == ["8", "batch", "studies", str(tmp_path / "masks"), "--part", "3/8", "--report"]
