"""The Python interface: give it a study, get its lesions. `autosegnet predict` and process.py are built on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autosegnet.errors import UsageError
from autosegnet.geometry import Grid
from autosegnet.interchange import FromSitk, to_sitk
from autosegnet.loading import InputOptions, LoadedStudy, load_study
from autosegnet.model.devices import choose_precision, log_engine, open_engine
from autosegnet.model.reopening import keep_engine_open
from autosegnet.model.sliding_window import PassProgress, RunWalk, run_walk
from autosegnet.model.weights import Weights, open_weights
from autosegnet.outputs import describe_origin, make_context, make_report, make_viewer, write_results
from autosegnet.pipeline import Maps, Segmentation, segment_study
from autosegnet.result_files import MASK_FILE, PROBABILITY_FILE, VIEWER_PAGE
from autosegnet.runtime.log import keep_study_warnings
from autosegnet.study import check_study

if TYPE_CHECKING:
    from collections.abc import Mapping

    import nibabel
    import SimpleITK as sitk
    from numpy.typing import NDArray

    from autosegnet.corrections import Clicks
    from autosegnet.lesions import LesionTable
    from autosegnet.model.engine import Engine
    from autosegnet.report import Provenance

    Image = str | os.PathLike[str] | sitk.Image | nibabel.spatialimages.SpatialImage | tuple[NDArray[Any], NDArray[Any]]
    """A path, a DICOM folder, a SimpleITK or nibabel image, or (array, affine)."""

    ClicksLike = str | os.PathLike[str] | Mapping[str, Any] | Clicks
    """A path, the JSON value of such a file, or the result of `read_clicks`."""


@dataclass(frozen=True)
class Result:
    """The result of one study.

    Args:
        loaded: the study, and how its SUV was derived.
        segmentation: mask and maps as SimpleITK images on the PET's grid.
        provenance: software, weights and warnings behind the mask.
        from_sitk: converts an image on the PET's grid to the type that the PET had.
        clicks: that corrected the mask; None without a correction.
        run_again: segments the study with clicks, if the folds take clicks; else None.
    """

    loaded: LoadedStudy
    segmentation: Segmentation
    provenance: Provenance
    from_sitk: FromSitk
    clicks: Clicks | None = None
    run_again: Callable[[Clicks], Result] | None = None

    @property
    def mask(self) -> Any:
        """Return the lesion mask (uint8, 0 or 1) on the PET's grid, of the PET's type; SimpleITK for a path."""
        return self.from_sitk(self.segmentation.mask)

    @property
    def probability(self) -> Any:
        """Return the probability of lesion (float32) as `mask`, or None if it was not asked for."""
        return self._map(self.segmentation.probability)

    @property
    def uncertainty(self) -> Any:
        """Return the standard deviation between the folds (float32) as `mask`, or None if it was not asked for."""
        return self._map(self.segmentation.uncertainty)

    @cached_property
    def lesions(self) -> LesionTable:
        """Return the figures of every lesion and of the body; `lesions.to_frame()` makes a pandas frame of them."""
        from autosegnet.lesions import measure_lesions

        found = self.segmentation
        context = make_context(self.loaded, probability=found.probability, uncertainty=found.uncertainty)
        return measure_lesions(found.mask, self.loaded.study.pet, context)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the doubts about the study, one sentence each."""
        return self.provenance.warnings

    def correct(self, clicks: ClicksLike) -> Result:
        """Return the result with its mask corrected by a reader's clicks.

        The network runs again only if its folds take clicks. Every correction starts from the folds' own mask, so give
        all clicks of all rounds.

        Args:
            clicks: a path, `{"tumor": [[x, y, z], …], "background": […]}`, or the platform's "Multiple points"; in
                voxels of the PET, or in mm (LPS) beside `"space": "mm"`.

        Raises:
            InputError: the clicks cannot be read, or one lies outside the PET.
            UsageError: the probability of lesion was not kept.
        """
        if self.segmentation.probability is None:
            raise UsageError("corrections need the probability of lesion; segment with probability=True")
        given = _take_clicks(clicks)
        seen = self if self.run_again is None else replace(self.run_again(given), from_sitk=self.from_sitk)
        return seen._correct_own_mask(given)

    def _correct_own_mask(self, given: Clicks) -> Result:
        """Return the result with the mask of its own probability corrected by clicks."""
        from autosegnet.corrections import correct_mask

        assert self.segmentation.probability is not None, "it was asked for"
        mask = correct_mask(self.segmentation.probability, self.loaded.study, given)
        made_by = replace(self.provenance, clicks=given.describe() if given else "")
        segmentation = replace(self.segmentation, mask=mask)
        return replace(self, segmentation=segmentation, provenance=made_by, clicks=given or None)

    def save(self, folder: str | os.PathLike[str], *, report: bool = False, viewer: bool = False) -> Path:
        """Write mask.nii.gz, lesions.csv and lesions.json into a folder, all or none, and return the folder.

        The probability is written beside them if it was asked for. Files of an earlier result in the folder that are
        not written anew are removed.

        Args:
            folder: made if it is missing.
            report: also write report.html and its pictures.
            viewer: also write viewer.html, a page to look through the study and to click corrections.

        Raises:
            OutputError: one of the files cannot be written.
        """
        from autosegnet.lesions import format_lesions_csv, format_lesions_json

        place = Path(folder)
        files: dict[Path, sitk.Image | str | bytes] = {place / MASK_FILE: self.segmentation.mask}
        if self.segmentation.probability is not None:
            files[place / PROBABILITY_FILE] = self.segmentation.probability
        if viewer:
            files[place / VIEWER_PAGE] = self.make_viewer()
        if report:
            write_results(files, place, self.report_files(), result=place)
        else:
            tables = {
                place / "lesions.csv": format_lesions_csv(self.lesions),
                place / "lesions.json": format_lesions_json(self.lesions),
            }
            write_results({**files, **tables}, None, {}, result=place)
        return place

    def report_files(self) -> dict[str, bytes | str]:
        """Return the report's files by name."""
        return make_report(self.segmentation.mask, self.loaded, self.provenance, self.lesions)

    def make_viewer(self) -> str:
        """Return the text of the viewer's page."""
        found = self.segmentation
        return make_viewer(
            found.mask,
            self.loaded,
            self.provenance,
            self.lesions,
            probability=found.probability,
            clicks=self.clicks,
        )

    def _map(self, image: sitk.Image | None) -> Any:
        return None if image is None else self.from_sitk(image)


class Segmenter:
    """The folds of an ensemble on a device, ready for one study after the other.

    Args:
        weights: folder with recipe.json and folds; None finds them as the command line does.
        device: "auto", "cpu", "cuda", "mps" or "reference", as `--device`.
        fast: run a few large slabs instead of overlapping windows, as `--fast`: faster; the mask differs.
        precision: "float32", "bfloat16" or "auto", as `--precision`.

    Raises:
        WeightsError: there are no weights, or their recipe cannot be read. Folds are verified in the background;
            the first study raises what was found.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        fast: bool = False,
        precision: str = "float32",
    ) -> None:
        opened = open_weights(None if weights is None else Path(weights)).use_precision(choose_precision(precision))
        self._set_up(opened.use_fast_mode() if fast else opened, partial(_open_engine, device=device))

    @classmethod
    def from_engine(cls, open_engine: Callable[[Weights], Engine], weights: Weights) -> Self:
        """Return a segmenter that runs an engine of your own.

        Args:
            open_engine: called in the background, and again if the engine's name has changed.
            weights: of the same folds.
        """
        segmenter = cls.__new__(cls)
        segmenter._set_up(weights, open_engine)
        return segmenter

    def _set_up(self, weights: Weights, open_engine: Callable[[Weights], Engine]) -> None:
        self.weights = weights
        self._engine = keep_engine_open(partial(open_engine, weights))
        pool = ThreadPoolExecutor(1, "engine")
        self._opening: Future[None] = pool.submit(self._open_now)  # in the background, while the first study is read
        pool.shutdown(wait=False)

    def _open_now(self) -> None:
        self._engine()  # no result: the future would keep an engine alive that was replaced

    def __call__(
        self,
        pet: Image,
        ct: Image,
        *,
        options: InputOptions | None = None,
        probability: bool = True,
        uncertainty: bool = False,
        clicks: ClicksLike | None = None,
        progress: PassProgress = lambda done, of: None,
        check: Callable[[LoadedStudy], None] = lambda loaded: None,
    ) -> Result:
        """Segment one study.

        Args:
            pet: PET in SUV: a path, a SimpleITK or nibabel image, or (array, affine); or a DICOM folder.
            ct: CT in HU, in any of these forms, on any grid; one DICOM folder may hold both.
            options: how the files are to be read: series, unit, sidecar, stated facts.
            probability: keep the probability of lesion.
            uncertainty: keep the disagreement between the folds, which takes 4 bytes x voxels x folds more memory.
            clicks: of a reader, which correct the mask, as for `Result.correct`; folds that take clicks see them.
            progress: called after every pass of the network.
            check: called with the study before anything is computed; it may raise an error to end the run.

        Raises:
            InputError: the study cannot be read, paired, converted or believed; or clicks cannot be read or placed.
            UsageError: options contradict each other, an object has an unknown type, or the device does not exist.
            WeightsError: a fold is missing, altered or of another network.
        """
        with keep_study_warnings() as warnings:
            try:
                given = None if clicks is None else _take_clicks(clicks)
                loaded, from_sitk = _load(pet, ct, options, tracer=self.weights.recipe.tracer)
                check(loaded)
                if given:
                    given.find_voxels(
                        Grid.from_image(loaded.study.pet)
                    )  # an invalid click ends the run before the network runs
            except Exception:
                wait([self._opening])  # so that nothing is logged after the message that ends the run
                raise
        is_needed = probability or bool(given)
        maps: Maps = "probability and uncertainty" if uncertainty else "probability" if is_needed else "none"
        result = self.segment_loaded(loaded, clicks=given, maps=maps, progress=progress, warnings=tuple(warnings))
        return replace(result._correct_own_mask(given) if given else result, from_sitk=from_sitk)

    def segment_loaded(
        self,
        loaded: LoadedStudy,
        *,
        clicks: Clicks | None = None,
        maps: Maps = "none",
        progress: PassProgress = lambda done, of: None,
        run_walk: RunWalk = run_walk,
        warnings: tuple[str, ...] = (),
    ) -> Result:
        """Segment a study that is already read and checked.

        Args:
            loaded: the study.
            clicks: of a reader, for folds that take clicks; the mask is still to be corrected.
            maps: what to keep beside the mask.
            progress: called after every pass of the network.
            run_walk: runs the walk over the windows; a time limit can run less.
            warnings: about the study, from reading it.
        """
        if maps == "probability and uncertainty" and len(self.weights.recipe.folds) < 2:
            raise UsageError("--uncertainty is the disagreement between folds, and the weights have one fold")
        engine = self.open_engine()
        with keep_study_warnings() as more:
            found = segment_study(
                loaded.study,
                engine,
                self.weights.recipe,
                clicks=clicks,
                maps=maps,
                progress=progress,
                run_walk=run_walk,
            )
        made_by = describe_origin(loaded, engine, self.weights, [*warnings, *more])
        again = partial(self._segment_again, loaded, maps, warnings) if self.weights.recipe.click_channels else None
        return Result(loaded, found, made_by, lambda image: image, run_again=again)

    def _segment_again(self, loaded: LoadedStudy, maps: Maps, warnings: tuple[str, ...], clicks: Clicks) -> Result:
        return self.segment_loaded(loaded, clicks=clicks, maps=maps, warnings=warnings)

    def open_engine(self) -> Engine:
        """Return the engine. If it moved to the CPU for lack of GPU memory, it is opened again.

        Raises:
            UsageError: the device does not exist.
            WeightsError: a fold is missing, altered or of another network.
        """
        self._opening.result()
        return self._engine()


def _open_engine(weights: Weights, *, device: str) -> Engine:
    engine = open_engine(weights, device=device)
    log_engine(engine, weights)
    return engine


def segment(
    pet: Image,
    ct: Image,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    fast: bool = False,
    precision: str = "float32",
    options: InputOptions | None = None,
    uncertainty: bool = False,
    clicks: ClicksLike | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Result:
    """Segment one study; for several, make one `Segmenter`, which loads the weights once.

    Args:
        pet: PET in SUV: a path, a DICOM folder, a SimpleITK or nibabel image, or (array, affine).
        ct: CT in HU, in any of these forms, on any grid.
        weights: folder with recipe.json and folds; None finds them as the command line does.
        device: "auto", "cpu", "cuda", "mps" or "reference".
        fast: run a few large slabs instead of overlapping windows.
        precision: "float32", "bfloat16" or "auto".
        options: how the files are to be read.
        uncertainty: keep the disagreement between the folds.
        clicks: of a reader, which correct the mask; folds that take clicks see them.
        progress: called after every pass of the network.

    Raises:
        InputError, UsageError, WeightsError: as `Segmenter`.
    """
    segmenter = Segmenter(weights, device=device, fast=fast, precision=precision)
    return segmenter(pet, ct, options=options, uncertainty=uncertainty, clicks=clicks, progress=progress)


def _take_clicks(clicks: ClicksLike) -> Clicks:
    from autosegnet.corrections import Clicks, parse_clicks, read_clicks

    if isinstance(clicks, Clicks):
        return clicks
    return read_clicks(Path(clicks)) if isinstance(clicks, (str, os.PathLike)) else parse_clicks(clicks)


def _load(pet: Image, ct: Image, options: InputOptions | None, *, tracer: str) -> tuple[LoadedStudy, FromSitk]:
    if isinstance(pet, (str, os.PathLike)) and isinstance(ct, (str, os.PathLike)):
        options = replace(options or InputOptions(), expected_tracer=tracer)
        return load_study(pet=Path(pet), ct=Path(ct), options=options), lambda image: image
    if options is not None:
        raise UsageError("options are only for files; PET or CT is an image in memory, so give none")
    pet_image, from_sitk = _convert_to_sitk(pet, "PET")
    ct_image, _ = _convert_to_sitk(ct, "CT")
    return LoadedStudy(check_study(pet=pet_image, ct=ct_image)), from_sitk


def _convert_to_sitk(image: Any, name: str) -> tuple[sitk.Image, FromSitk]:
    if not isinstance(image, (str, os.PathLike)):
        return to_sitk(image, name)
    from autosegnet.io import read_image

    path = Path(image)
    if path.is_dir():
        raise UsageError(f"the {name} is a DICOM folder beside an image in memory; give both as paths")
    return read_image(path), lambda other: other
