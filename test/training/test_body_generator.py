"""Training patches from label volumes: deterministic, in the right units, with truth where the lesions are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from autosegnet.errors import InputError
from petct_simulator.bodies import make_body
from petct_simulator.cohorts import FITTED
from petct_simulator.fields import blur, smooth_field
from petct_simulator.generator import BodyGenerator, BodyLibrary, Patches
from petct_simulator.label_volume import LabelVolume, held_out_maps, is_held_out, pack, read_label_volume
from petct_simulator.lesion_plan import plan_lesions, split_burden
from petct_simulator.paste import RealCrop, cut_randomly, paste_real, weigh_cold
from petct_simulator.pet_image import add_noise
from petct_simulator.placement import pad_labels, place_varied, place_whole
from petct_simulator.regions import find_regions

CPU = torch.device("cpu")
SPACING = (8.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def body() -> LabelVolume:
    return make_body("one", 3, SPACING)


@pytest.fixture(scope="module")
def generator(body: LabelVolume) -> BodyGenerator:
    return make_generator(body)


def make_generator(body: LabelVolume, **options: float) -> BodyGenerator:
    return BodyGenerator(BodyLibrary([body], CPU), patch=(40, 32, 24), spacing_mm=8.0, seed=7, **options)


def test_patches_follow_from_seed_and_step_alone(body: LabelVolume, generator: BodyGenerator) -> None:
    generator.make_patches(0, 1)
    again = make_generator(body).make_patches(3, 2)
    first = generator.make_patches(3, 2)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.truth, again.truth)


def test_a_patch_does_not_depend_on_how_many_are_made(generator: BodyGenerator) -> None:
    assert torch.equal(generator.make_patches(5, 1).image[0], generator.make_patches(5, 3).image[0])


def test_steps_differ(generator: BodyGenerator) -> None:
    assert not torch.equal(generator.make_patches(1, 1).image, generator.make_patches(2, 1).image)


def test_patches_have_the_stated_shapes_types_and_ranges(generator: BodyGenerator) -> None:
    patches = generator.make_patches(4, 3)
    assert patches.image.shape == (3, 2, 40, 32, 24)
    assert patches.truth.shape == (3, 1, 40, 32, 24)
    assert (patches.image.dtype, patches.truth.dtype) == (torch.float32, torch.uint8)
    assert patches.image.isfinite().all()
    assert patches.image[:, 0].min() >= 0
    assert patches.image[:, 0].max() <= 1
    assert patches.image[:, 1].min() >= 0
    assert patches.truth.max() <= 1


def test_most_patches_on_lesions_hold_truth(body: LabelVolume) -> None:
    made = make_generator(body, lesion_share=1.0).make_patches(0, 12)
    assert (made.truth.flatten(1).sum(1) > 0).sum() >= 10


def test_bodies_without_lesions_have_no_truth(body: LabelVolume) -> None:
    made = make_generator(body, lesion_share=0.0, negative_share=1.0).make_patches(0, 6)
    assert made.truth.sum() == 0


def test_lesions_are_hotter_than_their_surroundings(body: LabelVolume) -> None:
    made = make_generator(body, lesion_share=1.0).make_patches(1, 16)
    ratios = []
    for image, truth in zip(made.image[:, 1], made.truth[:, 0], strict=True):
        if truth.sum() > 20:
            around = torch.nn.functional.max_pool3d(truth[None].float(), 5, 1, 2)[0] - truth
            ratios.append(float(image[truth > 0].mean() / image[around > 0].mean()))
    assert len(ratios) > 5
    assert np.median(ratios) > 1.5


def test_a_label_volume_survives_its_file(body: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    path.write_bytes(pack(body))
    found = read_label_volume(path)
    np.testing.assert_array_equal(found.labels, body.labels)
    np.testing.assert_array_equal(found.reference, body.reference)
    assert (found.name, found.spacing_mm, found.weight_kg) == (body.name, body.spacing_mm, body.weight_kg)


@pytest.mark.parametrize("content", [b"no archive", b"PK\x03\x04 cut off", b""])
def test_a_damaged_label_volume_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a label volume"):
        read_label_volume(path)


def test_the_whole_body_is_sampled_as_it_is(body: LabelVolume) -> None:
    sampled = place_whole(body).sample(pad_labels(body, CPU))
    np.testing.assert_array_equal(sampled.numpy(), body.labels)


def test_a_place_in_the_body_is_found_in_a_bent_patch(body: LabelVolume) -> None:
    """Label every voxel by its number: the patch's voxel nearest to a place must show that place."""
    marked = np.zeros_like(body.labels)
    at = np.array(body.labels.shape) // 2
    marked[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2, at[2] - 1 : at[2] + 2] = 1
    marked_body = LabelVolume("m", marked, body.spacing_mm, body.reference, 70.0)
    focus = at + np.array([3.0, -2.0, 1.0])
    for seed in range(8):
        rng = np.random.default_rng(seed)
        placement = place_varied(marked_body, focus, (40, 32, 24), 8.0, (0, body.labels.shape[2] - 1.0), rng)
        seen = np.argwhere(placement.sample(pad_labels(marked_body, CPU)).numpy() == 1)
        np.testing.assert_allclose(placement.to_patch(at[None].astype(float))[0], seen.mean(0), atol=0.8)


def test_held_out_maps_are_at_least_24_and_whole_patients() -> None:
    assert len(held_out_maps()) >= 24
    for name in held_out_maps():
        assert is_held_out(name)
        assert is_held_out("_".join(name.split("_")[:2]) + "_01-01-2000")
    assert not is_held_out("fdg_0000000000_01-01-2000")


def test_smooth_fields_have_unit_variance_and_the_stated_width() -> None:
    field = smooth_field((96, 96, 96), (6.0, 6.0, 3.0), torch.Generator().manual_seed(1))
    assert field.std() == pytest.approx(1.0, abs=0.03)
    # White noise through a Gaussian of width w is correlated by a half at a distance of w / sqrt(2).
    lag = round(6.0 / 2**0.5)
    correlation = (field[lag:] * field[:-lag]).mean() / field.var()
    assert correlation == pytest.approx(np.exp(-2 * np.log(2) * (lag / 6.0) ** 2), abs=0.05)


def test_blur_keeps_a_constant() -> None:
    torch.testing.assert_close(blur(torch.full((9, 8, 7), 2.0), (1.0, 2.0, 0.5)), torch.full((9, 8, 7), 2.0))


def real_crop() -> RealCrop:
    image, truth = torch.full((2, 20, 18, 16), 0.5), torch.zeros(1, 20, 18, 16, dtype=torch.uint8)
    image[1] = 1.0
    image[1, 8:12, 8:12, 6:10] = 9.0
    truth[0, 8:12, 8:12, 6:10] = 1
    return RealCrop(image, truth, np.argwhere(truth[0].numpy()))


def test_pasting_follows_from_seed_and_step(generator: BodyGenerator) -> None:
    patches = generator.make_patches(0, 2)
    first = paste_real(patches, [real_crop(), None], seed=1, step=2)
    again = paste_real(patches, [real_crop(), None], seed=1, step=2)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.image[1], patches.image[1])


def test_a_pasted_lesion_keeps_its_truth_and_uptake() -> None:
    empty = Patches(torch.zeros(1, 2, 40, 40, 40), torch.zeros(1, 1, 40, 40, 40, dtype=torch.uint8))
    for step in range(10):
        pasted = paste_real(empty, [real_crop()], seed=0, step=step, lesion_share=1.0)
        inside = pasted.truth[0, 0] > 0
        assert inside.any()
        assert (pasted.image[0, 1][inside] > 4).all()


def test_a_cut_that_holds_the_lesion_shows_some_of_it() -> None:
    rng = np.random.default_rng(0)
    assert all(cut_randomly(real_crop(), rng, holding_lesion=True).truth.any() for _ in range(30))


def test_only_cold_parts_of_a_real_lesion_weigh_less() -> None:
    pet, truth = torch.ones(1, 9, 9, 9), torch.zeros(1, 9, 9, 9)
    pet[0, :, :, 5:] = 6.0
    truth[0, 2:7, 2:7, 1:8] = 1
    weight = weigh_cold(pet, truth)
    assert (weight[truth == 0] == 1).all()
    assert (weight[0, 4, 4, 1:3] < 0.5).all()
    assert (weight[0, 4, 4, 6:8] == 1).all()


def test_every_kind_of_spread_is_drawn(body: LabelVolume) -> None:
    """Conglomerates, diffuse marrow and spleen, coats of pleura and peritoneum, bone within and beyond its cortex."""
    regions = find_regions(body)
    found: set[str] = set()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        for lesion in plan_lesions(("lymphoma", "lung_cancer", "melanoma")[seed % 3], regions, rng, varied=False):
            kind = "diffuse" if lesion.diffuse else "conglomerate" if len(lesion.radii_mm) > 1 else "ball"
            found |= {kind, lesion.site, f"{lesion.site} {'within' if lesion.within else 'beyond'}"}
    assert {"diffuse", "conglomerate", "peritoneum", "pleura within", "thoracic spine beyond"} <= found


@pytest.mark.parametrize(("cohort", "shares_a_site"), [("melanoma", 0.33), ("lung_cancer", 0.17), ("lymphoma", 0.34)])
def test_lesions_lie_at_the_fitted_sites(body: LabelVolume, cohort: str, shares_a_site: float) -> None:
    """Sites of up to ten lesions of each study, and how often two of a study share one (real: see `cohorts`)."""
    regions = find_regions(body)
    sites: Counter[str] = Counter()
    shared = []
    for seed in range(250):
        rng = np.random.default_rng(seed)
        # The rare coats of plaques are no part of the fitted number.
        lesions = [one for one in plan_lesions(cohort, regions, rng, varied=False) if one.site in FITTED[cohort].sites]
        ten = Counter(lesions[i].site for i in rng.permutation(len(lesions))[:10])
        sites.update(ten)
        count = sum(ten.values())
        if count > 1:
            shared.append(sum(n * (n - 1) for n in ten.values()) / (count * (count - 1)))
    fitted = FITTED[cohort].sites
    for site in sorted(fitted, key=fitted.__getitem__)[-3:]:
        assert sites[site] / sites.total() == pytest.approx(fitted[site] / sum(fitted.values()), rel=0.35), site
    assert np.mean(shared) == pytest.approx(shares_a_site, abs=0.08)


def test_noise_is_skewed_and_keeps_mean_and_sd() -> None:
    generator = torch.Generator().manual_seed(1)
    mean = torch.full((60, 60, 60), 2.8)
    noisy = add_noise(mean.clone(), torch.randn(mean.shape, generator=generator), torch.tensor(0.2 * 2.8**0.25), 0.05)
    assert float(noisy.mean()) == pytest.approx(2.8, rel=0.01)
    assert float(noisy.std() / noisy.mean()) == pytest.approx(0.2, rel=0.03)
    assert float((((noisy - noisy.mean()) / noisy.std()) ** 3).mean()) == pytest.approx(0.6, abs=0.1)
    air = add_noise(torch.zeros(9, 9, 9), torch.randn(9, 9, 9, generator=generator), torch.tensor(2.0), 0.05)
    assert float(air.min()) == 0.0 < float(air.max())


def test_lesions_of_a_study_lie_apart(body: LabelVolume) -> None:
    """The fitted numbers count components. At random places, one lesion in seven touched another."""
    regions = find_regions(body)
    touching = 0
    lesions = 0
    for seed in range(30):
        balls = [one for one in plan_lesions("lymphoma", regions, np.random.default_rng(seed), varied=False)
                 if len(one.radii_mm) == 1 and not one.diffuse and one.site != "peritoneum"]  # fmt: skip
        if len(balls) < 2:
            continue
        centres_mm = np.stack([ball.centre for ball in balls]) * body.spacing_mm
        radii_mm = np.array([ball.radius_mm for ball in balls])
        away_mm = np.linalg.norm(centres_mm[:, None] - centres_mm, axis=2) - radii_mm - radii_mm[:, None]
        np.fill_diagonal(away_mm, np.inf)
        touching += int((away_mm.min(axis=1) < 0).sum())
        lesions += len(balls)
    assert lesions > 200
    assert touching < 0.04 * lesions, f"{touching} of {lesions}"


def test_the_parts_of_a_burden_add_up() -> None:
    volumes = split_burden(20, 300.0, 1.5, np.random.default_rng(0))
    assert volumes.sum() == pytest.approx(300.0, rel=0.02)
    assert (np.diff(volumes) <= 0).all()


def test_a_cpu_does_not_keep_a_second_copy_of_every_body(body: LabelVolume) -> None:
    on_cpu, elsewhere = BodyLibrary([body], CPU), BodyLibrary([body], torch.device("meta"))
    assert on_cpu.pad_labels(0) is not on_cpu.pad_labels(0)
    assert torch.equal(on_cpu.pad_labels(0), on_cpu.pad_labels(0))
    assert elsewhere.pad_labels(0) is elsewhere.pad_labels(0)
