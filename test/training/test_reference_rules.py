"""The rules for liver and blood pool without an organ map, on simulated bodies, whose organs are known."""

import numpy as np
import pytest

from autosegnet.geometry import make_image
from autosegnet.lesions.landmarks import find_landmarks
from autosegnet.lesions.references import References, measure_references
from petct_simulator.protocol import Protocol
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import SimulatedStudy, simulate_study

SEEDS = (1, 3, 5)


@pytest.fixture(scope="module")
def bodies() -> list[tuple[SimulatedStudy, References]]:
    """Return simulated bodies with what the rules measure in them."""
    found = []
    for seed in SEEDS:
        study = simulate_study(seed, protocol=Protocol((5.0, 5.0, 4.0)))
        suv, ct = make_image(study.suv, study.grid), make_image(study.ct, study.grid)
        landmarks = find_landmarks(study.grid, ct=ct, organs=None)
        found.append((study, measure_references(suv, study.truth > 0, organs=None, landmarks=landmarks, ct=ct)))
    return found


def tissue_at(study: SimulatedStudy, centre_mm: tuple[float, float, float], reach_mm: float) -> np.ndarray:
    """Return the tissue of the voxels in a ball."""
    away = [
        study.grid.origin_mm[k] + study.grid.spacing_mm[k] * np.arange(study.grid.size[k]) - centre_mm[k]
        for k in range(3)
    ]
    squares = away[2][:, None, None] ** 2 + away[1][None, :, None] ** 2 + away[0][None, None, :] ** 2
    return study.tissue[squares <= reach_mm**2]


@pytest.mark.parametrize(("organ", "tissue", "reach_mm"), [("liver", Tissue.LIVER, 15.0), ("blood", Tissue.BLOOD, 5.0)])
def test_what_a_rule_measures_lies_in_its_organ(bodies, organ, tissue, reach_mm) -> None:
    measured = [(study, getattr(found, organ)) for study, found in bodies if getattr(found, organ) is not None]
    assert len(measured) >= 2
    for study, reference in measured:
        assert np.mean(tissue_at(study, reference.centre_mm, reach_mm) == tissue) >= 0.9
        core = study.suv[(study.tissue == tissue) & (study.truth == 0)]
        assert reference.suv_mean == pytest.approx(float(np.median(core)), rel=0.25)
        assert not reference.sure
