"""Simulated patients on two dates: fates of lesions, and places that are known in both studies."""

import numpy as np
import pytest

from petct_simulator.change_plan import COURSES, MOST_FOLLOWED, plan_changes
from petct_simulator.lesion_plan import PlannedLesion


def lesion(*, diffuse: bool = False, site: str = "lung", radius_mm: float = 12.0) -> PlannedLesion:
    return PlannedLesion(
        site, np.array([10.0, 10.0, 10.0]), np.zeros((1, 3)), np.array([radius_mm]), np.ones(1), 8.0, None,
        diffuse=diffuse,
    )  # fmt: skip


def test_a_stable_patient_keeps_every_lesion() -> None:
    first, second = plan_changes([lesion()] * 4, [], "stable", np.random.default_rng(0))
    assert [f.identity for f in first] == [f.identity for f in second] == [1, 2, 3, 4]


def test_nothing_is_left_after_a_complete_response() -> None:
    first, second = plan_changes([lesion()] * 4, [lesion()] * 4, "complete", np.random.default_rng(0))
    assert len(first) == 4
    assert second == []


def test_lesions_of_one_identity_keep_their_fate_and_new_ones_have_an_identity_of_their_own() -> None:
    first, second = plan_changes([lesion()] * 20, [lesion()] * 9, "progression", np.random.default_rng(3))
    old = {f.identity: f.fate for f in first}
    new = [f for f in second if f.fate == "new"]
    assert new
    assert not {f.identity for f in new} & set(old)
    assert all(old[f.identity] == f.fate for f in second if f.fate != "new")


@pytest.mark.parametrize("course", COURSES)
def test_parts_of_a_split_lesion_do_not_touch(course: str) -> None:
    for follows in plan_changes([lesion()] * 20, [], course, np.random.default_rng(5)):
        for fate in ("split", "merged"):
            parts = [f for f in follows if f.fate == fate]
            for one in parts:
                for other in parts:
                    if one is not other and one.identity == other.identity:
                        apart = np.linalg.norm(one.lesion.offsets_mm - other.lesion.offsets_mm)
                        assert apart - one.lesion.radii_mm[0] - other.lesion.radii_mm[0] > 8.0


def test_diffuse_lesions_and_those_that_move_with_the_arms_are_not_followed() -> None:
    first, _ = plan_changes([lesion(diffuse=True), lesion(site="arm")], [], "stable", np.random.default_rng(0))
    assert first == []
    first, _ = plan_changes([lesion()] * 99, [], "stable", np.random.default_rng(0))
    assert len(first) == MOST_FOLLOWED


@pytest.mark.slow
def test_a_pair_shows_its_landmarks_and_links_in_both_studies() -> None:
    from petct_simulator.pairs import simulate_pair

    pair = simulate_pair(11, cohort="lung_cancer")
    assert len(pair.landmarks) == len(pair.baseline_ct_mm) == len(pair.followup_ct_mm) > 50
    for study, points in ((pair.baseline, pair.baseline_ct_mm), (pair.followup, pair.followup_ct_mm)):
        lung = np.array([p for p, tissue in zip(points, pair.landmarks, strict=True) if tissue == "lung"])
        index = np.rint((lung - study.grid.origin_mm) / study.grid.spacing_mm).astype(int)
        assert np.median(study.ct[index[:, 2], index[:, 1], index[:, 0]]) < -600
    assert pair.links or pair.course == "complete"
