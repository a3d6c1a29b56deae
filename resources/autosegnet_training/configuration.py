"""Every setting of a training run, as one value that is stored with the run.

`autosegnet.model.recipe` holds what a trained fold needs to run; `prepare` chooses its spacing, CT window and crop.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field, fields, replace
from math import pi
from typing import Any

from autosegnet.errors import UsageError

OPTIMISERS = ("adam", "adamw")
TRAINING_PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def _define_setting(default: Any, what: str) -> Any:
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfiguration:
    """Hold the settings of a run: the paper's, and if it is silent, rows 2 to 16 of docs/explanation/decisions.md."""

    preset: str = _define_setting("paper", "preset from which the other settings start")
    seed: int = _define_setting(0, "seed of every random number: initial weights, patches, augmentation")
    epochs: int = _define_setting(
        300, "paper, section 2.4; one epoch sees every training case `patches_per_case` times"
    )
    minutes: float = _define_setting(
        0.0,
        "train for this many minutes instead of a number of epochs; the learning rate follows the clock; 0: by epochs",
    )
    patches_per_case: int = _define_setting(1, "random patches of every training case in an epoch")
    batch: int = _define_setting(4, "patches behind one step of the optimiser, over all processes; paper, section 2.4")
    micro_batch: int = _define_setting(0, "patches that go through the network at once; 0: the share of one process")
    patch: tuple[int, int, int] = _define_setting((192, 192, 192), "voxels of a training patch; paper, section 2.2 (i)")
    inference_patch: tuple[int, int, int] = _define_setting(
        (192, 192, 192), "window of validation and of the exported recipe; paper, section 2.5"
    )
    overlap: float = _define_setting(0.5, "overlap of neighbouring windows, as a fraction; paper, section 2.5")
    lesion_patches: float = _define_setting(
        0.0, "fraction of patches that must hold a lesion voxel, if the case has one"
    )
    lesion_first: bool = _define_setting(
        False,
        "draw a lesion first, then its voxel, so that small lesions come as often as large ones; not in the paper",
    )
    hot_patches: float = _define_setting(0.0, "fraction of the other patches that must hold a voxel of SUV above 4")
    fill_probability: float = _define_setting(
        0.0,
        "probability of laying a case smaller than a patch over a patch of a larger case, instead of air around it",
    )
    labels: str = _define_setting("", "folder that label-volumes wrote; every patch gets a newly simulated body")
    simulated_patches: float = _define_setting(0.0, "fraction of patches that show such a body instead of the case")
    initial: str = _define_setting(
        "", "trained network to start from, a state dict (.pt) or a fold (.safetensors); none: random weights"
    )

    click_channels: bool = _define_setting(
        False,
        "train a network that takes a reader's clicks in two more channels; they are simulated in every patch; not in "
        "the paper",
    )
    click_reach_mm: float = _define_setting(
        12.0, "each click channel falls from 1 at a click to 0 at this distance from it, in mm"
    )

    optimiser: str = _define_setting("adam", "adam (paper, section 2.4) or adamw")
    learning_rate: float = _define_setting(
        1e-3, "learning rate at the start; a cosine takes it to 0 over the epochs; paper, section 2.4"
    )
    weight_decay: float = _define_setting(0.0, "weight decay of the optimiser")
    focal_gamma: float = _define_setting(2.0, "exponent of the focal loss; paper, section 2.4")
    focal_weights: tuple[float, float] = _define_setting(
        (1.0, 100.0), "weights of background and lesion; paper, section 2.4"
    )

    false_volume: float = _define_setting(0.0, "weight of the loss's term for false volume; not in the paper")

    affine_probability: float = _define_setting(
        0.5, "probability of translation, rotation and scaling of a patch; authors' code of 2024"
    )
    translation_voxels: float = _define_setting(10.0, "largest shift along each axis; paper, section 2.2 (ii)")
    rotation_rad: float = _define_setting(pi / 12, "largest axial rotation; paper, section 2.2 (iii)")
    scaling: float = _define_setting(0.1, "scale along each axis is drawn from 1 - scaling to 1 + scaling; paper, (iv)")
    elastic_probability: float = _define_setting(0.5, "probability of elastic deformation; authors' code of 2024")
    elastic_sigma: tuple[float, float] = _define_setting(
        (0.0, 1.0), "SD in voxels of the smoothing of the offsets; paper, (v)"
    )
    elastic_magnitude: tuple[float, float] = _define_setting((0.0, 1.0), "range of the offsets in voxels; paper, (v)")
    gamma_probability: float = _define_setting(
        0.3, "probability of gamma correction of CT and PET; authors' code of 2024"
    )
    gamma: tuple[float, float] = _define_setting((0.7, 1.5), "range of the exponent; paper, section 2.2 (vi)")
    noise_probability: float = _define_setting(
        0.5, "probability of Gaussian noise on CT and PET; authors' code of 2024"
    )
    noise_sigma: float = _define_setting(
        0.1, "largest SD of the noise; the paper's 1 would destroy a CT in [0, 1]; MONAI's default"
    )
    flip_probability: float = _define_setting(0.0, "probability of mirroring along each axis; not in the paper")
    suv_probability: float = _define_setting(0.0, "probability of scaling the PET; not in the paper")
    suv_factor: tuple[float, float] = _define_setting((0.8, 1.25), "range of the PET's factor; not in the paper")

    blur_probability: float = _define_setting(0.0, "probability of blurring the PET; not in the paper")
    blur_voxels: tuple[float, float] = _define_setting((0.25, 2.0), "range of the blur's full width at half maximum")
    cut_probability: float = _define_setting(
        0.0, "probability of a field of view that ends inside the patch; not in the paper"
    )

    validate_every: int = _define_setting(4, "epochs between validations, besides the last one; authors' code of 2024")
    precision: str = _define_setting(
        "auto",
        "arithmetic of the network: auto (bfloat16 or float16 on CUDA, else float32), or one of them (on a CPU with "
        "AVX-512 BF16 instructions, bfloat16 is faster too)",
    )
    channels_last: bool = _define_setting(True, "memory format channels_last_3d")
    compile: bool = _define_setting(False, "compile the network with torch.compile")
    frozen_norm: bool = _define_setting(
        False, "batch norm keeps the running statistics of --initial, which inference uses, instead of the patches' own"
    )
    frozen_bottom: bool = _define_setting(
        False, "the convolutions of the deepest level, 56 % of all weights, stay those of --initial"
    )
    workers: int = _define_setting(4, "threads of each process that read patches")
    checkpoint_minutes: float = _define_setting(
        10.0, "at most this long between checkpoints; one ends every epoch as well"
    )

    def __post_init__(self) -> None:
        """Raise UsageError if training is impossible with a value."""
        for name in ("epochs", "patches_per_case", "batch", "validate_every", "workers"):
            _require(getattr(self, name) >= 1, name, self, "at least 1")
        for name in ("patch", "inference_patch"):
            _require(all(n > 0 and n % 16 == 0 for n in getattr(self, name)), name, self, "multiples of 16")
        for name in (f.name for f in fields(self) if f.name.endswith("_probability")):
            _require(0.0 <= getattr(self, name) <= 1.0, name, self, "from 0 to 1")
        _require(0.0 <= self.lesion_patches <= 1.0, "lesion_patches", self, "from 0 to 1")
        _require(0.0 <= self.hot_patches <= 1.0, "hot_patches", self, "from 0 to 1")
        _require(0.0 <= self.simulated_patches <= 1.0, "simulated_patches", self, "from 0 to 1")
        _require(self.simulated_patches == 0.0 or bool(self.labels), "simulated_patches", self, "--labels with it")
        _require(self.minutes >= 0.0, "minutes", self, "at least 0")
        _require(self.false_volume >= 0.0, "false_volume", self, "at least 0")
        _require(0.0 <= self.overlap < 1.0, "overlap", self, "from 0 to below 1")
        _require(0.0 <= self.scaling < 1.0, "scaling", self, "from 0 to below 1")
        _require(self.learning_rate > 0.0, "learning_rate", self, "above 0")
        _require(self.optimiser in OPTIMISERS, "optimiser", self, " or ".join(OPTIMISERS))
        _require(self.precision in TRAINING_PRECISIONS, "precision", self, " or ".join(TRAINING_PRECISIONS))
        _require(
            self.micro_batch >= 0 and (self.micro_batch == 0 or self.batch % self.micro_batch == 0),
            "micro_batch",
            self,
            f"0 or a divisor of batch {self.batch}",
        )
        _require(1.0 <= self.click_reach_mm <= 100.0, "click_reach_mm", self, "from 1 to 100")
        for name in ("frozen_norm", "frozen_bottom"):
            _require(not getattr(self, name) or bool(self.initial), name, self, "--initial with it")
        # The SD of the smoothing reaches into 3 voxels on either side.
        _require(0 <= self.elastic_sigma[0] <= self.elastic_sigma[1] <= 1, "elastic_sigma", self, "from 0 to 1")


def _require(holds: bool, name: str, configuration: TrainingConfiguration, expected: str) -> None:
    if not holds:
        option = name.replace("_", "-")
        raise UsageError(f"--{option} is {getattr(configuration, name)}; expected {expected}")


PRESETS: dict[str, TrainingConfiguration] = {
    "paper": TrainingConfiguration(),
    # github.com/ahxmeds/autopet2024, task1/monai/segmentation: initialize_train.py and train.sh. Their loss of that
    # year differs (a weighted Dice); the paper's is kept.
    "authors-2024": TrainingConfiguration(
        preset="authors-2024",
        patch=(128, 128, 128),
        batch=16,
        optimiser="adamw",
        learning_rate=2e-4,
        weight_decay=1e-5,
        epochs=400,
    ),
    # For few cases on little hardware, cases prepared at 4 mm with SUV up to 20. Why: docs/evidence/training-log.md.
    "starter": TrainingConfiguration(
        preset="starter",
        patch=(64, 64, 64),
        inference_patch=(128, 128, 128),
        epochs=100,
        lesion_patches=0.5,
        lesion_first=True,
        hot_patches=0.4,
        fill_probability=0.5,
        optimiser="adamw",
        weight_decay=1e-5,
        focal_gamma=1.0,
        focal_weights=(10.0, 400.0),
        affine_probability=0.3,
        translation_voxels=5.0,
        elastic_probability=0.0,
        suv_probability=0.5,
        blur_probability=0.35,
        cut_probability=0.25,
        false_volume=0.2,
        validate_every=5,
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --preset and one option for every other setting."""
    parser.add_argument("--preset", choices=sorted(PRESETS), default="paper", help="default: %(default)s")
    group = parser.add_argument_group("settings", "each overrides the preset; the defaults shown are the paper's")
    for f in fields(TrainingConfiguration):
        if f.name == "preset":
            continue
        default: Any = f.default
        kind, count = (type(default[0]), len(default)) if isinstance(default, tuple) else (type(default), None)
        group.add_argument(
            "--" + f.name.replace("_", "-"),
            dest=f.name,
            type=_parse_truth if kind is bool else kind,
            nargs=count,
            default=argparse.SUPPRESS,
            metavar=kind.__name__.upper(),
            help=f"{f.metadata['what']} ({_show_default(default)})".replace("%", "%%"),
        )


def _show_default(default: Any) -> str:
    values = default if isinstance(default, tuple) else (default,)
    return " ".join(f"{v:.4g}" if isinstance(v, float) else str(v).lower() for v in values)


def _parse_truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected true or false")
    return text.lower() == "true"


def read_configuration(args: argparse.Namespace) -> TrainingConfiguration:
    """Return the settings of a command line: its preset, with the options that override it.

    Raises:
        UsageError: training is impossible with a value.
    """
    named: dict[str, Any] = {
        f.name: getattr(args, f.name) for f in fields(TrainingConfiguration) if hasattr(args, f.name)
    }
    named.pop("preset", None)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in named.items()}
    return replace(PRESETS[args.preset], **values)


def describe_configuration(configuration: TrainingConfiguration) -> dict[str, Any]:
    """Return the settings as JSON values, with lists instead of tuples."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(configuration)))
    return values
