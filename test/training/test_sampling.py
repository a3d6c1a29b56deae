"""Which patches are seen, and where they lie."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autosegnet_training.arrays import PreparedCase, load, open_prepared
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.sampling import (
    PatchSampler,
    draw_anywhere,
    draw_hot_voxel,
    lay,
    plan,
    read_patch,
    start_of_patch,
)

SETTINGS = TrainingConfiguration(patch=(16, 16, 16), batch=4, workers=2)


@pytest.fixture(scope="module")
def cases(prepared: Path) -> list[PreparedCase]:
    return [load(prepared, case.name) for case in open_prepared(prepared).cases]


def test_every_case_is_seen_in_every_epoch() -> None:
    settings = replace(SETTINGS, patches_per_case=2)
    steps = plan(settings, 7, epoch=3)
    assert steps.shape == (4, 4)
    seen = Counter(steps.ravel()[:14].tolist())
    assert seen == dict.fromkeys(range(7), 2)
    assert np.array_equal(steps, plan(settings, 7, epoch=3))
    assert not np.array_equal(steps, plan(settings, 7, epoch=4))
    assert not np.array_equal(steps, plan(replace(settings, seed=1), 7, epoch=3))


def test_patches_lie_everywhere_inside() -> None:
    rng = np.random.default_rng(0)
    starts = np.array([start_of_patch((20, 16, 9), (16, 16, 16), rng) for _ in range(300)])
    assert set(starts[:, 0]) == {0, 1, 2, 3, 4}
    assert set(starts[:, 1]) == {0}
    assert set(starts[:, 2]) == {-3}  # centred, the odd voxel behind, as inference pads


def test_a_patch_holds_the_voxel_it_must_hold() -> None:
    rng = np.random.default_rng(0)
    for voxel in ((0, 0, 0), (39, 49, 8), (20, 25, 4)):
        starts = np.array([start_of_patch((40, 50, 9), (16, 16, 16), rng, holding=voxel) for _ in range(200)])
        assert ((starts <= voxel) & (np.array(voxel) < starts + 16)).all()
        assert starts.min(axis=0)[0] >= 0
        assert starts.max(axis=0)[1] <= 34


def test_beyond_the_case_there_is_air() -> None:
    array = np.full((2, 4, 5, 6), 7.0, dtype=np.float32)
    case = PreparedCase("c", array, np.array([[0, 0, 0], [3, 4, 5]], dtype=np.int16))
    patch, label = read_patch(case, (-2, 0, 3), (16, 16, 16))
    assert patch[:, 2:6, :5, :3].min() == 7.0
    assert patch.sum() == 7.0 * 2 * 4 * 5 * 3
    assert np.argwhere(label[0]).tolist() == [[5, 4, 2]]


def test_lesion_patches_hold_lesions(cases: list[PreparedCase]) -> None:
    lesions = [case for case in cases if len(case.lesion)]
    always = PatchSampler(lesions, replace(SETTINGS, lesion_patches=1.0))
    assert all(batch.label.flatten(1).any(dim=1).all() for batch in always.iterate_epoch(0))


def test_what_is_read_depends_on_seed_and_epoch_only(cases: list[PreparedCase]) -> None:
    whole = list(PatchSampler(cases, SETTINGS).iterate_epoch(1))
    again = list(PatchSampler(cases, replace(SETTINGS, workers=1)).iterate_epoch(1))
    assert all(torch.equal(a.input, b.input) and a.draws == b.draws for a, b in zip(whole, again, strict=True))
    other = list(PatchSampler(cases, SETTINGS).iterate_epoch(2))
    assert whole[0].draws != other[0].draws


def test_an_epoch_goes_on_in_its_middle(cases: list[PreparedCase]) -> None:
    patches = PatchSampler(cases, replace(SETTINGS, patches_per_case=3))
    whole, rest = list(patches.iterate_epoch(0)), list(patches.iterate_epoch(0, first_step=1))
    assert len(whole) == 3
    assert all(torch.equal(a.input, b.input) and a.draws == b.draws for a, b in zip(whole[1:], rest, strict=True))


def test_processes_share_the_patches_of_one(cases: list[PreparedCase]) -> None:
    settings = replace(SETTINGS, micro_batch=1)
    one = list(PatchSampler(cases, settings).iterate_epoch(0))
    shares = [list(PatchSampler(cases, settings, rank=r, ranks=2).iterate_epoch(0)) for r in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    for k, batch in enumerate(one):
        assert torch.equal(batch.input, shares[k % 2][k // 2].input)
        assert batch.draws == shares[k % 2][k // 2].draws


def body(shape: tuple[int, int, int], suv: float = 1.0) -> PreparedCase:
    array = np.full((2, *shape), 0.5, dtype=np.float32)
    array[1] = suv
    return PreparedCase("body", array, np.array([[0, 0, 0]], dtype=np.int16))


def test_a_short_case_lies_anywhere_over_a_body() -> None:
    large, small = body((40, 40, 40)), body((8, 20, 16), suv=3.0)
    rng = np.random.default_rng(0)
    starts = {draw_anywhere((-4, 2, 0), small.shape, (16, 16, 16), rng) for _ in range(200)}
    assert {x for x, _, _ in starts} == set(range(-8, 1))
    assert {(y, z) for _, y, z in starts} == {(2, 0)}
    array, label = read_patch(large, (0, 0, 0), (16, 16, 16))
    assert label.sum() == 1
    lay(small, (-8, 2, 0), array, label)
    assert (array[1, :8] == 1).all()
    assert (array[1, 8:] == 3).all()
    assert label[0, 0, 0, 0] == 1  # of the body, where the other does not reach
    lay(small, (0, 2, 0), array, label)
    assert label.sum() == 0  # covered, and the other's own lesion voxel lies before the patch


def test_short_cases_are_laid_over_bodies_where_wanted() -> None:
    cases = [body((8, 8, 8), suv=3.0), body((40, 40, 40))]
    for wanted, around in ((0.0, 0.0), (1.0, 1.0)):
        found = []
        for batch in PatchSampler(cases, replace(SETTINGS, patches_per_case=8, fill_probability=wanted)).iterate_epoch(
            0
        ):
            found += [p for p in batch.input[:, 1] if (p == 3).any()]
        assert len(found) == 8
        assert all(float(p.min()) == around for p in found)


def test_every_slice_with_a_hot_voxel_is_shown_as_often() -> None:
    case = body((20, 20, 20))
    case.array[1, :, :, 18] = 5.0  # a brain
    case.array[1, 4:9, 3:9, 3] = 5.0  # a thirteenth of that: a bladder
    rng = np.random.default_rng(0)
    levels = [(draw_hot_voxel(case, rng) or (0, 0, 0))[2] for _ in range(300)]
    assert set(levels) == {3, 18}
    assert 110 < levels.count(3) < 190


def test_a_hot_voxel_is_found_where_there_is_one() -> None:
    case = body((20, 20, 20))
    assert draw_hot_voxel(case, np.random.default_rng(0)) is None
    case.array[1, 4:9, 3:9, 10:18] = 5.0
    x, y, z = draw_hot_voxel(case, np.random.default_rng(0)) or (0, 0, 0)
    assert case.array[1, x, y, z] == 5
    for batch in PatchSampler([case], replace(SETTINGS, patches_per_case=8, hot_patches=1.0)).iterate_epoch(0):
        assert all((p == 5).any() for p in batch.input[:, 1])


def test_small_lesions_come_as_often_as_large_ones_if_a_lesion_is_drawn_first() -> None:
    large = np.argwhere(np.ones((10, 10, 10)))
    lesion = np.concatenate([large, [[40, 40, 40]]]).astype(np.int16)
    array = np.zeros((2, 48, 48, 48), dtype=np.float32)
    counts = {}
    for first in (False, True):
        settings = replace(
            SETTINGS, batch=1, patches_per_case=100, lesion_patches=1.0, lesion_first=first, affine_probability=0.0
        )
        labels = [
            batch.label.sum() for batch in PatchSampler([PreparedCase("c", array, lesion)], settings).iterate_epoch(0)
        ]
        counts[first] = sum(int(n) == 1 for n in labels)
    assert counts[False] <= 3
    assert 30 <= counts[True] <= 70
