"""Orthanc takes our DICOM results, files them with the PET's study, and gives back what was stored.

Orthanc is Debian's: `apt-get install orthanc orthanc-dicomweb`. Without the plugin, what OHIF asks is not tested.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import write_image as write_dicom
from phantoms import phantom

from autosegnet import __main__
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.io import write_image
from autosegnet.label_files import read_lesion_mask
from autosegnet.study import Study

ORTHANC = shutil.which("Orthanc") or ""
STORESCU = shutil.which("storescu") or ""
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
RESULTS = ("seg.dcm", "sr.dcm", "rtstruct.dcm")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ORTHANC, reason="no Orthanc is installed: apt-get install orthanc orthanc-dicomweb"),
]


class Server:
    """An Orthanc of its own, in a folder of its own, that listens to this machine alone."""

    def __init__(self, folder: Path) -> None:
        self.http, self.dicom = find_free_port(), find_free_port()
        configuration = {
            "Name": "test", "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"),
            "HttpPort": self.http, "DicomPort": self.dicom, "RemoteAccessAllowed": False,
            "Plugins": [str(DICOMWEB)] if DICOMWEB.exists() else [], "DicomAlwaysAllowStore": True,
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self.process = subprocess.Popen(
            [ORTHANC, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def ask(self, path: str, data: bytes | None = None, *, accept: str = "*/*") -> bytes:
        """Return the answer to GET, or to POST if there is data."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data, {"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def ask_json(self, path: str, data: bytes | None = None) -> Any:
        """Return the value of an answer in JSON."""
        return json.loads(self.ask(path, data))

    def wait(self) -> None:
        """Return as soon as it answers."""
        end = time.monotonic() + 30
        while True:
            try:
                self.ask("/system")
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


def find_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def study() -> Study:
    return phantom(size=(32, 28, 24), spacing=(6.0, 6.0, 6.0))


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with PET and CT in DICOM, and with our results of a mask."""
    place = tmp_path_factory.mktemp("study")
    write_dicom(study.pet, place / "pet", kind="PET", slope=0.01)
    write_dicom(study.ct, place / "ct", kind="CT", slope=1.0, intercept=-1024.0)
    mask = make_image((view_voxels(study.pet) > 4.0).astype(np.uint8), Grid.from_image(study.pet))
    write_image(mask, place / "mask.nii.gz")
    words = [
        "measure", "--mask", place / "mask.nii.gz", "--pet", place / "pet", "--ct", place / "ct",
        "--dicom-seg", place / "seg.dcm", "--dicom-sr", place / "sr.dcm", "--rtstruct", place / "rtstruct.dcm",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["autosegnet", *map(str, words)])
        with pytest.raises(SystemExit, match="0"):
            __main__.main()
    return place


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return an Orthanc that holds the study and our results, sent by REST."""
    orthanc = Server(tmp_path_factory.mktemp("orthanc"))
    try:
        orthanc.wait()
        for path in [*sorted((folder / "pet").rglob("*.dcm")), *sorted((folder / "ct").rglob("*.dcm"))]:
            orthanc.ask("/instances", path.read_bytes())
        for name in RESULTS:
            assert orthanc.ask_json("/instances", (folder / name).read_bytes())["Status"] == "Success"
        yield orthanc
    finally:
        orthanc.process.terminate()
        orthanc.process.wait(20)


def test_results_are_filed_with_the_study_of_the_pet(server: Server) -> None:
    (only,) = server.ask_json("/studies?expand")
    series = [server.ask_json(f"/series/{name}")["MainDicomTags"]["Modality"] for name in only["Series"]]
    assert sorted(series) == ["CT", "PT", "RTSTRUCT", "SEG", "SR"]


def list_references(dataset: pydicom.Dataset) -> set[str]:
    """Return every SOP instance that a dataset refers to; a structure set names the study likewise."""
    named = {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    return named - {str(dataset.StudyInstanceUID)}


@pytest.mark.parametrize("name", RESULTS)
def test_every_instance_that_a_result_refers_to_is_there(server: Server, folder: Path, name: str) -> None:
    references = list_references(pydicom.dcmread(folder / name))
    assert references
    for uid in references:
        assert [found["Type"] for found in server.ask_json("/tools/lookup", uid.encode())] == ["Instance"]


def test_the_segmentation_comes_back_as_the_same_mask(server: Server, folder: Path, study: Study, tmp_path) -> None:
    uid = pydicom.dcmread(folder / "seg.dcm").SOPInstanceUID
    (found,) = server.ask_json("/tools/lookup", uid.encode())
    (tmp_path / "seg.dcm").write_bytes(server.ask(f"{found['Path']}/file"))
    mask = read_lesion_mask(tmp_path / "seg.dcm", Grid.from_image(study.pet))
    np.testing.assert_array_equal(view_voxels(mask) > 0, view_voxels(study.pet) > 4.0)


@pytest.mark.skipif(not STORESCU, reason="no storescu is installed: apt-get install dcmtk")
def test_results_are_taken_from_storescu_too(server: Server, folder: Path) -> None:
    for name in RESULTS:
        uid = pydicom.dcmread(folder / name).SOPInstanceUID
        (found,) = server.ask_json("/tools/lookup", uid.encode())
        request = urllib.request.Request(f"http://127.0.0.1:{server.http}{found['Path']}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()
    command = [STORESCU, "-R", "127.0.0.1", str(server.dicom), *(str(folder / name) for name in RESULTS)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    test_results_are_filed_with_the_study_of_the_pet(server)


@pytest.mark.skipif(not DICOMWEB.exists(), reason="no DICOMweb is installed: apt-get install orthanc-dicomweb")
def test_dicomweb_tells_a_viewer_of_the_results_and_what_they_refer_to(server: Server, folder: Path) -> None:
    segmentation = pydicom.dcmread(folder / "seg.dcm")
    base = f"/dicom-web/studies/{segmentation.StudyInstanceUID}"
    found = json.loads(server.ask(f"{base}/series", accept="application/dicom+json"))
    assert {series["00080060"]["Value"][0] for series in found} == {"CT", "PT", "RTSTRUCT", "SEG", "SR"}
    metadata = server.ask(f"{base}/series/{segmentation.SeriesInstanceUID}/metadata", accept="application/dicom+json")
    (instance,) = json.loads(metadata)
    referenced = instance["00081115"]["Value"][0]["0020000E"]["Value"][0]
    assert referenced == pydicom.dcmread(next((folder / "pet").rglob("*.dcm"))).SeriesInstanceUID
    frames = server.ask(f"{base}/series/{segmentation.SeriesInstanceUID}/instances/{segmentation.SOPInstanceUID}")
    assert (
        pydicom.dcmread(BytesIO(frames[frames.index(b"\r\n\r\n") + 4 :]), force=True).SOPInstanceUID
        == segmentation.SOPInstanceUID
    )
