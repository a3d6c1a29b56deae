"""Whom a study shows stays where it is: nothing that a file says of the patient reaches a log, a message or a mask."""

import gzip
import sys
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from bad_inputs import Job, header

from autosegnet import __main__
from autosegnet.model.weights import Weights
from autosegnet.runtime.exit import run_program

NAME, IDENTITY, DATE = "KANARIENVOGEL", "ID4711", "19330330"
WORDS = (NAME, IDENTITY, DATE, "1933-03-30")
# Tags of MetaImage that hold text, and some that ITK and Slicer put there from DICOM.
TAGS = {
    "Comment": f"{NAME} {DATE}",
    "ObjectSubTypeName": NAME,
    "Name": NAME,
    "TransformType": "Rigid",
    "AcquisitionDate": DATE,
    "PatientName": f"{NAME}^ANNA",
    "PatientID": IDENTITY,
    "0010|0010": f"{NAME}^ANNA",
    "0010|0020": IDENTITY,
    "0010|0030": DATE,
}


@pytest.fixture
def job(tmp_path: Path, tiny_weights: Weights) -> Job:
    return Job.good(tmp_path, tiny_weights.folder)


def tell_everything(job: Job, name: str) -> None:
    """Put the patient into every text field of both inputs."""
    for which in ("pet", "ct"):
        path: Path = getattr(job, which)
        if name == "tags.mha":
            header(path, **TAGS)
            continue
        image = sitk.ReadImage(str(path))
        path.unlink()
        path = path.with_name(f"{which}.nii.gz")
        setattr(job, which, path)
        sitk.WriteImage(image, str(path))
        made = nibabel.load(path)
        fields = made.header
        fields["descrip"], fields["aux_file"] = f"{NAME}^ANNA {DATE}", IDENTITY
        fields["intent_name"], fields["db_name"], fields["data_type"] = NAME, NAME, IDENTITY
        comment = nibabel.nifti1.Nifti1Extension("comment", f"{NAME} {IDENTITY} {DATE}".encode())
        fields.extensions.append(comment)
        nibabel.save(nibabel.Nifti1Image(made.get_fdata(dtype=np.float32), made.affine, fields), path)


def unpacked(data: bytes) -> bytes:
    """Return the bytes of a file, and what is compressed in them."""
    if data.startswith(b"\x1f\x8b"):
        return data + gzip.decompress(data)
    end = data.find(b"ElementDataFile = LOCAL\n")
    return data + zlib.decompress(data[end + 24 :]) if b"CompressedData = True" in data[:end] else data


def assert_untold(data: bytes) -> None:
    for word in WORDS:
        for encoding in ("utf-8", "utf-16-le"):
            assert word.encode(encoding) not in data


def run_here(program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    import process

    monkeypatch.setattr(sys, "argv", [program, *arguments])
    return run_program(process.main if program == "process" else __main__._run_command_line)


@pytest.mark.parametrize("name", ["tags.mha", "fields.nii.gz"])
@pytest.mark.parametrize(("program", "suffix"), [("process", ".mha"), ("predict", ".mha"), ("predict", ".nii.gz")])
def test_a_run_tells_nothing_of_the_patient(
    job: Job, name: str, program: str, suffix: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tell_everything(job, name)
    assert NAME.encode() in unpacked(job.pet.read_bytes())
    arguments = job.arguments(program)
    if program == "predict":
        arguments = [a.replace("mask.mha", f"mask{suffix}") for a in arguments]
        for option in ("--probability", "--uncertainty"):
            arguments += [option, str(job.output / f"{option[2:]}{suffix}")]
        arguments += ["--report", str(job.output / "report")]
    assert run_here(program, arguments, monkeypatch) == 0
    assert_untold("".join(capfd.readouterr()).encode())
    written = job.written()
    assert len(written) >= 2
    for path in written:
        assert_untold(path.encode())
        assert_untold(unpacked((job.output / path).read_bytes()))


@pytest.mark.parametrize("key", ["NDims", "DimSize", "ElementType", "ElementSpacing", "Offset", "TransformMatrix",
                                 "BinaryData", "CompressedData", "ElementDataFile", "DistanceUnits", "HeaderSize",
                                 "ElementNumberOfChannels", "ObjectType", "ElementToIntensityFunctionSlope",
                                 "AnatomicalOrientation", "CompressedDataSize", "CenterOfRotation"])  # fmt: skip
def test_a_refusal_quotes_no_text_of_the_header(
    job: Job, key: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    header(job.pet, **{key: f"{NAME} {IDENTITY}_{DATE}"})
    code = run_here("predict", job.arguments("predict"), monkeypatch)
    assert code in ({0, 3} if key in {"AnatomicalOrientation"} else {3})
    assert_untold("".join(capfd.readouterr()).encode())
    if code == 0:
        assert_untold(unpacked(job.mask.read_bytes()))
