"""Damages headers and voxels at random and counts what the readers make of it.

    python benchmarks/fuzz_readers.py --metaimage-headers 100000 --nifti-headers 10000 --payloads 5000 --seed 0

Every damaged file has to be refused with InputError, or to be read as the image that SimpleITK reads from it as well.
SimpleITK can crash or hang on such files, so it reads in a process of its own, and only what our reader accepts.

Where the two differ on purpose:
- "SimpleITK: noise": an .mha with CompressedData but without CompressedDataSize; MetaIO inflates the header's own bytes
  and returns uninitialised memory, the file has one meaning all the same;
- "SimpleITK: refuses": a comment or another text tag of more than about 500 characters, which no voxel depends on;
- NIfTI whose sform and qform differ within the tolerance of `niftiheader`: the sform counts, ITK may take the other.
"""

import argparse
import gzip
import hashlib
import json
import logging
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK

from autosegnet.errors import InputError
from autosegnet.io import read_image
from autosegnet.io.metaimage_tags import LONGEST_METAIMAGE_HEADER, parse_tags

SLOW_S = 2.0
_SITK_TIMEOUT_S = 10.0
_VALUES = np.arange(24, dtype="<i2")
_NASTY = (
    [
        "0",
        "-1",
        "-0",
        "1",
        "2",
        "3",
        "4",
        "10",
        "255",
        "65536",
        "4294967296",
        "-4294967296",
        "1000000000000000",
        "1e308",
    ]
    + [
        "1e308",
        "-1e308",
        "1e999",
        "1e-320",
        "nan",
        "NaN",
        "-nan",
        "inf",
        "-inf",
        "0x10",
        "1_0",
        "1,5",
        "1e",
        ".",
        "",
        " ",
    ]
    + ["True", "False", "true", "T", "1 2 3", "2 3 4 5", "1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "LIST", "a.raw"]
    + ["../../etc/passwd", "/dev/zero", "%s%d", "%n", "MET_FLOAT", "MET_UCHAR", "MET_FLOAT_ARRAY", "MET_OTHER", "Local"]
    + ["A" * 300, "A" * 600, "A" * 5000, "\0", "\r", "=", ":", "\xff\xfe", "RAI", "mm", "um", "Image", "Scene"]
)
_KEYS = (
    ["Offset", "Position", "Origin", "ImagePosition", "TransformMatrix", "Rotation", "Orientation", "ElementSpacing"]
    + ["ElementSize", "DimSize", "NDims", "HeaderSize", "ElementType", "ElementByteOrderMSB", "BinaryDataByteOrderMSB"]
    + ["BinaryData", "CompressedData", "CompressedDataSize", "ElementNumberOfChannels", "DistanceUnits", "Comment"]
    + ["CenterOfRotation", "AnatomicalOrientation", "ObjectType", "Color", "ElementMin", "ElementNBits", "Modality"]
    + ["SequenceID", "ElementToIntensityFunctionSlope", "FileFormatVersion", "ID", "ElementDataFile", "Foo"]
)
# Reads the files named on its input, one a line, and answers with what an image is, or with null where it cannot.
_SITK_READER = """
import hashlib, json, sys
import SimpleITK as s
for line in sys.stdin:
    try:
        image = s.ReadImage(json.loads(line))
        while image.GetDimension() > 3:
            image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
        kept = (s.sitkInt8, s.sitkUInt8, s.sitkInt16, s.sitkUInt16, s.sitkFloat32)
        image = image if image.GetPixelID() in kept else s.Cast(image, s.sitkFloat32)
        voxels = hashlib.sha1(s.GetArrayFromImage(image).tobytes()).hexdigest()
        found = [image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(), voxels]
    except RuntimeError:
        found = None
    print(json.dumps(found), flush=True)
"""


class SitkReader:
    """SimpleITK in a process that may die; a new one takes its place."""

    def __init__(self) -> None:
        self._process = self._started()

    def read(self, path: Path) -> Any:
        """Return size, spacing, origin, direction and hash; None if the reader refuses, else 'crash' or 'hang'."""
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(json.dumps(str(path)) + "\n")
        pipes.stdin.flush()
        ready, _, _ = select.select([pipes.stdout], [], [], _SITK_TIMEOUT_S)
        answer = pipes.stdout.readline() if ready else ""
        if answer:
            return json.loads(answer)
        self.close()
        self._process = self._started()
        return "crash" if ready else "hang"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    @staticmethod
    def _started() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _SITK_READER]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, bufsize=1)


def draw_metaimage_lines(draw: random.Random) -> tuple[list[str], bytes]:
    """Return the lines of a good header in one of its forms, and the bytes behind it."""
    payload = _VALUES.tobytes()
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True"]
    lines.append(f"{draw.choice(['BinaryDataByteOrderMSB', 'ElementByteOrderMSB'])} = {draw.choice(['True', 'False'])}")
    if draw.random() < 0.5:
        payload = zlib.compress(payload)
        lines += ["CompressedData = True", f"CompressedDataSize = {len(payload)}"]
    lines.append(f"{draw.choice(['TransformMatrix', 'Rotation', 'Orientation'])} = 0 1 0 0 0 1 1 0 0")
    lines.append(f"{draw.choice(['Offset', 'Position', 'Origin'])} = -1.5 2.25 0.10000000000000001")
    lines += ["CenterOfRotation = 0 0 0", "AnatomicalOrientation = RAI", "ElementSpacing = 2.03642 3 0.5"]
    lines += ["DimSize = 2 3 4", f"ElementType = {draw.choice(['MET_SHORT', 'MET_USHORT'])}", "ElementDataFile = LOCAL"]
    return lines, payload


def draw_damaged_metaimage(draw: random.Random) -> bytes:
    """Return a MetaImage file with one to three things wrong in its header."""
    lines, payload = draw_metaimage_lines(draw)
    newline = draw.choice(["\n", "\n", "\n", "\r\n"])
    for _ in range(draw.randint(1, 2)):
        _damage_lines(lines, draw)
    header = bytearray((newline.join(lines) + newline).encode("latin-1"))
    if draw.random() < 0.4:
        _damage_bytes(header, draw)
    return bytes(header) + payload


def _damage_lines(lines: list[str], draw: random.Random) -> None:
    at = draw.randrange(len(lines))
    key, _, value = lines[at].partition(" = ")
    kind = draw.randrange(8)
    if kind == 0:
        del lines[at]
        lines.extend([] if lines else ["NDims = 3"])
    elif kind == 1:
        lines.insert(draw.randrange(len(lines)), lines[at])
    elif kind == 2:
        other = draw.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = f"{key} = {draw.choice(_NASTY)}"
    elif kind == 4:
        words = value.split() or [""]
        words[draw.randrange(len(words))] = draw.choice(_NASTY)
        lines[at] = f"{key} = {' '.join(words)}"
    elif kind == 5:
        lines.insert(at, f"{draw.choice(_KEYS)} = {draw.choice(_NASTY)}")
    elif kind == 6:
        lines[at] = f"{draw.choice(_KEYS)} = {value}"
    else:
        lines[at] = key + draw.choice(["=", ":", " ", " == ", "\t", "=:", ""]) + value


def _damage_bytes(data: bytearray, draw: random.Random) -> None:
    kind, at = draw.randrange(5), draw.randrange(len(data))
    if kind == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        data[at] = draw.randrange(256)
    elif kind == 2:
        del data[at : at + draw.randint(1, 20)]
    elif kind == 3:
        data[at:at] = draw.randbytes(draw.randint(1, 20))
    else:
        data[at:at] = data[: draw.randrange(len(data))]


def draw_good_nifti(draw: random.Random) -> nibabel.Nifti1Header:
    """Return a good header of the 24 voxels, oblique, in one of the two byte orders."""
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(np.random.default_rng(draw.randrange(1000)).normal(size=(3, 3)))[0] * (2, 3, 0.5)
    affine[:3, 3] = (-100.5, 20, 7)
    header = nibabel.Nifti1Header(endianness=draw.choice("<>"))
    header.set_data_dtype(np.int16)
    header.set_data_shape((2, 3, 4))
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"], header["scl_slope"], header["scl_inter"] = 352, b"n+1", 1, 0
    return header


def draw_damaged_nifti(draw: random.Random) -> bytes:
    """Return a NIfTI file with one or two fields or bytes of its header wrong."""
    header = draw_good_nifti(draw)
    order = header.endianness
    fields = {name: header.structarr.dtype.fields[name] for name in header.structarr.dtype.names}
    data = bytearray(header.binaryblock + bytes(4) + _VALUES.astype(f"{order}i2").tobytes())
    for _ in range(draw.randint(1, 2)):
        if draw.random() < 0.7:
            kind, at = fields[draw.choice(list(fields))]
            kind = kind.newbyteorder(order)
            base = kind.base.itemsize
            at += base * draw.randrange(max(kind.itemsize // base, 1))
            data[at : at + base] = _nasty_number(kind.base, draw)
        else:
            data[draw.randrange(348)] = draw.randrange(256)
    if draw.random() < 0.1:
        del data[draw.randrange(len(data)) :]
    return bytes(data)


def _nasty_number(dtype: np.dtype[Any], draw: random.Random) -> bytes:
    if dtype.kind == "f":
        values: list[Any] = [
            0.0,
            -1.0,
            1.0,
            2.0,
            0.1,
            1e30,
            -3e38,
            1e-40,
            float("nan"),
            float("inf"),
            352.0,
            353.0,
            1e-3,
        ]
        return np.array(draw.choice(values), dtype).tobytes()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = [0, 1, 2, 3, 4, 8, 16, 64, 128, 256, 512, 1024, info.max, info.min, -1]
        return np.array(max(info.min, min(info.max, draw.choice(values))), dtype).tobytes()
    return draw.randbytes(dtype.itemsize)


def draw_damaged_payload(draw: random.Random) -> tuple[str, bytes]:
    """Return the suffix and the bytes of a file whose header is right and whose compressed voxels are not."""
    suffix = draw.choice([".mha", ".nii.gz"])
    if suffix == ".mha":
        lines, packed = draw_metaimage_lines(draw)
        lines = [line for line in lines if not line.startswith("Compressed")]
        payload = bytearray(zlib.compress(_VALUES.tobytes()))
    else:
        header = draw_good_nifti(draw)
        voxels = _VALUES.astype(f"{header.endianness}i2").tobytes()
        payload = bytearray(gzip.compress(header.binaryblock + bytes(4) + voxels, mtime=0))
    if draw.random() < 0.3:
        del payload[draw.randrange(len(payload)) :]
    else:
        for _ in range(draw.randint(1, 3)):
            _damage_bytes(payload, draw)
    if suffix == ".mha":
        size = [f"CompressedDataSize = {len(payload)}"] if draw.random() < 0.7 else []
        head = "\n".join([*lines[:-1], "CompressedData = True", *size, lines[-1]]) + "\n"
        return suffix, head.encode() + bytes(payload)
    return suffix, bytes(payload)


def describe_image(image: SimpleITK.Image) -> list[Any]:
    """Return size, spacing, origin, direction and a hash of the voxels."""
    voxels = hashlib.sha1(SimpleITK.GetArrayFromImage(image).tobytes()).hexdigest()
    return [image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(), voxels]


def are_same(ours: list[Any], theirs: list[Any], tolerance: float) -> bool:
    """Return whether size and voxels are equal and the grids no further apart than the tolerance."""
    if list(ours[0]) != list(theirs[0]) or ours[4] != theirs[4]:
        return False
    return all(
        np.abs(np.subtract(mine, other)).max() <= tolerance for mine, other in zip(ours[1:4], theirs[1:4], strict=True)
    )


def judge(path: Path, sitk: SitkReader, tolerance: float) -> str:
    """Return one word for what the readers make of a file."""
    begin = time.perf_counter()
    try:
        image = read_image(path)
    except InputError as error:
        verdict = "refused" if str(error).isprintable() else "refused in several lines"
        return verdict if time.perf_counter() - begin < SLOW_S else "slow"
    except Exception as error:
        return f"crash: {type(error).__name__}: {error}"
    if time.perf_counter() - begin >= SLOW_S:
        return "slow"
    theirs = sitk.read(path)
    if theirs is None or isinstance(theirs, str):
        return f"accepted, SimpleITK: {theirs or 'refuses'}"
    if are_same(describe_image(image), theirs, tolerance):
        return "accepted, equal"
    # MetaIO inflates the file from its first byte, the header, where the size is missing; what it returns is noise.
    return "accepted, SimpleITK: noise" if _lacks_compressed_size(path) else "accepted, SimpleITK differs"


def _lacks_compressed_size(path: Path) -> bool:
    if path.suffix != ".mha":
        return False
    tags = parse_tags(path.read_bytes()[:LONGEST_METAIMAGE_HEADER], frozenset(), path)
    return tags.read_boolean("CompressedData", default=False) and "CompressedDataSize" not in tags.values


def judge_payload(path: Path) -> str:
    """Return one word for damaged voxels: refused, or all of them right in spite of the damage."""
    try:
        image = read_image(path)
    except InputError:
        return "refused"
    except Exception as error:
        return f"crash: {type(error).__name__}: {error}"
    found = SimpleITK.GetArrayViewFromImage(image)
    expected = {_VALUES.tobytes(), _VALUES.byteswap().tobytes()}
    return "accepted, equal" if found.astype("<i2").tobytes() in expected else "accepted, voxels differ"


def run(kind: str, count: int, seed: int, keep: Path | None = None) -> tuple[Counter[str], float]:
    """Return the verdicts over `count` damaged files, and the growth of this process's peak memory in MiB.

    Args:
        kind: 'metaimage headers', 'nifti headers' or 'payloads'
        keep: folder for files with a verdict other than refused or equal
    """
    draw = random.Random(f"{seed} {kind}")
    verdicts: Counter[str] = Counter()
    sitk = SitkReader()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                path, verdict = _one(kind, Path(folder), draw, sitk)
                verdicts[verdict] += 1
                if keep is not None and verdict not in {"refused", "accepted, equal"} and verdicts[verdict] <= 20:
                    name = "".join(char if char.isalnum() else "_" for char in verdict)[:60]
                    (keep / f"{name}_{number}{''.join(path.suffixes)}").write_bytes(path.read_bytes())
    finally:
        sitk.close()
    return verdicts, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _one(kind: str, folder: Path, draw: random.Random, sitk: SitkReader) -> tuple[Path, str]:
    if kind == "payloads":
        suffix, data = draw_damaged_payload(draw)
        path = folder / f"image{suffix}"
        path.write_bytes(data)
        return path, judge_payload(path)
    is_metaimage = kind == "metaimage headers"
    path = folder / ("image.mha" if is_metaimage else "image.nii")
    path.write_bytes(draw_damaged_metaimage(draw) if is_metaimage else draw_damaged_nifti(draw))
    # ITK takes NIfTI's spacing from pixdim and rounds on its way; MetaImage has to agree to the last digit.
    return path, judge(path, sitk, 0.0 if is_metaimage else 1e-3)


def main() -> None:
    """Run the three kinds and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metaimage-headers", type=int, default=100_000)
    parser.add_argument("--nifti-headers", type=int, default=10_000)
    parser.add_argument("--payloads", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for up to 20 files of every verdict worth a look")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    logging.disable()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    counts = {
        "metaimage headers": arguments.metaimage_headers,
        "nifti headers": arguments.nifti_headers,
        "payloads": arguments.payloads,
    }
    print(f"{'damaged':18s} {'verdict':60s} {'files':>8s}")
    for kind, count in counts.items():
        verdicts, growth = run(kind, count, arguments.seed, arguments.keep)
        for verdict, files in verdicts.most_common():
            print(f"{kind:18s} {verdict[:60]:60s} {files:8d}")
        print(f"{kind:18s} {'growth of peak memory (MiB)':60s} {growth:8.1f}", flush=True)


if __name__ == "__main__":
    main()
