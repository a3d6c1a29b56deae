"""The platform's entry point: one study in, one lesion mask out, through evalutils' load-validate-process-save loop."""

import argparse
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from pathlib import Path
from typing import Any

# Before numpy and scipy are imported: each would start one thread per core, and nothing here gives them work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import SimpleITK as sitk
from evalutils import SegmentationAlgorithm
from evalutils.io import ImageLoader
from pandas import DataFrame

from autosegnet.corrections import Clicks, correct_mask
from autosegnet.geometry import view_voxels
from autosegnet.grandchallenge.job import parse_job, start_time_limit
from autosegnet.grandchallenge.rounds import LastStudy, read_round
from autosegnet.grandchallenge.server import serve
from autosegnet.grandchallenge.sockets import JobFiles, clear_output, find_edition, find_job_files
from autosegnet.grandchallenge.time_limit import TimeLimit
from autosegnet.io import probe_output, read_image, write_all
from autosegnet.loading import LoadedStudy
from autosegnet.model.sliding_window import run_walk
from autosegnet.model.weights import digest
from autosegnet.outputs import log_lesions
from autosegnet.pipeline import Maps, Segmentation
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.log import keep_study_warnings, log_to
from autosegnet.runtime.progress import show_passes
from autosegnet.segmenter import Segmenter
from autosegnet.study import AIR_HU, check_study

Rounds = LastStudy[tuple[Segmentation, dict[str, Any]]]


class StrictLoader(ImageLoader):  # type: ignore[misc]
    """Gives evalutils, which asks for every image twice, the images of our own strict reader.

    Files are read ahead, so that PET and CT of a job are read at the same time.
    """

    def __init__(self, read: Callable[[], sitk.Image], pool: Executor) -> None:
        self._image = pool.submit(copy_context().run, read)

    def load_image(self, fname: Path) -> sitk.Image:
        """Return the image of this loader's file; raise InputError if it was refused."""
        return self._image.result()

    @staticmethod
    def hash_image(image: sitk.Image) -> int:
        """Return a checksum of the voxels."""
        return zlib.crc32(view_voxels(image).data)


class Autosegnet(SegmentationAlgorithm):  # type: ignore[misc]
    """The five-fold ensemble as an algorithm of the platform, for one job."""

    def __init__(
        self,
        files: JobFiles,
        images: dict[str, StrictLoader],
        warnings: Sequence[str],
        segmenter: Segmenter,
        limit: TimeLimit | None,
        rounds: Rounds | None,
    ) -> None:
        super().__init__(index_key="ct", file_loaders=images, validators={}, input_path=files.pet.parent)
        self._warnings = warnings
        self._files, self._segmenter, self._limit, self._rounds = files, segmenter, limit, rounds

    def load(self) -> None:
        """Load the two images, because evalutils would search the whole input folder for them."""
        for key, loader in self._file_loaders.items():
            self._cases[key] = DataFrame(loader.load(fname=getattr(self._files, key)))

    def process_case(self, *, idx: int, case: Any) -> dict[str, Any]:
        """Segment the case, and return its entry of `results.json`. The mask is kept until `save`."""
        self._mask = self.predict(input_image=self._file_loaders["ct"].load_image(case["path"]))
        return self._files.describe_result(self._remarks)

    def predict(self, *, input_image: sitk.Image) -> sitk.Image:
        """Return the lesion mask on the PET's grid, for a CT."""
        study = check_study(pet=self._file_loaders["pet"].load_image(self._files.pet), ct=input_image)
        clicks, said = read_round(self._files.clicks, study.pet)
        loaded = LoadedStudy(study)
        weights = self._segmenter.weights
        seen = clicks if weights.recipe.click_channels else Clicks()
        segment = partial(
            self._segment, loaded, tuple(self._warnings), seen, is_probability_kept=bool(clicks or self._rounds)
        )
        if self._rounds is None:
            found, self._remarks = segment()
        else:  # what is kept must not be what the network found with other clicks
            found, self._remarks = self._rounds.find(study, f"{digest(weights)} {seen}", segment)
        self._remarks = {**self._remarks, **said}
        mask: sitk.Image = found.mask
        if clicks:
            assert found.probability is not None, "it was asked for"
            mask = correct_mask(found.probability, study, clicks)
        log_lesions(mask)
        return mask

    def _segment(
        self, loaded: LoadedStudy, warnings: tuple[str, ...], seen: Clicks, *, is_probability_kept: bool
    ) -> tuple[Segmentation, dict[str, Any]]:
        """Return the segmentation, its network shown these clicks, and its entry of `results.json`."""
        run = run_walk if self._limit is None else self._limit.run
        maps: Maps = "probability" if is_probability_kept else "none"
        with show_passes(sys.stdout) as progress:
            result = self._segmenter.segment_loaded(
                loaded, clicks=seen, maps=maps, warnings=warnings, progress=progress, run_walk=run
            )
        remarks: dict[str, Any] = {"engine": result.provenance.engine}
        if self._limit is not None:
            remarks["time_limit"] = self._limit.record
        if result.warnings:
            remarks["warnings"] = list(result.warnings)
        return result.segmentation, remarks

    def save(self) -> None:
        """Write every file of the job, or none."""
        write_all(self._files.collect_contents(self._mask, self._case_results))


def run_job(args: argparse.Namespace, open_segmenter: Callable[[], Segmenter], rounds: Rounds | None = None) -> None:
    """Run one job, from the input folder to the output folder.

    Args:
        args: of the entry point.
        open_segmenter: returns the segmenter.
        rounds: keeps the last study for its next round; None if there is none.
    """
    limit = start_time_limit(args)
    clear_output(args.output, edition_name=args.edition)
    files = find_job_files(input_folder=args.input, output_folder=args.output, edition_name=args.edition)
    for path in files.outputs:
        probe_output(path)
    with ThreadPoolExecutor(2, "ahead") as pool, keep_study_warnings() as warnings:
        # The folds are opened in the background; meanwhile PET and CT are read.
        images = {
            name: StrictLoader(
                partial(read_image, path, form=args.nifti_form, air=air if args.nonfinite == "air" else None), pool
            )
            for name, path, air in (("pet", files.pet, 0.0), ("ct", files.ct, AIR_HU))
        }
        Autosegnet(files, images, warnings, open_segmenter(), limit, rounds).process()


def main() -> None:
    """Run one job, or serve jobs that share the loaded folds."""
    args = parse_job(prog="process.py", about=__doc__)
    log_to(sys.stdout)  # the platform marks a job with a warning if anything is on stderr
    open_segmenter = cache(
        partial(Segmenter, args.weights, device=args.device, fast=args.fast, precision=args.precision)
    )
    is_interactive = args.api == "invoke" and find_edition(args.edition).has_clicks
    job = partial(run_job, args, open_segmenter, LastStudy() if is_interactive else None)
    if args.api == "invoke":
        open_segmenter().open_engine()
        serve(job, host=args.host, port=args.port)
    else:
        job()


if __name__ == "__main__":
    sys.exit(run_program(main))
