"""Which nuclide and which tracer a PET shows, by all that its header says."""

from dataclasses import replace

import pytest
from test_suv import HEADER, HOUR

from autosegnet.errors import InputError
from autosegnet.suv import convert
from autosegnet.suv.tracer import doubt_tracer, name_tracer

GALLIUM = {"half_life_s": 4057.7, "nuclide_code": "C-131A1", "nuclide_meaning": "^68^Gallium"}


def test_a_code_is_outvoted_by_meaning_and_half_life():
    """As in reference object DRO_5_0, which codes Ga-66 for Ga-68."""
    done = convert(replace(HEADER, **GALLIUM))
    assert done.nuclide == "Ga-68"
    assert done.factors == pytest.approx((70000.0 / (3e8 * 2 ** (-3600 / 4057.7)),), rel=1e-12)
    assert any("says Ga-66" in warning for warning in done.warnings)


def test_a_half_life_that_agrees_with_no_witness_is_refused():
    with pytest.raises(InputError, match="is 4057.7 s, but F-18 has 6586.2 s"):
        convert(replace(HEADER, half_life_s=4057.7, nuclide_code="C-111A1", nuclide_meaning="^18^Fluorine"))


def test_minutes_for_seconds_are_refused():
    with pytest.raises(InputError, match="109.77 s, but F-18 has 6586.2 s"):
        convert(replace(HEADER, half_life_s=109.77, nuclide_code="C-111A1"))


def test_a_missing_half_life_is_that_of_most_witnesses():
    done = convert(
        replace(HEADER, half_life_s=None, nuclide_code="C-131A1", nuclide_meaning="18F", radiopharmaceutical="FDG")
    )
    assert done.nuclide == "F-18"
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)


def test_witnesses_that_contradict_each_other_without_a_half_life_are_refused():
    with pytest.raises(InputError, match="names several nuclides"):
        convert(replace(HEADER, half_life_s=None, nuclide_code="C-131A1", nuclide_meaning="^68^Gallium"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Fluorodeoxyglucose", "FDG"),
        ("FDG -- fluorodeoxyglucose", "FDG"),
        ("[18F]FDG", "FDG"),
        ("F-18 Fluordesoxyglukose", "FDG"),
        ("2-deoxy-2-[18F]fluoro-D-glucose", "FDG"),
        ("Fludeoxyglucose F^18^", "FDG"),
        ("FDG Alliance", "FDG"),
        ("18F-FDGal", "another"),
        ("FDGal F-18", "another"),
        ("F-18 fluorodeoxygalactose", "another"),
        ("Glucosamine", "another"),
        ("F-18 fluoroglucosamine", "another"),
        ("F-18 PET medicine", "another"),
        ("Gallium-68", ""),
        ("68Gallium", ""),
        ("fluorine18", ""),
        ("Copper Cu-64", ""),
        ("Iodine I-124", ""),
        ("Acetate C^11^", "acetate"),
        ("C-11 ACETATE", "acetate"),
        ("Cu-64 SARTATE", "SSTR ligand"),
        ("Ga-68 octreotate", "SSTR ligand"),
        ("18F-FET", "FET"),
        ("Ga-68 PSMA-11", "PSMA"),
        ("F-18 PSMA-1007", "PSMA"),
        ("68Ga-DOTATATE", "SSTR ligand"),
        ("Sodium fluoride F^18^", "sodium fluoride"),
        ("F-18 FET", "FET"),
        ("Tc-99m MDP", "bone tracer"),
        ("Solution", ""),
        ("F-18", ""),
        ("^18^Fluorine", ""),
        ("", ""),
        ("New ligand 17", "another"),
    ],
)
def test_tracers_are_known_by_how_scanners_write_them(text, name):
    assert name_tracer({"Radiopharmaceutical": text}, "")[0] == name


def test_a_code_names_the_tracer():
    assert name_tracer({}, "C-B1031") == name_tracer({}, "35321007") == ("FDG", [])


def test_a_text_and_a_code_of_acetate_agree():
    assert name_tracer({"Radiopharmaceutical": "Acetate C^11^"}, "C-B1043") == ("acetate", [])


def test_two_tracers_in_one_header_are_neither():
    name, doubts = name_tracer({"Radiopharmaceutical": "PSMA-1007"}, "C-B1031")
    assert name == "another"
    assert doubts == ["the header names several tracers: FDG and PSMA"]


@pytest.mark.parametrize(
    ("name", "nuclide", "said"),
    [
        ("PSMA", "Ga-68", "the tracer is PSMA, and the folds are for FDG"),
        ("another", "F-18", "the tracer is another tracer"),
        ("", "Ga-68", "the nuclide is Ga-68, so the tracer cannot be FDG"),
        ("bone tracer", "Tc-99m", "emits no positrons"),
    ],
)
def test_another_tracer_than_the_folds_are_for_is_told(name, nuclide, said):
    assert any(said in doubt for doubt in doubt_tracer(name, nuclide, expected="FDG"))


@pytest.mark.parametrize(("name", "nuclide"), [("FDG", "F-18"), ("", "F-18"), ("FDG", ""), ("", "")])
def test_nothing_is_said_against_fdg_or_what_may_be_fdg(name, nuclide):
    assert doubt_tracer(name, nuclide, expected="FDG") == []
