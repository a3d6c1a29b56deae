"""Measures what a run needs: memory for large studies, growth over many cases, threads on many cores, shared memory.

    python benchmarks/limits.py memory 400 400 1000
    python benchmarks/limits.py memory 700 700 1100 --program predict
    python benchmarks/limits.py growth --cases 500
    python benchmarks/limits.py tasks --cores 128
    python benchmarks/limits.py shared-memory

Each figure is of the real command line in a process of its own. In the network's place there is an engine that costs
nothing, but for `tasks` and `shared-memory`, which run the network on small windows. `tasks` needs a C compiler: what a
library takes for the number of cores is replaced. `shared-memory` needs root, for a /dev/shm of 4 KiB.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
HEIGHT_MM, WIDTH_MM = 2000.0, 814.0  # of the field of view: a whole person; a wide PET

# Stands for a machine with more cores; compiled for `tasks`.
MANY_CORES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int cores(void) { return atoi(getenv("MANY_CORES")); }
static void fill(size_t size, cpu_set_t *set) {
    memset(set, 0, size);
    for (int i = 0; i < cores() && i < (int)size * 8; i++) CPU_SET_S(i, size, set);
}
int get_nprocs(void) { return cores(); }
int get_nprocs_conf(void) { return cores(); }
long sysconf(int name) {
    static long (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "sysconf");
    return name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF ? cores() : real(name);
}
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) { fill(size, set); return 0; }
int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set) { fill(size, set); return 0; }
"""


@dataclass(frozen=True)
class FreeEngine:
    """Lesion where SUV is above 4, at no cost."""

    name: str = "an engine that costs nothing"
    folds: int = 1

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """Return SUV - 4."""
        difference: NDArray[np.float32] = window[1] - np.float32(4.0)
        return difference


def write_large(
    path: Path, size: tuple[int, int, int], *, dtype: str, inside: float, outside: float, fill: bool
) -> None:
    """Return an .mha with an elliptic body (or all body), written slice by slice so that its maker stays small."""
    spacing = (WIDTH_MM / size[0], WIDTH_MM / size[1], HEIGHT_MM / size[2])
    y, x = np.ogrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    body = np.ones((size[1], size[0]), bool) if fill else (x / 0.5) ** 2 + (y / 0.3) ** 2 < 1
    packer = zlib.compressobj(1)
    packed = []
    for z in range(size[2]):
        plane = np.where(body, inside, outside).astype(dtype)
        plane[body] += (z % 7) / 10 if dtype == "<f4" else z % 7
        plane[size[1] // 2, size[0] // 2] = 9 if dtype == "<f4" else 60
        if fill:
            plane[:2, :2] = outside
        packed.append(packer.compress(plane.tobytes()))
    packed.append(packer.flush())
    header = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False, "CompressedData": True,
        "CompressedDataSize": sum(map(len, packed)), "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0",
        "ElementSpacing": " ".join(map(repr, spacing)), "DimSize": " ".join(map(str, size)),
        "ElementType": {"<f4": "MET_FLOAT", "<i2": "MET_SHORT"}[dtype], "ElementDataFile": "LOCAL",
    }  # fmt: skip
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write("".join(f"{key} = {value}\n" for key, value in header.items()).encode())
        for chunk in packed:
            file.write(chunk)


def write_recipe(folder: Path) -> None:
    """Write weights whose fold is never opened."""
    from autosegnet.model.recipe import Fold, Recipe, format_recipe

    folder.mkdir()
    (folder / "fold.safetensors").write_bytes(b"")
    (folder / "recipe.json").write_text(format_recipe(Recipe(folds=(Fold("fold.safetensors", "0" * 64),))))


def list_arguments(program: str, folder: Path, weights: Path) -> list[str]:
    """Return the command line of a job whose input is in `folder/in`."""
    rest = ["--weights", str(weights), "--device", "cpu"]
    if program == "process":
        return ["--input", f"{folder}/in", "--output", f"{folder}/out", *rest]
    images = f"{folder}/in/images"
    pet, ct = f"{images}/pet/pet.mha", f"{images}/ct/ct.mha"
    return ["predict", "--pet", pet, "--ct", ct, "--output", f"{folder}/out/mask.mha", *rest]


def run_with_free_engine(program: str, argv: list[str]) -> dict[str, Any]:
    """Run the command line here; return the peak of this process's resident memory and the time."""
    from autosegnet import __main__, segmenter
    from autosegnet.runtime.exit import run_program

    start = time.perf_counter()
    sys.argv = [program, *argv]
    vars(segmenter)["open_engine"] = lambda *_, **__: FreeEngine()
    if program == "process":
        import process

        code = run_program(process.main)
    else:
        code = run_program(__main__._run_command_line)
    return {"code": code, "peak_gib": read_status_kib("VmHWM") / 2**20, "seconds": time.perf_counter() - start}


def read_status_kib(name: str) -> int:
    """Return a figure of this process's memory, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def measure_memory(args: argparse.Namespace) -> None:
    """Measure the peak of resident memory for one study of a size."""
    size = (args.size[0], args.size[1], args.size[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "in" / "images"
        write_large(images / "pet" / "pet.mha", size, dtype="<f4", inside=0.8, outside=0.0, fill=args.fill)
        kind = "<i2" if args.ct == "int16" else "<f4"
        write_large(images / "ct" / "ct.mha", size, dtype=kind, inside=40, outside=-1000, fill=args.fill)
        write_recipe(folder / "weights")
        argv = list_arguments(args.program, folder, folder / "weights")
        command = [sys.executable, __file__, "child", args.program, *argv]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{' x '.join(map(str, size))}, CT {args.ct}, {'all body' if args.fill else 'body in air'}, {args.program}: "
        f"peak {found['peak_gib']:.2f} GiB resident, {found['seconds']:.0f} s, exit code {found['code']}"
    )


def measure_growth(args: argparse.Namespace) -> None:
    """Measure the growth of resident memory over many cases in one process."""
    growth_mib = import_from_tests("test_growth").growth_mib
    with tempfile.TemporaryDirectory() as name:
        print(f"{args.cases} cases: {growth_mib(Path(name), cases=args.cases):.3f} MiB a case")


def import_from_tests(module: str) -> Any:
    """Return a module of the tests: phantoms and small folds are made there."""
    sys.path.insert(0, str(ROOT / "test"))
    return importlib.import_module(module)


def make_small_job(folder: Path) -> Path:
    """Return a small study in `folder/in` and the folder of small untrained weights."""
    weights = folder / "weights"
    import_from_tests("untrained_folds").write_untrained_weights(
        weights, folds=2, recipe=import_from_tests("phantoms").TINY
    )
    import_from_tests("bad_inputs").Job.good(folder, weights)
    return weights


def list_command(program: str, folder: Path, weights: Path) -> list[str]:
    """Return the program as a user starts it."""
    start = ["process.py"] if program == "process" else ["-m", "autosegnet"]
    return [sys.executable, *start, *list_arguments(program, folder, weights)]


def measure_tasks(args: argparse.Namespace) -> None:
    """Return the most threads that a run has at a time, on a machine of so many cores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = make_small_job(folder)
        (folder / "many.c").write_text(MANY_CORES)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "many.so", folder / "many.c", "-ldl"], check=True)
        environment = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
        environment |= {"LD_PRELOAD": str(folder / "many.so"), "MANY_CORES": str(args.cores)}
        for program in ("process", "predict"):
            command = list_command(program, folder, weights)
            running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
            most = 0
            while running.poll() is None:
                most = max(most, len(os.listdir(f"/proc/{running.pid}/task")))
                time.sleep(0.002)
            print(f"{args.cores} cores, {program}: at most {most} threads, exit code {running.returncode}")


def measure_shared_memory(args: argparse.Namespace) -> None:
    """Run where /dev/shm holds 4 KiB."""
    with tempfile.TemporaryDirectory() as name:
        weights = make_small_job(Path(name))
        command = " ".join(list_command("process", Path(name), weights))
        script = f"mount -t tmpfs -o size=4k tmpfs /dev/shm && exec {command}"
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, check=False)
        print(f"/dev/shm of 4 KiB: exit code {done.returncode} {done.stderr.decode()}")


def main() -> None:
    """Run one measurement."""
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(run_with_free_engine(sys.argv[2], sys.argv[3:])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    memory = commands.add_parser("memory")
    memory.add_argument("size", type=int, nargs=3)
    memory.add_argument("--ct", choices=["int16", "float32"], default="float32")
    memory.add_argument("--fill", action="store_true", help="the body fills the field of view: nothing is cropped")
    memory.add_argument("--program", choices=["process", "predict"], default="process")
    memory.set_defaults(run=measure_memory)
    growth = commands.add_parser("growth")
    growth.add_argument("--cases", type=int, default=500)
    growth.set_defaults(run=measure_growth)
    tasks = commands.add_parser("tasks")
    tasks.add_argument("--cores", type=int, default=128)
    tasks.set_defaults(run=measure_tasks)
    commands.add_parser("shared-memory").set_defaults(run=measure_shared_memory)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "resources")]
    main()
