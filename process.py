"""The platform's entry point: one study in, one lesion mask out, through evalutils' load-validate-process-save loop."""

import json
import os
import re
import sys
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

# Before numpy and scipy are imported: each would start a thread a core that nothing here gives work to.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import SimpleITK as sitk
from evalutils import SegmentationAlgorithm
from evalutils.io import ImageLoader

from autosegnet import challenge, console
from autosegnet.engines import open_engine
from autosegnet.geometry import voxels
from autosegnet.io import probe_output, read_image, write_all
from autosegnet.pipeline import segment
from autosegnet.study import checked_study
from autosegnet.weights import open_weights


class StrictLoader(ImageLoader):  # type: ignore[misc]
    """Feeds evalutils, which asks for every image twice, from our own reader, which refuses damaged files."""

    load_image = staticmethod(lru_cache(maxsize=2)(read_image))

    @staticmethod
    def hash_image(image: sitk.Image) -> int:
        """A checksum of the voxels."""
        return zlib.crc32(voxels(image).data)


class Autosegnet(SegmentationAlgorithm):  # type: ignore[misc]
    """The five-fold ensemble as an algorithm of the platform."""

    def __init__(self, files: challenge.Sockets, *, weights: Path | None, device: str, input_folder: Path) -> None:
        super().__init__(
            index_key="ct",
            file_loaders={"pet": StrictLoader(), "ct": StrictLoader()},
            file_filters={"pet": _exactly(files.pet), "ct": _exactly(files.ct)},
            validators={},
            input_path=input_folder,
        )
        self._files, self._weights, self._device = files, weights, device

    def process_case(self, *, idx: int, case: Any) -> dict[str, Any]:
        """What `results.json` says of the case; the mask is kept until `save`."""
        self._mask = self.predict(input_image=StrictLoader.load_image(case["path"]))
        return {
            "outputs": [{"type": "metaio_image", "filename": self._files.mask.name}],
            "inputs": [{"type": "metaio_image", "filename": path.name} for path in (self._files.pet, self._files.ct)],
            "error_messages": [],
        }

    def predict(self, *, input_image: sitk.Image) -> sitk.Image:
        """The lesion mask on the PET's grid, for a CT."""
        study = checked_study(pet=StrictLoader.load_image(self._cases["pet"]["path"][0]), ct=input_image)
        weights = open_weights(self._weights)
        engine = open_engine(weights, device=self._device)
        console.log_engine(engine, weights)
        with console.passes_shown(sys.stdout) as progress:
            mask = segment(study, engine, weights.recipe, progress=progress).mask
        console.log_lesions(mask)
        return mask

    def save(self) -> None:
        """Writes every file of the job, or none."""
        files: dict[Path, sitk.Image | str] = {
            self._files.mask: self._mask,
            self._files.results: json.dumps(self._case_results),
        }
        if self._files.data_centric is not None:
            files[self._files.data_centric] = json.dumps(False)
        write_all(files)


def _exactly(path: Path) -> re.Pattern[str]:
    return re.compile(re.escape(str(path)) + r"\Z")


def main() -> None:
    """One job."""
    parser = console.Parser(prog="process.py", description=__doc__)
    parser.add_argument("--input", type=Path, default=Path("/input"), help="folder of the job's input sockets")
    parser.add_argument("--output", type=Path, default=Path("/output"), help="folder of the job's output sockets")
    parser.add_argument(
        "--edition", default=challenge.DEFAULT_EDITION, help="autopet1 to autopet5 (default %(default)s)"
    )
    console.add_engine_arguments(parser)
    args = parser.parse_args()
    console.log_to(sys.stdout)  # the platform marks a job with a warning for anything on stderr
    files = challenge.sockets(input_folder=args.input, output_folder=args.output, edition_name=args.edition)
    probe_output(files.mask)
    Autosegnet(files, weights=args.weights, device=args.device, input_folder=args.input).process()


if __name__ == "__main__":
    sys.exit(console.run(main))
