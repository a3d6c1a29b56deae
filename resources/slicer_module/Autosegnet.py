"""3D Slicer module: segments lesions in PET/CT with the command line `autosegnet`, in the background.

What needs no Slicer is in autosegnet_slicer and is tested. This file was not run in Slicer.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import qt
import slicer
from autosegnet_slicer.background_run import BackgroundRun
from autosegnet_slicer.exchange import (
    COLUMNS,
    Job,
    LesionRow,
    clean_environment,
    gather_slices,
    make_commands,
    read_lesions,
    write_clicks,
)
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)

_SETTING = "Autosegnet/Program"
_POLL_MS = 250


class Autosegnet(ScriptedLoadableModule):
    """Tells Slicer what the module is."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Autosegnet"
        parent.categories = ["Segmentation", "Nuclear Medicine"]
        parent.contributors = ["The autosegnet developers"]
        parent.helpText = (
            "Segments lesions in FDG PET/CT with autosegnet, which is installed outside of Slicer. "
            "Research software, not for clinical use."
        )
        parent.acknowledgementText = "Apache-2.0"


class AutosegnetWidget(ScriptedLoadableModuleWidget):
    """Lets a user choose volumes and clicks, run a job, and look at its lesions."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = AutosegnetLogic()
        form = qt.QFormLayout()
        self.layout.addLayout(form)
        self.program = qt.QLineEdit(slicer.util.settingsValue(_SETTING, shutil.which("autosegnet") or "autosegnet"))
        self.program.toolTip = "Path of autosegnet, such as /opt/venv/bin/autosegnet"
        self.pet = self._add_selector("vtkMRMLScalarVolumeNode")
        self.ct = self._add_selector("vtkMRMLScalarVolumeNode")
        self.tumor = self._add_selector("vtkMRMLMarkupsFiducialNode")
        self.background = self._add_selector("vtkMRMLMarkupsFiducialNode")
        self.fast = qt.QCheckBox("Faster; the mask differs")
        for name, field in (
            ("Program", self.program), ("PET", self.pet), ("CT", self.ct), ("Clicks on tumour", self.tumor),
            ("Clicks on background", self.background), ("Fast mode", self.fast),
        ):  # fmt: skip
            form.addRow(name, field)
        self.button = qt.QPushButton("Segment")
        self.button.clicked.connect(self.start_or_cancel)
        self.status = qt.QLabel("")
        self.status.wordWrap = True
        self.table = qt.QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.cellClicked.connect(self.go_to_lesion)
        for part in (self.button, self.status, self.table):
            self.layout.addWidget(part)
        self.timer = qt.QTimer()
        self.timer.interval = _POLL_MS
        self.timer.timeout.connect(self.poll)

    def cleanup(self) -> None:
        """End a job that still runs, and remove its files."""
        self.timer.stop()
        self.logic.cancel()
        self.logic.remove_files()

    def start_or_cancel(self) -> None:
        """Start a job, or end the one that runs."""
        if self.logic.is_running:
            self.logic.cancel()
            return
        slicer.app.userSettings().setValue(_SETTING, self.program.text)
        try:
            self.logic.start(
                program=self.program.text,
                pet=self.pet.currentNode(),
                ct=self.ct.currentNode(),
                tumor=self.tumor.currentNode(),
                background=self.background.currentNode(),
                fast=self.fast.checked,
            )
        except ValueError as error:
            self.status.text = str(error)
            return
        self.button.text = "Cancel"
        self.timer.start()

    def poll(self) -> None:
        """Show what the job says, and load its results once it is over."""
        said = self.logic.poll()
        if said:
            self.status.text = said
        if self.logic.is_running:
            return
        self.timer.stop()
        self.button.text = "Segment"
        if self.logic.failure:
            self.status.text = self.logic.failure
        else:
            self.show_lesions(self.logic.load_results())

    def show_lesions(self, rows: list[LesionRow]) -> None:
        """Fill the table."""
        self.rows = rows
        self.table.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, text in enumerate(row.texts):
                self.table.setItem(i, j, qt.QTableWidgetItem(text))
        self.status.text = (
            f"{len(rows)} lesions. Click on a row to go there. Report and viewer's page, until the next job or the end "
            f"of Slicer: {self.logic.folder}"
        )

    def go_to_lesion(self, row: int, column: int) -> None:
        """Show the hottest voxel of the lesion of a row in all slices."""
        slicer.modules.markups.logic().JumpSlicesToLocation(*self.rows[row].position_ras, True)

    def _add_selector(self, kind: str):
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = [kind]
        selector.noneEnabled = kind == "vtkMRMLMarkupsFiducialNode"
        selector.addEnabled = selector.noneEnabled
        selector.setMRMLScene(slicer.mrmlScene)
        return selector


class AutosegnetLogic(ScriptedLoadableModuleLogic):
    """Turns nodes into a job, and its results into nodes."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._run: BackgroundRun | None = None
        self._job: Job | None = None
        self._folder: Path | None = None
        self.failure = ""

    @property
    def is_running(self) -> bool:
        """Tell whether a job is under way."""
        return self._run is not None

    @property
    def folder(self) -> Path | None:
        """Return where the last job wrote its files."""
        return self._folder

    def start(self, *, program: str, pet, ct, tumor, background, fast: bool) -> None:
        """Start a job.

        Raises:
            ValueError: a volume is missing, or PET and CT are one.
        """
        if pet is None or ct is None or pet is ct:
            raise ValueError("Choose a PET, and another volume as its CT.")
        self.remove_files()
        folder = Path(tempfile.mkdtemp(prefix="autosegnet-", dir=slicer.app.temporaryPath))
        self._folder = folder
        clicks = write_clicks(
            folder / "lesion-clicks.json", tumor=_list_points(tumor), background=_list_points(background)
        )
        pet_files, ct_files = _find_dicom_files(pet), _find_dicom_files(ct)
        if pet_files and ct_files:
            paths = gather_slices(pet_files, folder / "pet"), gather_slices(ct_files, folder / "ct")
        else:  # no DICOM: the PET has to be in SUV, and autosegnet refuses it if it is not
            paths = _save_volume(pet, folder / "pet.nii.gz"), _save_volume(ct, folder / "ct.nii.gz")
        self._job = Job((program,), folder, *paths, clicks=clicks, fast=fast)
        environment = clean_environment(slicer.util.startupEnvironment())
        self.failure = ""
        self._run = BackgroundRun(make_commands(self._job), environment)

    def remove_files(self) -> None:
        """Remove what the last job wrote: it holds the patient's images."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def poll(self) -> str:
        """Return the last line that the job said since the last call, '' if none."""
        if self._run is None:
            return ""
        lines = self._run.poll()
        if self._run.code is not None:
            self.failure = "" if self._run.code == 0 else self._run.explain()
            self._run = None
        return lines[-1] if lines else ""

    def cancel(self) -> None:
        """End the job; the next `poll` tells that it is over."""
        if self._run is not None:
            self._run.cancel()

    def load_results(self) -> list[LesionRow]:
        """Load the mask as a segmentation over the PET in SUV, and return the lesions."""
        assert self._job is not None
        if self._job.is_dicom:
            suv = slicer.util.loadVolume(str(self._job.suv), {"name": "PET, SUV"})
            slicer.util.setSliceViewerLayers(foreground=suv, foregroundOpacity=0.5)
        slicer.util.loadSegmentation(str(self._job.mask), {"name": "autosegnet lesions"})
        return read_lesions(self._job.table)


def _list_points(node) -> list:
    """Return the RAS positions of a markups node, none if there is no node."""
    return (
        [] if node is None else [tuple(point) for point in slicer.util.arrayFromMarkupsControlPoints(node, world=True)]
    )


def _find_dicom_files(volume) -> list[str]:
    """Return the files that a volume was loaded from, if all are in Slicer's DICOM database and it was not moved."""
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not uids or volume.GetParentTransformNode() is not None:
        return []
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids]
    return files if all(files) else []


def _save_volume(volume, path: Path) -> Path:
    """Write a volume where it lies in the world."""
    if not slicer.util.exportNode(volume, str(path), world=True):
        raise ValueError(f"{volume.GetName()} could not be saved.")
    return path
