"""Damages DICOM, JSON files and tables at random and counts what their readers make of it.

    python benchmarks/fuzz_other_readers.py --dicom 2000 --texts 2000 --seed 0

Every damaged file has to be refused with an error of the program, in one line, or to be read. Anything else is printed
as a crash, and one that takes longer than two seconds as slow. The SUV of DICOM that is accepted is compared with that
of the undamaged series; it may differ, for a changed digit of a dose or a voxel is as good as the one before.
"""

import argparse
import copy
import json
import logging
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

sys.path.append(str(Path(__file__).resolve().parents[1] / "test"))

from dicom_phantoms import SLICES, pet_slice  # type: ignore[import-not-found]  # of the tests

from autosegnet.batch.record import read_record
from autosegnet.dicom.choice import choose_pet
from autosegnet.dicom.pet import read_dicom_pet
from autosegnet.dicom.series import gather_series
from autosegnet.errors import AutosegnetError
from autosegnet.evaluation.score_tables import read_scores
from autosegnet.geometry import view_voxels
from autosegnet.grandchallenge.sockets import find_job_files
from autosegnet.io.small_files import read_json, require_object
from autosegnet.model.recipe import Fold, Recipe, format_recipe, parse_recipe
from autosegnet.suv import convert_sidecar
from autosegnet_training.cases import Case, read_cases
from autosegnet_training.index import add_boxes
from autosegnet_training.runs import open_trained
from autosegnet_training.splits import split_as

SLOW_S = 2.0
SYNTAXES = {
    "explicit": None,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
}
_NASTY = [
    "NaN",
    "Infinity",
    "-1",
    "1e999",
    "9" * 5000,
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    "²",
    "1_0",
]
_NASTY += [
    "[" * 3000,
    '{"a":' * 3000,
    "\x00",
    "\xff",
    '"' + "x" * 400 + '"',
    ",",
    '"',
    "\n",
    "=1+1",
    "\x1b[31m",
    "../..",
]
_SIDECAR = {
    "Units": "Bq/mL",
    "InjectedRadioactivity": 300,
    "InjectedRadioactivityUnits": "MBq",
    "PatientWeight": 70,
    "TracerRadionuclide": "F18",
    "InjectionStart": -3600,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
}
_RUN = {
    "recipe": json.loads(format_recipe(Recipe())),
    "settings": {"initial": ""},
    "training": ["a"],
    "validation": ["b"],
}
_SOCKETS = [
    {"socket": {"slug": name, "relative_path": f"images/{name}"}, "image": {"name": f"{name}.mha"}, "file": None}
    for name in ("pet", "ct")
]
_CASE = Case("a", "a", "unknown", Path("pet.mha"), Path("ct.mha"), Path("mask.mha"))


def _read_sidecar(path: Path) -> None:
    convert_sidecar(read_json(path, require_object, what="the sidecar", expected="an object"))


def _read_recipe(path: Path) -> None:
    parse_recipe(path.read_text(encoding="utf-8", errors="replace"), where=path.name)


def _read_sockets(path: Path) -> None:
    folder = path.parent
    for name in ("pet", "ct"):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        (folder / "images" / name / f"{name}.mha").touch()
    find_job_files(input_folder=folder, output_folder=folder / "out", edition_name="autopet2")


def _read_run(path: Path) -> None:
    folder = path.parent / "fold_0"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_bytes(path.read_bytes())
    (folder / "result.json").write_text('{"finished": true, "epoch": 3, "dsc": 0.5}')
    open_trained(path.parent, 0)


TEXTS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "sidecar": ("pet.json", json.dumps(_SIDECAR, indent=1), _read_sidecar),
    "recipe": ("recipe.json", format_recipe(Recipe(folds=(Fold("fold_0.safetensors", "0" * 64),))), _read_recipe),
    "sockets": ("inputs.json", json.dumps(_SOCKETS, indent=1), _read_sockets),
    "record": (
        "record.json",
        json.dumps({"format": 1, "depends_on": {"input": "x"}, "row": {"case": "a"}}),
        read_record,
    ),
    "metrics table": ("m.csv", "case,dsc,fpv_ml,fnv_ml\na,0.5,1,2\nb,nan,0,nan\n", read_scores),
    "cases table": ("cases.csv", "case,patient,fold,pet,ct,mask,box\na,p,0,p.mha,c.mha,m.mha,0:1,\n", read_cases),
    "boxes": ("boxes.json", '{"a": [[0, 5], [0, 6], [1, 7]]}', lambda path: add_boxes([_CASE], path)),
    "splits": ("splits.json", '[{"train": ["b"], "val": ["a"]}]', lambda path: split_as([_CASE], path)),
    "run": ("run.json", json.dumps(_RUN, indent=1), _read_run),
}


def damage_text(text: str, draw: random.Random) -> bytes:
    """Return the text with one to three words or bytes changed."""
    data = text.encode()
    for _ in range(draw.randint(1, 2)):
        at, length = draw.randrange(len(data)), draw.randint(0, 12)
        kind = draw.randrange(4)
        if kind == 0:
            middle = draw.choice(_NASTY).encode("utf-8", "surrogatepass")
            data = data[:at] + middle + data[at + length :]
        elif kind == 1:
            data = (data[:at] + data[at + length + 1 :]) or b" "
        elif kind == 2:
            data = data[:at] + data[at : at + length] * 3 + data[at:]
        else:
            data = data[:at] + draw.randbytes(draw.randint(1, 3)) + data[at + 1 :]
    return data


def damage_bytes(data: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to three of them, or short runs of them, changed."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 2)):
        at, kind = draw.randrange(len(changed)), draw.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[at : at + 4] = draw.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"inf ", b"nan ", b"1_0 ", b"\xff\xff\0\0"]
            )
        elif kind == 2:
            del changed[at : at + draw.randint(1, 20)]
        else:
            changed[at:at] = draw.randbytes(draw.randint(1, 20))
    return bytes(changed)


def judge(read: Callable[[], object]) -> str:
    """Return one word for what a reader makes of a file."""
    start = time.monotonic()
    try:
        verdict = str(read() or "accepted")
    except AutosegnetError as error:
        verdict = "refused" if len(str(error).splitlines()) == 1 else "refused in several lines"
    except Exception as error:
        verdict = f"crash: {type(error).__name__}: {error}"[:90]
    return verdict if time.monotonic() - start < SLOW_S else f"slow: {verdict}"


def write_pet(folder: Path, syntax: str) -> list[Path]:
    """Write a PET of four slices in a transfer syntax, and return its files."""
    folder.mkdir()
    paths = []
    for k in range(SLICES):
        dataset = copy.deepcopy(pet_slice(k))
        uid = SYNTAXES[syntax]
        if uid == DeflatedExplicitVRLittleEndian:
            dataset.file_meta.TransferSyntaxUID = uid
        elif uid is not None:
            dataset.compress(uid, generate_instance_uid=False)
        paths.append(folder / f"{k}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def fuzz_dicom(syntax: str, count: int, seed: int) -> Counter[str]:
    """Return the verdicts over damaged series of a transfer syntax."""
    draw = random.Random(f"{seed} {syntax}")
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "pet"
        paths = write_pet(folder, syntax)
        good = view_voxels(read_dicom_pet(choose_pet(gather_series(folder))).image).copy()

        def read() -> str:
            found = view_voxels(read_dicom_pet(choose_pet(gather_series(folder))).image)
            return "accepted, equal" if np.array_equal(found, good) else "accepted, voxels differ"

        for _ in range(count):
            path = draw.choice(paths)
            before = path.read_bytes()
            path.write_bytes(damage_bytes(before, draw))
            verdicts[judge(read)] += 1
            path.write_bytes(before)
    return verdicts


def fuzz_text(kind: str, count: int, seed: int) -> Counter[str]:
    """Return the verdicts over damaged files of a kind of `TEXTS`."""
    draw = random.Random(f"{seed} {kind}")
    name, text, read = TEXTS[kind]
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as top:
        path = Path(top) / name
        for _ in range(count):
            path.write_bytes(damage_text(text, draw))
            verdicts[judge(lambda: read(path) and None)] += 1
    return verdicts


def main() -> None:
    """Run all kinds and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=int, default=2000, help="damaged series of each transfer syntax")
    parser.add_argument("--texts", type=int, default=2000, help="damaged files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    print(f"{'damaged':18s} {'verdict':90s} {'files':>8s}")
    for kinds, count, fuzz in ((TEXTS, arguments.texts, fuzz_text), (SYNTAXES, arguments.dicom, fuzz_dicom)):
        for kind in kinds:
            for verdict, files in fuzz(kind, count, arguments.seed).most_common():
                print(f"{kind:18s} {verdict:90s} {files:8d}", flush=True)


if __name__ == "__main__":
    main()
