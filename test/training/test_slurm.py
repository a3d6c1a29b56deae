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
