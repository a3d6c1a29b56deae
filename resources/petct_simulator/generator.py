"""Training patches made anew: label volumes in, PET, CT and truth out, on the training device.

Every patch follows from (seed, step, its number in the step), whatever was made before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from petct_simulator.cohorts import COHORTS
from petct_simulator.examination import draw_examination
from petct_simulator.fields import Shape
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import PlannedLesion, plan_benign, plan_lesions
from petct_simulator.placement import pad_labels, place_varied
from petct_simulator.regions import Regions, find_regions
from petct_simulator.render import Rendered, render
from petct_simulator.tissue import Tissue

T = Tissue
CT_WINDOW_HU = (-1024.0, 1024.0)
# What is hot in healthy bodies: patches are centred on it more often than its volume would have it.
_ORGANS: tuple[tuple[Tissue, ...], ...] = (
    (T.GREY_MATTER, T.WHITE_MATTER, T.DEEP_GREY), (T.CEREBELLUM,), (T.KIDNEY, T.RENAL_PELVIS), (T.BLADDER, T.URETHRA),
    (T.MYOCARDIUM, T.HEART_WALL), (T.LIVER,), (T.SPLEEN,), (T.STOMACH_WALL,), (T.SMALL_BOWEL,), (T.COLON_WALL,),
    (T.TONSIL, T.MUCOSA, T.TONGUE), (T.LARYNX,), (T.SALIVARY,), (T.THYROID,), (T.OESOPHAGUS,), (T.TESTIS, T.UTERUS),
    (T.URETER,), (T.BLOOD,), (T.RED_MARROW,), (T.BROWN_FAT,), (T.MUSCLE,),
)  # fmt: skip
_POSITIVE = (*(c for c in COHORTS if c != "negative"), "sarcoma")


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of one step.

    Args:
        image: (B, 2, X, Y, Z) float32; channel 0 the CT in [0, 1] over `FUSION_WINDOW_HU`, channel 1 the PET in SUV.
        truth: (B, 1, X, Y, Z) uint8, 1 in lesions.
        weight: (B, 1, X, Y, Z) float32, how much each voxel counts in the loss; None: all count 1.
    """

    image: torch.Tensor
    truth: torch.Tensor
    weight: torch.Tensor | None = None


class BodyLibrary:
    """Label volumes and what is derived from each, kept so that several generators share it.

    Args:
        volumes: one or more.
        device: where their labels are kept.
        regions: of each volume; found when they are first needed if not given.
    """

    def __init__(
        self, volumes: Sequence[LabelVolume], device: torch.device, regions: Sequence[Regions] | None = None
    ) -> None:
        if not volumes:
            raise ValueError("a generator needs one label volume at least, found none")
        self.volumes, self.device = list(volumes), device
        self._regions = dict(enumerate(regions or ()))
        self._padded: dict[int, torch.Tensor] = {}

    def find_regions(self, index: int) -> Regions:
        """Return where lesions of a volume can sit."""
        if index not in self._regions:
            self._regions[index] = find_regions(self.volumes[index])
        return self._regions[index]

    def pad_labels(self, index: int) -> torch.Tensor:
        """Return the labels of a volume on the device, with a border of air. Only another device keeps them.

        On the CPU they would double the memory of a process, 4.5 MB per body, and are copied in 2 ms.
        """
        if self.device.type == "cpu":
            return pad_labels(self.volumes[index], self.device)
        if index not in self._padded:
            self._padded[index] = pad_labels(self.volumes[index], self.device)
        return self._padded[index]


class BodyGenerator:
    """Makes training patches from label volumes.

    Args:
        bodies: label volumes, on the device where patches are made.
        patch: (X, Y, Z) in voxels.
        spacing_mm: of the patches.
        seed: of everything.
        lesion_share: share of patches centred near a lesion.
        hot_share: share of patches centred near a hot organ; the rest lie anywhere, the scan's ends among them.
        negative_share: share of bodies without lesions among the patches that are not centred on one.
        varied: vary uptake, patterns and scanner beyond the plausible.
    """

    def __init__(
        self,
        bodies: BodyLibrary,
        *,
        patch: Shape,
        spacing_mm: float,
        seed: int,
        lesion_share: float = 0.4,
        hot_share: float = 0.35,
        negative_share: float = 0.4,
        varied: bool = True,
    ) -> None:
        self._bodies, self._device = bodies, bodies.device
        self._patch, self._spacing_mm = patch, spacing_mm
        self._seed = seed
        self._lesion_share, self._hot_share, self._negative_share = lesion_share, hot_share, negative_share
        self._varied = varied

    @torch.no_grad()
    def make_patches(self, step: int, count: int) -> Patches:
        """Return the patches of a step; the same seed, step and count return the same patches on the same device."""
        made = [self._make(step, number) for number in range(count)]
        low, high = CT_WINDOW_HU
        image = torch.stack([torch.stack([((m.ct - low) / (high - low)).clamp_(0.0, 1.0), m.pet]) for m in made])
        return Patches(image, torch.stack([m.truth for m in made])[:, None])

    def _make(self, step: int, number: int) -> Rendered:
        rng = np.random.default_rng([self._seed, step, number])
        generator = torch.Generator(self._device).manual_seed(int(rng.integers(2**62)))
        index = int(rng.integers(len(self._bodies.volumes)))
        body, regions = self._bodies.volumes[index], self._bodies.find_regions(index)
        on_lesion = rng.random() < self._lesion_share
        heights = _draw_heights(body, rng)
        cohort = "negative" if not on_lesion and rng.random() < self._negative_share else str(rng.choice(_POSITIVE))
        planned = plan_lesions(cohort, regions, rng, varied=self._varied)
        shown = [lesion for lesion in planned if heights[0] <= lesion.centre[2] <= heights[1] or lesion.diffuse]
        focus = self._draw_focus(body, regions, shown if on_lesion else [], heights, rng)
        focus[2] = np.clip(focus[2], *heights)
        placement = place_varied(body, focus, self._patch, self._spacing_mm, heights, rng)
        examination = draw_examination(rng, body.weight_kg, varied=self._varied)
        lesions = shown + plan_benign(regions, rng)
        return render(body, self._bodies.pad_labels(index), placement, examination, lesions, generator, rng)

    def _draw_focus(
        self,
        body: LabelVolume,
        regions: Regions,
        lesions: Sequence[PlannedLesion],
        heights: tuple[float, float],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Return the voxel of the body at the patch's centre: off a lesion's or a hot organ's middle, or anywhere."""
        away = rng.uniform(-0.38, 0.38, 3) * self._patch * self._spacing_mm / body.spacing_mm
        if lesions:  # a lesion, not a voxel of one: small ones count as much as large ones
            return np.asarray(lesions[int(rng.integers(len(lesions)))].centre + away)
        organs = [group for group in _ORGANS if any(t in regions.tissue for t in group)]
        if rng.random() < self._hot_share / max(1.0 - self._lesion_share, 1e-6) and organs:
            group = [t for t in organs[rng.integers(len(organs))] if t in regions.tissue]
            voxels = regions.tissue[group[rng.integers(len(group))]]
            return np.asarray(voxels[rng.integers(len(voxels))] + away)
        focus = rng.uniform(0.2, 0.8, 3) * body.labels.shape
        focus[2] = rng.uniform(*heights)
        if rng.random() < 0.2:  # an end of the scan
            focus[2] = heights[int(rng.integers(2))] + rng.normal(0.0, 4.0)
        return focus


def _draw_heights(body: LabelVolume, rng: np.random.Generator) -> tuple[float, float]:
    """Return first and last slice of the scan: in half of the cases the volume's own, else cut anywhere."""
    last = body.labels.shape[2] - 1.0
    if rng.random() < 0.5:
        return 0.0, last
    length = float(rng.uniform(0.25, 0.95)) * last
    first = float(rng.uniform(0.0, last - length))
    return first, first + length
