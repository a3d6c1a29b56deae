"""A short, seeded run of benchmarks/fuzz_readers.py."""

import pytest

from benchmarks.fuzz_other_readers import SYNTAXES, TEXTS, fuzz_dicom, fuzz_text
from benchmarks.fuzz_readers import run

# What may become of a damaged header besides a refusal; see the module for the reasons.
EXPECTED = {"refused", "accepted, equal", "accepted, SimpleITK: noise", "accepted, SimpleITK: refuses"}


@pytest.mark.parametrize(("kind", "count"), [("metaimage headers", 1500), ("nifti headers", 800), ("payloads", 1000)])
def test_damaged_files_are_refused_or_read_as_simpleitk_reads_them(kind, count):
    verdicts, growth_mib = run(kind, count, seed=7)
    assert sum(verdicts.values()) == count
    assert set(verdicts) <= EXPECTED
    assert verdicts["refused"] > count / 4
    assert verdicts["accepted, SimpleITK: refuses"] <= count / 100
    assert growth_mib < 100


def test_damage_to_compressed_voxels_never_changes_a_voxel():
    verdicts, _ = run("payloads", 500, seed=8)
    assert set(verdicts) <= {"refused", "accepted, equal"}


@pytest.mark.parametrize("kind", TEXTS)
def test_damaged_texts_are_refused_in_one_line_or_read(kind):
    assert set(fuzz_text(kind, 150, seed=7)) <= {"refused", "accepted"}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_damaged_dicom_is_refused_in_one_line_or_read(syntax):
    assert set(fuzz_dicom(syntax, 20, seed=7)) <= {"refused", "accepted, equal", "accepted, voxels differ"}
