"""Thresholds as segmentations."""

import numpy as np
import pytest

from autosegnet_training.baselines import (
    THRESHOLDS_SUV,
    count,
    find_best_threshold,
    segment_above,
    segment_above_fraction,
)


def test_masks_are_what_their_names_say() -> None:
    suv = np.array([[[0.0, 4.0, 4.1, 10.0]]], dtype=np.float32)
    assert segment_above(suv, 4.0).ravel().tolist() == [False, False, True, True]
    assert segment_above_fraction(suv).ravel().tolist() == [False, False, True, True]


def test_counts_are_those_of_every_threshold() -> None:
    rng = np.random.default_rng(0)
    suv = np.round(rng.gamma(2.0, 1.5, (9, 8, 7)), 1).astype(np.float32)
    truth = rng.random(suv.shape) < 0.1
    counts = count(suv, truth)
    assert counts.lesion == truth.sum()
    for k, threshold in enumerate(THRESHOLDS_SUV):
        assert counts.above[k] == (suv > threshold).sum()
        assert counts.hit[k] == (truth & (suv > threshold)).sum()


def test_the_best_threshold_has_the_best_mean_dsc() -> None:
    rng = np.random.default_rng(1)
    cases = []
    for level in (3.0, 5.0):
        truth = np.zeros((10, 10, 10), dtype=bool)
        truth[3:6, 3:6, 3:6] = True
        suv = (rng.normal(1.0, 0.5, truth.shape) + level * truth).astype(np.float32)
        cases.append((suv, truth))
    healthy = (np.full((4, 4, 4), 9.0, dtype=np.float32), np.zeros((4, 4, 4), dtype=bool))
    best = find_best_threshold([count(*case) for case in (*cases, healthy)])
    dsc = [
        np.mean([2 * (t & (s > threshold)).sum() / (t.sum() + (s > threshold).sum()) for s, t in cases])
        for threshold in THRESHOLDS_SUV
    ]
    assert best == pytest.approx(THRESHOLDS_SUV[int(np.argmax(dsc))])
