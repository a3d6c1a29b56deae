"""Everything that is known to arrive broken, each as a change to a good job, with the exit code and words it must get.

Used by test_bad_inputs.py. A row changes the files of a job, or what its command line names.
"""

import gzip
import hashlib
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from phantoms import TINY, phantom

from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.model.recipe import Fold, format_recipe

PROGRAMS = ("predict", "process")


@dataclass
class Job:
    """A study in the platform's layout, weights, and an output folder that does not exist yet."""

    root: Path
    weights: Path
    pet: Path
    ct: Path
    output: Path
    mask: Path
    more: tuple[str, ...] = ()

    @classmethod
    def good(cls, root: Path, weights: Path) -> "Job":
        study = phantom(size=(24, 20, 18), spacing=(8.0, 8.0, 10.0))
        paths = []
        for name, image in (("pet", study.pet), ("ct", study.ct)):
            paths.append(root / "in" / "images" / name / f"{name}.mha")
            paths[-1].parent.mkdir(parents=True)
            sitk.WriteImage(image, str(paths[-1]))
        return cls(root, weights, *paths, root / "out", root / "out" / "mask.mha")

    def arguments(self, program: str) -> list[str]:
        chosen = ["--weights", str(self.weights), "--device", "cpu"]
        if program == "process":
            return ["--input", str(self.root / "in"), "--output", str(self.output), *chosen]
        return [
            "predict",
            "--pet",
            str(self.pet),
            "--ct",
            str(self.ct),
            "--output",
            str(self.mask),
            *chosen,
            *self.more,
        ]

    def written(self) -> list[str]:
        """Return the files in the output folder, without a link that the row put there."""
        if not self.output.is_dir():
            return []
        return sorted(
            str(p.relative_to(self.output)) for p in self.output.rglob("*") if not p.is_dir() and not p.is_symlink()
        )


@dataclass(frozen=True)
class Row:
    """says: what the last line has to name."""

    name: str
    spoil: Callable[[Job], object]
    says: tuple[str, ...]
    code: int = 3
    programs: tuple[str, ...] = PROGRAMS

    @property
    def ids(self) -> str:
        return self.name.replace(" ", "_")


ROWS: list[Row] = []


def row(name: str, *says: str, **more: Any) -> Callable[[Callable[[Job], object]], Callable[[Job], object]]:
    def add(spoil: Callable[[Job], object]) -> Callable[[Job], object]:
        ROWS.append(Row(name, spoil, says, **more))
        return spoil

    return add


def rows(*entries: tuple[Any, ...], **more: Any) -> None:
    ROWS.extend(Row(name, spoil, says, **more) for name, spoil, *says in entries)


# --- helpers that spoil -------------------------------------------------------------------------------------------


def header(path: Path, **changes: str | None) -> None:
    """Change, add or (None) remove keys of an .mha header."""
    data = path.read_bytes()
    end = data.index(b"ElementDataFile")
    end = data.index(b"\n", end) + 1
    tags = dict(line.split(" = ", 1) for line in data[:end].decode().splitlines())
    last = {"ElementDataFile": tags.pop("ElementDataFile")}
    merged = {**tags, **{k: v for k, v in changes.items() if k not in last}, **last}
    merged.update({k: v for k, v in changes.items() if k in last})
    text = "".join(f"{k} = {v}\n" for k, v in merged.items() if v is not None)
    path.write_bytes(text.encode("utf-8", "surrogateescape") + data[end:])


def with_header(**changes: str | None) -> Callable[[Job], None]:
    return lambda job: header(job.pet, **changes)


def payload(path: Path) -> tuple[bytes, bytes]:
    data = path.read_bytes()
    end = data.index(b"\n", data.index(b"ElementDataFile")) + 1
    return data[:end], data[end:]


def with_payload(change: Callable[[bytes], bytes], *, compressed: bool = False, size: bool = True) -> Any:
    """Change the bytes behind the header; CompressedDataSize follows, unless `size` says it should lie."""

    def spoil(job: Job) -> None:
        if compressed:
            sitk.WriteImage(sitk.ReadImage(str(job.pet)), str(job.pet), useCompression=True)
        head, body = payload(job.pet)
        body = change(body)
        job.pet.write_bytes(head + body)
        if compressed and size:
            header(job.pet, CompressedDataSize=str(len(body)))

    return spoil


def flipped(data: bytes, at: float = 0.5) -> bytes:
    spoiled = bytearray(data)
    spoiled[int(at * (len(data) - 1))] ^= 0x10
    return bytes(spoiled)


def with_voxels(which: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Job], None]:
    def spoil(job: Job) -> None:
        path = getattr(job, which)
        image = sitk.ReadImage(str(path))
        values = change(view_voxels(image).astype(np.float32).copy())
        sitk.WriteImage(make_image(values, Grid.from_image(image)), str(path))

    return spoil


def with_voxel(value: float, dtype: type = np.float32) -> Callable[[Job], None]:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array = array.astype(dtype)
        array[3, 4, 5] = value
        return array

    return with_voxels("pet", change)


def stored(job: Job, name: str, content: bytes) -> Path:
    """Put another file in the place of the PET."""
    job.pet.unlink()
    job.pet = job.pet.with_name(name)
    job.pet.write_bytes(content)
    return job.pet


def as_file(name: str, content: bytes) -> Callable[[Job], object]:
    return lambda job: stored(job, name, content)


def nifti(job: Job, name: str = "pet.nii.gz") -> nibabel.Nifti1Image:
    """Put a NIfTI in the place of the PET; return it for a change and `resaved`."""
    image = sitk.ReadImage(str(job.pet))
    job.pet.unlink()
    job.pet = job.pet.with_name(name)
    sitk.WriteImage(image, str(job.pet))
    return nibabel.load(job.pet)


def with_nifti_bytes(change: Callable[[bytes], bytes], name: str = "pet.nii.gz") -> Callable[[Job], None]:
    def spoil(job: Job) -> None:
        nifti(job, name)
        job.pet.write_bytes(change(job.pet.read_bytes()))

    return spoil


def with_nifti_fields(*fields: tuple[Any, ...]) -> Callable[[Job], None]:
    """Overwrite header fields, each (format of struct, byte offset in nifti1.h, values...)."""

    def change(packed: bytes) -> bytes:
        plain = bytearray(gzip.decompress(packed))
        for form, at, *values in fields:
            struct.pack_into("<" + form, plain, at, *values)
        return gzip.compress(bytes(plain))

    return with_nifti_bytes(change)


def with_nifti_field(form: str, at: int, *values: Any) -> Callable[[Job], None]:
    return with_nifti_fields((form, at, *values))


def with_recipe(text: str) -> Callable[[Job], None]:
    def spoil(job: Job) -> None:
        own_weights(job)
        (job.weights / "recipe.json").write_text(text)

    return spoil


def own_weights(job: Job) -> None:
    shutil.copytree(job.weights, job.root / "weights")
    job.weights = job.root / "weights"


def with_fold(change: Callable[[bytes], bytes], *, signed: bool = False) -> Callable[[Job], None]:
    """Change the second fold; `signed` gives it the right SHA-256 in the recipe."""

    def spoil(job: Job) -> None:
        own_weights(job)
        path = job.weights / "fold_1.safetensors"
        path.write_bytes(change(path.read_bytes()))
        if signed:
            sums = [hashlib.sha256((job.weights / f"fold_{k}.safetensors").read_bytes()).hexdigest() for k in (0, 1)]
            folds = tuple(Fold(f"fold_{k}.safetensors", sha256) for k, sha256 in enumerate(sums))
            (job.weights / "recipe.json").write_text(format_recipe(replace(TINY, folds=folds)))

    return spoil


def tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[bytes], bytes]:
    def of(data: bytes) -> bytes:
        from safetensors.torch import load, save

        return save(change(load(data)))

    return of


# --- the files ----------------------------------------------------------------------------------------------------

ONLY_PROCESS = {"programs": ("process",)}
ONLY_PREDICT = {"programs": ("predict",)}


def emptied(job: Job) -> None:
    job.pet.unlink()


rows(
    ("PET folder missing", lambda job: shutil.rmtree(job.pet.parent), "images/pet", "No such file", "expected"),
    ("PET folder empty", emptied, "found no image", "expected exactly one", "images/pet", "empty"),
    (
        "several images",
        lambda job: shutil.copy(job.pet, job.pet.with_name("second.mha")),
        "found 2 images", "expected exactly one", "pet.mha, second.mha",
    ),
    (
        "no image but other files",
        lambda job: (job.pet.rename(job.pet.with_name("pet.txt")), job.pet.with_name("a").write_text("x")),
        "no image", "a, pet.txt",
    ),
    ("header and raw file", lambda job: job.pet.rename(job.pet.with_suffix(".mhd")), "two files", "save it as .mha"),
    ("TIFF", lambda job: job.pet.rename(job.pet.with_suffix(".tif")), "TIFF is not read"),
    ("single DICOM file", lambda job: job.pet.rename(job.pet.with_suffix(".dcm")), "DICOM", "folder of the series"),
    (
        "link out of the input folder",
        lambda job: (job.pet.rename(job.root / "elsewhere.mha"), job.pet.symlink_to(job.root / "elsewhere.mha")),
        "link to outside",
    ),
    (
        "link up and out of the input folder",
        lambda job: (job.pet.rename(job.root / "x.mha"), job.pet.symlink_to("../../../x.mha")),
        "link to outside",
    ),
    **ONLY_PROCESS,
)  # fmt: skip
rows(
    ("PET file missing", emptied, "pet.mha", "No such file"),
    ("CT file missing", lambda job: job.ct.unlink(), "ct.mha", "No such file"),
    ("suffix unknown", as_file("pet.jpg", b"\xff\xd8"), "pet.jpg", "expected .mha, .nii or .nii.gz"),
    ("folder without DICOM", lambda job: (emptied(job), job.pet.mkdir()), "pet.mha"),
    **ONLY_PREDICT,
)
rows(
    ("empty file", as_file("pet.mha", b""), "empty (0 bytes)", "expected an image", "pet.mha"),
    ("text instead of an image", as_file("pet.mha", b"not an image\n"), "pet.mha", "expected"),
    ("picture instead of an image", as_file("pet.mha", b"\x89PNG\r\n\x1a\n" + bytes(500)), "pet.mha", "expected"),
    ("zeros instead of an image", as_file("pet.mha", bytes(100_000)), "pet.mha", "expected"),
    ("random bytes", as_file("pet.mha", np.random.default_rng(0).bytes(50_000)), "pet.mha", "expected"),
    ("zip instead of an image", as_file("pet.mha", b"PK\x03\x04" + bytes(100)), "pet.mha", "expected"),
    (
        "git-LFS pointer",
        as_file("pet.mha", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "git-LFS pointer", "git lfs pull",
    ),
    ("whole file compressed", lambda job: job.pet.write_bytes(gzip.compress(job.pet.read_bytes())), "pet.mha"),
    ("pipe", lambda job: (emptied(job), os.mkfifo(job.pet)), "not a file", "pet.mha"),
    ("MetaImage named NIfTI", lambda job: stored(job, "pet.nii", job.pet.read_bytes()), "no NIfTI header", "pet.nii"),
    ("MetaImage named gzip", lambda job: stored(job, "pet.nii.gz", job.pet.read_bytes()), "pet.nii.gz", "expected"),
    (
        "NIfTI named MetaImage",
        lambda job: (nifti(job, "p.nii"), stored(job, "pet.mha", job.pet.read_bytes())),
        "pet.mha", "expected",
    ),
)  # fmt: skip

# --- MetaImage headers --------------------------------------------------------------------------------------------

rows(
    ("header cut", lambda job: job.pet.write_bytes(job.pet.read_bytes()[:90]), "pet.mha", "expected"),
    ("header without end", as_file("pet.mha", b"ObjectType = Image\nComment = " + b"x" * 2_000_000), "pet.mha"),
    ("header of endless lines", as_file("pet.mha", b"NDims = 3\n" * 100_000), "pet.mha"),
    ("header with a NUL", with_header(Comment="a\0b"), "pet.mha"),
    ("nothing behind the header", with_payload(lambda body: b""), "0 bytes", "expected 34560", "pet.mha"),
    ("DimSize 0", with_header(DimSize="24 0 18"), "24 x 0 x 18", "at least 1", "pet.mha"),
    ("DimSize negative", with_header(DimSize="24 -20 18"), "24 x -20 x 18", "at least 1"),
    ("DimSize 2^32", with_header(DimSize="4294967296 20 18"), "4294967296", "at most"),
    ("DimSize 2^64", with_header(DimSize="18446744073709551616 1 1"), "pet.mha"),
    ("DimSize of terabytes", with_header(DimSize="7000 7000 7000"), "7000 x 7000 x 7000", "at most"),
    ("DimSize of gigabytes", with_header(DimSize="1000 1000 1000"), "34560 bytes", "expected 4000000000"),
    ("DimSize too small", with_header(DimSize="24 20 17"), "34560 bytes", "expected 32640"),
    ("DimSize of two numbers", with_header(DimSize="24 20"), "DimSize", "pet.mha"),
    ("DimSize fractional", with_header(DimSize="24.5 20 18"), "DimSize", "pet.mha"),
    ("DimSize not a number", with_header(DimSize="24 x 18"), "DimSize", "pet.mha"),
    ("DimSize missing", with_header(DimSize=None), "DimSize", "pet.mha"),
    ("DimSize twice", with_header(DimSize="24 20 18\nDimSize = 24 20 17"), "DimSize", "pet.mha"),
    ("NDims 2", with_header(NDims="2"), "2 dimensions", "expected 3"),
    ("NDims 4", with_header(NDims="4"), "pet.mha", "expected"),
    ("NDims -1", with_header(NDims="-1"), "-1 dimensions", "expected 3"),
    ("NDims 10^9", with_header(NDims="1000000000"), "dimensions", "expected 3"),
    ("NDims missing", with_header(NDims=None), "dimensions", "expected 3"),
    (
        "CompressedDataSize 10^15",
        with_header(CompressedData="True", CompressedDataSize="1000000000000000"),
        "34560 bytes", "expected 1000000000000000",
    ),
    (
        "CompressedDataSize negative", with_header(CompressedData="True", CompressedDataSize="-1"),
        "expected -1", "pet.mha",
    ),
    ("CompressedData perhaps", with_header(CompressedData="Perhaps"), "CompressedData", "pet.mha"),
    ("ElementType missing", with_header(ElementType=None), "ElementType", "expected a scalar type"),
    ("ElementType unknown", with_header(ElementType="MET_QUADRUPLE"), "MET_QUADRUPLE", "expected a scalar type"),
    ("ElementType of other size", with_header(ElementType="MET_DOUBLE"), "34560 bytes", "expected 69120"),
    ("ElementType vector", with_header(ElementType="MET_FLOAT_ARRAY"), "MET_FLOAT_ARRAY", "expected a scalar type"),
    ("three channels", with_header(ElementNumberOfChannels="3"), "3 channels", "expected 1"),
    ("voxels as text", with_header(BinaryData="False"), "as text", "BinaryData = True"),
    ("HeaderSize inside the header", with_header(HeaderSize="5"), "HeaderSize is 5", "expected"),
    ("HeaderSize beyond the file", with_header(HeaderSize="1000000000"), "0 bytes", "pet.mha"),
    ("voxels in another file", with_header(ElementDataFile="pet.raw"), "another file", "ElementDataFile = LOCAL"),
    ("voxels in /etc/passwd", with_header(ElementDataFile="/etc/passwd"), "another file", "ElementDataFile = LOCAL"),
    ("voxels up the folders", with_header(ElementDataFile="../../../../../../../etc/passwd"), "another file", "LOCAL"),
    ("voxels in a list of files", with_header(ElementDataFile="LIST\n/etc/passwd"), "another file", "LOCAL"),
    ("ElementDataFile missing", with_header(ElementDataFile=None), "pet.mha"),
    ("units other than mm", with_header(DistanceUnits="cm"), "DistanceUnits", "expected an image in mm"),
    ("intensities to be scaled", with_header(ElementToIntensityFunctionSlope="2"), "ElementToIntensityFunctionSlope"),
    *[
        (f"spacing {value}", with_header(ElementSpacing=f"8 {value} 10"), "spacing", "0.3 to 20 mm", "pet.mha")
        for value in ("0", "-8", "0.01", "100", "1e-300")
    ],
    *[
        (f"spacing {value}", with_header(ElementSpacing=f"8 {value} 10"), "ElementSpacing", "pet.mha")
        for value in ("nan", "inf", "1e999", "eight", "0x8", "1_0", "")
    ],
    ("spacing missing", with_header(ElementSpacing=None), "ElementS", "pet.mha"),
    *[
        (f"origin {value}", with_header(Offset=f"0 {value} 0"), "Offset", "pet.mha")
        for value in ("nan", "-inf", "1e400", "?")
    ],
    ("origin missing", with_header(Offset=None), "Offset", "pet.mha"),
    ("direction 1e308", with_header(TransformMatrix="1e308 0 0 0 1 0 0 0 1"), "direction", "pet.mha"),
    ("direction nan", with_header(TransformMatrix="nan 0 0 0 1 0 0 0 1"), "TransformMatrix", "pet.mha"),
    ("direction zero", with_header(TransformMatrix="0 0 0 0 0 0 0 0 0"), "perpendicular", "pet.mha"),
    ("direction singular", with_header(TransformMatrix="1 0 0 1 0 0 0 0 1"), "perpendicular", "pet.mha"),
    ("direction sheared", with_header(TransformMatrix="1 0.01 0 0 1 0 0 0 1"), "perpendicular", "resample"),
    ("direction stretched", with_header(TransformMatrix="1.01 0 0 0 1 0 0 0 1"), "perpendicular", "pet.mha"),
    ("direction of four numbers", with_header(TransformMatrix="1 0 0 1"), "TransformMatrix", "pet.mha"),
    ("direction missing", with_header(TransformMatrix=None), "TransformMatrix", "pet.mha"),
)  # fmt: skip

# --- voxels -------------------------------------------------------------------------------------------------------

rows(
    ("voxels cut", with_payload(lambda body: body[:-1]), "34559 bytes", "expected 34560", "pet.mha"),
    ("voxels too many", with_payload(lambda body: body + b"\0"), "34561 bytes", "expected 34560"),
    (
        "compressed voxels cut", with_payload(lambda body: body[:-10], compressed=True, size=False),
        "bytes of compressed voxels", "as its header says",
    ),
    ("compressed voxels cut, header follows", with_payload(lambda body: body[:-10], compressed=True), "end too early"),
    ("compressed voxels flipped", with_payload(flipped, compressed=True), "damaged", "intact", "pet.mha"),
    (
        "checksum of compressed voxels wrong", with_payload(lambda body: flipped(body, 1.0), compressed=True),
        "damaged", "pet.mha",
    ),
    ("bytes behind compressed voxels", with_payload(lambda body: body + b"more", compressed=True), "bytes after"),
    (
        "compressed voxels too few",
        with_payload(lambda body: zlib.compress(zlib.decompress(body)[:-4]), compressed=True),
        "inflate to 34556 bytes", "expected 34560",
    ),
    (
        "zlib bomb", with_payload(lambda body: zlib.compress(bytes(300_000_000), 1), compressed=True),
        "inflate to more than the 34560 bytes", "pet.mha",
    ),
    (
        "compressed without a word", with_payload(lambda body: zlib.compress(body)),
        "bytes of voxels", "expected 34560",
    ),
    ("plain voxels said to be compressed", with_header(CompressedData="True"), "damaged", "pet.mha"),
    ("NaN", with_voxel(np.nan), "1 voxels are NaN or infinite", "(5, 4, 3)", "pet.mha"),
    ("infinity", with_voxel(-np.inf), "1 voxels are NaN or infinite", "(5, 4, 3)", "pet.mha"),
    ("many NaN", with_voxels("pet", lambda a: np.where(a < 0.5, np.nan, a).astype(np.float32)), "voxels are NaN"),
    ("beyond float32", with_voxel(1e300, np.float64), "32-bit", "pet.mha"),
    ("NaN in the CT", with_voxels("ct", lambda a: a * np.float32(np.nan)), "8640 voxels are NaN", "ct.mha"),
)  # fmt: skip


@row("vector voxels", "3 channels", "expected 1", "pet.mha")
def _(job: Job) -> None:
    sitk.WriteImage(sitk.Compose([sitk.ReadImage(str(job.pet))] * 3), str(job.pet))


@row("complex voxels", "pet", "expected")
def _(job: Job) -> None:
    nifti(job)
    image = nibabel.load(job.pet)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata().astype(np.complex64), image.affine), job.pet)


@row("four dimensions", "4 dimensions", "expected", "pet.mha")
def _(job: Job) -> None:
    sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(job.pet))] * 2), str(job.pet))


@row("four dimensions in NIfTI", "4 dimensions", "expected", "pet.nii.gz")
def _(job: Job) -> None:
    image = nifti(job)
    nibabel.save(nibabel.Nifti1Image(np.stack([image.get_fdata()] * 2, axis=3), image.affine), job.pet)


# --- NIfTI (byte offsets: nifti1.h) ---------------------------------------------------------------------------------

rows(
    (".nii cut", with_nifti_bytes(lambda data: data[:-100], "pet.nii"), "34812 bytes", "expected 34912", "pet.nii"),
    (".nii too long", with_nifti_bytes(lambda data: data + b"\0", "pet.nii"), "34913 bytes", "expected 34912"),
    (".nii header cut", with_nifti_bytes(lambda data: data[:200], "pet.nii"), "no NIfTI header", "pet.nii"),
    (".nii.gz cut", with_nifti_bytes(lambda data: data[: len(data) // 2]), "end too early", "pet.nii.gz"),
    (".nii.gz flipped", with_nifti_bytes(flipped), "damaged", "pet.nii.gz"),
    (".nii.gz checksum wrong", with_nifti_bytes(lambda data: flipped(data[:-6]) + data[-6:]), "pet.nii.gz"),
    (".nii.gz length wrong", with_nifti_bytes(lambda data: data[:-1] + b"\x55"), "damaged", "pet.nii.gz"),
    (".nii.gz with garbage behind", with_nifti_bytes(lambda data: data + b"garbage"), "pet.nii.gz"),
    (".nii.gz not compressed", with_nifti_bytes(gzip.decompress), "NIfTI image that is not compressed", "name it .nii"),
    (".nii compressed", with_nifti_bytes(gzip.compress, "pet.nii"), "no NIfTI header", "pet.nii"),
    (
        ".nii.gz bomb", with_nifti_bytes(lambda data: gzip.compress(gzip.decompress(data) + bytes(300_000_000), 1)),
        "inflate to more than", "pet.nii.gz",
    ),
    ("NIfTI dim 0", with_nifti_field("h", 42, 0), "0 x 20 x 18", "at least 1"),
    ("NIfTI dim negative", with_nifti_field("h", 42, -24), "-24 x 20 x 18", "at least 1"),
    ("NIfTI dim too large", with_nifti_field("hhh", 42, 30000, 30000, 30000), "30000 x 30000 x 30000", "at most"),
    ("NIfTI dim larger than the file", with_nifti_field("hhh", 42, 1000, 1000, 1000), "too few", "pet.nii.gz"),
    ("NIfTI of 9 dimensions", with_nifti_field("h", 40, 9), "9 dimensions", "expected 3"),
    ("NIfTI datatype RGB", with_nifti_field("hh", 70, 128, 24), "datatype code is 128", "expected"),
    ("NIfTI datatype unknown", with_nifti_field("h", 70, 999), "datatype code is 999", "expected"),
    ("NIfTI bitpix wrong", with_nifti_field("h", 72, 16), "bitpix is 16", "expected 32"),
    ("NIfTI pixdim 0", with_nifti_field("f", 80, 0.0), "spacing", "0.3 to 20 mm"),
    ("NIfTI pixdim nan", with_nifti_field("f", 80, np.nan), "spacing", "0.3 to 20 mm"),
    ("NIfTI pixdim against sform", with_nifti_field("f", 80, 4.0), "sform and qform", "expected"),
    ("NIfTI pixdim against sform alone", with_nifti_fields(("f", 80, 4.0), ("h", 252, 0)), "pixdim", "expected one"),
    ("NIfTI vox_offset negative", with_nifti_field("f", 108, -352.0), "vox_offset is -352", "expected"),
    ("NIfTI vox_offset nan", with_nifti_field("f", 108, np.nan), "vox_offset is nan", "expected"),
    ("NIfTI slope infinite", with_nifti_field("ff", 112, np.inf, 0.0), "scl_slope is inf", "expected"),
    ("NIfTI in metres", with_nifti_field("b", 123, 1), "spatial unit code is 1", "expected 2 (mm)"),
    ("NIfTI without orientation", with_nifti_field("hh", 252, 0, 0), "sform_code is 0", "expected"),
    ("NIfTI form codes unknown", with_nifti_field("hh", 252, 77, 77), "sform_code is 77", "expected"),
    ("NIfTI sform against qform", with_nifti_field("f", 268, 30.0), "sform and qform", "expected"),
    ("NIfTI sform nan", with_nifti_field("f", 280, np.nan), "pet.nii.gz", "expected"),
    ("NIfTI sform flipped against qform", with_nifti_field("f", 280, 8.0), "sform and qform", "expected"),
    ("NIfTI in two files", with_nifti_field("4s", 344, b"ni1\0"), "single-file", "pet.nii.gz"),
)  # fmt: skip

# --- the study ------------------------------------------------------------------------------------------------------


def swapped(job: Job) -> None:
    images = job.pet.read_bytes(), job.ct.read_bytes()
    job.pet.write_bytes(images[1])
    job.ct.write_bytes(images[0])


def sliced(which: str, z: slice) -> Callable[[Job], None]:
    return lambda job: sitk.WriteImage(sitk.ReadImage(str(getattr(job, which)))[:, :, z], str(getattr(job, which)))


def in_one_corner(array: NDArray[Any]) -> NDArray[Any]:
    array[0, 0, 0] = -1024
    return array


rows(
    ("PET and CT swapped", swapped, "looks like a CT in HU", "may be swapped", "expected SUV"),
    ("CT twice", lambda job: shutil.copy(job.ct, job.pet), "looks like a CT in HU", "expected SUV"),
    ("PET twice", lambda job: shutil.copy(job.pet, job.ct), "looks like SUV", "expected HU"),
    (
        "CT with an offset of 1024", with_voxels("ct", lambda a: np.clip(a + 1024, 0, None)),
        "offset of 1024", "expected HU",
    ),
    ("CT scaled to [0, 1]", with_voxels("ct", lambda a: (a + 1024) / 4096), "scaled values", "expected HU"),
    ("CT scaled to [-1, 1]", with_voxels("ct", lambda a: a / 1024), "scaled values", "expected HU"),
    ("CT constant", with_voxels("ct", lambda a: a * 0 - 1024), "CT is constant (-1024", "expected"),
    ("CT elsewhere", lambda job: header(job.ct, Offset="1000 0 0"), "CT covers 0%", "at least half"),
    ("CT of a fifth of the body", sliced("ct", slice(0, 5)), "CT covers", "at least half"),
    ("PET in Bq/ml", with_voxels("pet", lambda a: a * 5000), "looks like Bq/ml", "expected SUV"),
    ("PET in Bq/ml of a low dose", with_voxels("pet", lambda a: a * 70), "looks like Bq/ml", "expected SUV"),
    ("PET constant", with_voxels("pet", lambda a: a * 0 + 1), "PET is constant (1", "expected"),
    ("PET empty", with_voxels("pet", lambda a: a * 0), "PET is constant (0", "expected"),
    ("PET strongly negative", with_voxels("pet", lambda a: a - 5), "1st percentile", "expected SUV"),
    ("PET with a padding value", with_voxels("pet", in_one_corner), "down to -1024", "padding", "expected SUV"),
    ("PET without uptake", with_voxels("pet", lambda a: a / 100), "no voxel above SUV 0.3", "expected"),
    ("PET of two slices", sliced("pet", slice(8, 10)), "24 x 20 x 2", "at least 3"),
    ("CT of one slice", sliced("ct", slice(8, 9)), "24 x 20 x 1", "at least 3"),
)  # fmt: skip

# --- the weights ----------------------------------------------------------------------------------------------------


def without(keys: slice) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key: state[key] for key in list(state)[keys]}


def with_nan(state: dict[str, Any]) -> dict[str, Any]:
    next(tensor for tensor in state.values() if tensor.is_floating_point()).view(-1)[0] = np.nan
    return state


def with_shape(state: dict[str, Any]) -> dict[str, Any]:
    # safetensors gives no order of its own, and some kernels are of one voxel anyway.
    key = next(key for key, tensor in sorted(state.items()) if tensor.dim() == 5 and tensor.shape[-1] > 1)
    return {**state, key: state[key][..., :1].contiguous()}


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pickled_code_ran",)


def pickled(_: bytes) -> bytes:
    import pickle

    return pickle.dumps(Boom())


rows(
    ("weights folder missing", lambda job: setattr(job, "weights", job.root / "none"), "recipe.json", "none"),
    ("weights without a recipe", lambda job: (own_weights(job), (job.weights / "recipe.json").unlink()), "recipe.json"),
    ("recipe empty", with_recipe(""), "recipe.json"),
    ("recipe not JSON", with_recipe("{'format': 1}"), "recipe.json"),
    ("recipe of endless depth", with_recipe("[" * 100_000), "recipe.json"),
    ("recipe a list", with_recipe("[]"), "not a recipe of format 1"),
    ("recipe of another format", with_recipe('{"format": 2}'), "not a recipe of format 1"),
    ("recipe of a later version", with_recipe('{"format": 1, "gamma": 2}'), "gamma", "does not know"),
    ("recipe without folds", with_recipe('{"format": 1}'), "names no fold"),
    ("recipe with folds of no list", with_recipe('{"format": 1, "folds": 5}'), "recipe.json"),
    ("recipe of impossible windows", with_recipe('{"format": 1, "patch": [0, 16, 16]}'), "patch"),
    (
        "recipe leading out of its folder",
        with_recipe('{"format": 1, "folds": [{"file": "../fold_0.safetensors", "sha256": "0"}]}'),
        "folds",
    ),
    (
        "one of the folds missing",
        lambda job: (own_weights(job), (job.weights / "fold_1.safetensors").unlink()),
        "1 of 2 folds missing", "fold_1.safetensors", "never runs without",
    ),
    ("fold flipped", with_fold(flipped), "fold_1.safetensors has SHA-256", "expected"),
    ("fold cut", with_fold(lambda data: data[:1000]), "fold_1.safetensors has SHA-256", "expected"),
    ("fold empty", with_fold(lambda data: b""), "fold_1.safetensors has SHA-256", "expected"),
    ("fold a git-LFS pointer", with_fold(lambda data: b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    ("fold empty, its sum right", with_fold(lambda data: b"", signed=True), "not a safetensors file"),
    ("fold pickled code, its sum right", with_fold(pickled, signed=True), "not a safetensors file"),
    ("fold without some keys", with_fold(tensors(without(slice(3, None))), signed=True), "3 keys missing"),
    ("fold of other keys", with_fold(tensors(lambda state: {"x": state[min(state)]}), signed=True), "1 unexpected"),
    ("fold of another shape", with_fold(tensors(with_shape), signed=True), "has shape", "expected"),
    ("fold with NaN", with_fold(tensors(with_nan), signed=True), "holds NaN or infinity"),
    code=4,
)  # fmt: skip

# --- a PET in Bq/ml and its sidecar ---


def with_sidecar(text: str | None) -> Callable[[Job], None]:
    def spoil(job: Job) -> None:
        job.more = ("--pet-unit", "bqml", "--pet-sidecar", str(job.root / "pet.json"))
        if text is not None:
            (job.root / "pet.json").write_text(text)

    return spoil


rows(
    ("sidecar missing", with_sidecar(None), "pet.json", "No such file"),
    ("sidecar not JSON", with_sidecar("Units: Bq/mL"), "pet.json", "cannot be read as the sidecar"),
    ("sidecar of endless depth", with_sidecar('{"a":' * 100_000), "pet.json", "cannot be read as the sidecar"),
    ("sidecar a list", with_sidecar("[]"), "pet.json", "expected"),
    ("sidecar empty", with_sidecar("{}"), "InjectedRadioactivity is missing in the sidecar"),
    **ONLY_PREDICT,
)

# --- the output -----------------------------------------------------------------------------------------------------

rows(
    ("output folder a file", lambda job: job.output.write_text("x"), "cannot write", "part of the path is a file"),
    ("output folder a dangling link", lambda job: job.output.symlink_to(job.root / "nowhere/x"), "cannot write"),
    ("output in /proc", lambda job: (setattr(job, "output", Path("/proc/x")),
                                     setattr(job, "mask", Path("/proc/x/mask.mha"))), "cannot write"),
    code=5,
)  # fmt: skip
rows(
    ("mask a folder", lambda job: job.mask.mkdir(parents=True), "cannot write", "a folder has that name"),
    ("mask a device", lambda job: (job.output.mkdir(), job.mask.symlink_to("/dev/full")), "not a file"),
    code=5,
    **ONLY_PREDICT,
)
rows(
    ("mask of unknown suffix", lambda job: setattr(job, "mask", job.output / "mask.png"), "unknown image format"),
    ("mask in the place of the PET", lambda job: setattr(job, "mask", job.pet), "--pet", "another place"),
    (
        "mask in the place of the CT",
        lambda job: setattr(job, "mask", job.pet.parent / "../ct/ct.mha"),
        "--ct",
        "another place",
    ),
    code=2,
    **ONLY_PREDICT,
)


def expanded() -> Iterator[tuple[Row, str]]:
    """Return every row with every program it is for."""
    for entry in ROWS:
        for program in entry.programs:
            yield entry, program
