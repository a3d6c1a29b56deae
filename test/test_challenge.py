"""The platform's folders: editions, the list of sockets, clicks, and the arguments that images set by environment."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autosegnet.errors import InputError, UsageError
from autosegnet.grandchallenge.job import parse_job, start_time_limit
from autosegnet.grandchallenge.sockets import JobFiles, find_job_files

AUTOMATED, TUMOR = "automated-petct-lesion-segmentation", "tumor-lesion-segmentation"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Return an input folder; what an image holds does not matter here."""
    for name in ("pet", "ct"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / f"uuid-of-{name}.mha").touch()
    return tmp_path


def sockets(job: Path, edition: str = "autopet2") -> JobFiles:
    return find_job_files(input_folder=job, output_folder=Path("/out"), edition_name=edition)


def entry(slug: str, relative_path: str, image: str | None = None) -> dict[str, Any]:
    """Return a socket as the platform lists it."""
    return {
        "file": None,
        "image": None if image is None else {"name": image, "pk": "a"},
        "value": None,
        "socket": {"slug": slug, "relative_path": relative_path, "kind": "Image", "title": slug},
    }


def list_inputs(job: Path, *entries: dict[str, Any]) -> None:
    (job / "inputs.json").write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("edition", "folder", "data_centric"),
    [
        ("autopet1", AUTOMATED, None),
        ("autopet2", AUTOMATED, None),
        ("autopet3", AUTOMATED, Path("/out/data-centric-model.json")),
        ("autopet4", TUMOR, None),
        ("autopet5", TUMOR, None),
    ],
)
def test_editions_name_their_outputs(job: Path, edition: str, folder: str, data_centric: Path | None) -> None:
    found = sockets(job, edition)
    assert found.mask == Path("/out/images") / folder / "uuid-of-ct.mha"
    assert found.data_centric == data_centric
    assert found.results == Path("/out/results.json")
    contents = found.collect_contents("the mask", [{"outputs": []}])  # type: ignore[arg-type]
    expected = {found.mask: "the mask", found.results: '[{"outputs": []}]'}
    assert contents == expected | ({data_centric: "false"} if data_centric else {})


def test_an_unknown_edition_is_wrong_usage(job: Path) -> None:
    with pytest.raises(UsageError, match="autopet6.*expected one of autopet1"):
        sockets(job, "autopet6")


@pytest.mark.parametrize("edition", ["autopet2", "autopet4", "autopet5"])
@pytest.mark.parametrize(
    "clicks",
    [
        None,
        "",
        "[]",
        '{"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": []}',
        '{"points": [{"point": [1.5, 2, 3], "name": "tumor"}, {"point": [9, 9, 9], "name": "background"}]}',
        '{"points": [{"point": "no',
    ],
    ids=["absent", "empty file", "empty list", "no points", "points", "damaged"],
)
def test_clicks_break_nothing(job: Path, edition: str, clicks: str | None) -> None:
    before = sockets(job, edition)
    if clicks is not None:
        (job / "lesion-clicks.json").write_text(clicks)
    has_clicks = clicks is not None and edition != "autopet2"
    assert sockets(job, edition) == replace(before, clicks=job / "lesion-clicks.json" if has_clicks else None)


def test_the_list_of_sockets_is_honoured(job: Path) -> None:
    for name in ("pet", "ct"):
        (job / "images" / name).rename(job / "images" / f"series-of-{name}")
    with pytest.raises(InputError, match="cannot list"):
        sockets(job)
    list_inputs(
        job,
        entry("ct-image", "images/series-of-ct", "uuid-of-ct.mha"),
        entry("lesion-clicks", "lesion-clicks.json"),
        entry("pet", "images/series-of-pet", "Title of the image"),
    )
    found = sockets(job)
    assert found.pet == job / "images/series-of-pet/uuid-of-pet.mha"
    assert found.ct == job / "images/series-of-ct/uuid-of-ct.mha"


def test_a_socket_is_known_by_its_path_whatever_its_slug(job: Path) -> None:
    list_inputs(job, entry("a-new-slug", "images/pet"), entry("another", "images/ct/"))
    assert sockets(job).pet == job / "images/pet/uuid-of-pet.mha"


def test_the_platforms_older_word_for_a_socket_is_read(job: Path) -> None:
    (job / "images/pet").rename(job / "images/elsewhere")
    entries = [entry("pet", "images/elsewhere"), entry("ct", "images/ct")]
    for one in entries:
        one["interface"] = one.pop("socket")
    list_inputs(job, *entries)
    assert sockets(job).pet == job / "images/elsewhere/uuid-of-pet.mha"


def test_the_listed_file_is_taken_among_several(job: Path) -> None:
    (job / "images/ct/other.mha").touch()
    with pytest.raises(InputError, match="2 images"):
        sockets(job)
    list_inputs(job, entry("pet", "images/pet"), entry("ct", "images/ct", "other.mha"))
    assert sockets(job).ct == job / "images/ct/other.mha"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([entry("ct", "images/ct")], "lists 0 sockets for the PET"),
        ([], "lists 0 sockets for the PET"),
        ([entry("pet", "images/pet"), entry("b", "images/pet"), entry("ct", "images/ct")], "lists 2 sockets"),
        ([entry("pet", "../pet"), entry("ct", "images/ct")], "below the input folder"),
        ([entry("pet", "/images/pet"), entry("ct", "images/ct")], "below the input folder"),
        ([{"image": None}], "cannot be read"),
        ([1], "cannot be read"),
        (5, "cannot be read"),
    ],
)
def test_a_list_that_does_not_name_the_study_is_refused(job: Path, entries: Any, reason: str) -> None:
    (job / "inputs.json").write_text(json.dumps(entries))
    with pytest.raises(InputError, match=reason):
        sockets(job)


@pytest.mark.parametrize("text", [b"", b"[", b"\xff\xfe[]", b"[" * 100_000])
def test_a_damaged_list_is_refused(job: Path, text: bytes) -> None:
    (job / "inputs.json").write_bytes(text)
    with pytest.raises(InputError, match="cannot be read as the platform's list"):
        sockets(job)


def test_an_image_name_leads_nowhere_else(job: Path) -> None:
    (job / "images/secret.mha").touch()
    list_inputs(job, entry("pet", "images/pet", "../secret.mha"), entry("ct", "images/ct"))
    assert sockets(job).pet == job / "images/pet/uuid-of-pet.mha"


def parsed(*words: str) -> argparse.Namespace:
    return parse_job(prog="process.py", about=None, words=words)


def test_the_environment_sets_what_the_platform_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDITION", "TIME_LIMIT", "DEGRADE"):
        monkeypatch.delenv(f"AUTOSEGNET_{name}", raising=False)
    args = parsed()
    assert (args.edition, args.time_limit, args.degrade, args.api, args.port) == ("autopet2", None, False, "exec", 4743)
    for name, value in (("EDITION", "autopet4"), ("TIME_LIMIT", "600"), ("DEGRADE", "1")):
        monkeypatch.setenv(f"AUTOSEGNET_{name}", value)
    args = parsed()
    assert (args.edition, args.time_limit, args.degrade) == ("autopet4", 600.0, True)
    args = parsed("--edition", "autopet1", "--time-limit", "5")
    assert (args.edition, args.time_limit) == ("autopet1", 5.0)
    for name, value in (("EDITION", ""), ("TIME_LIMIT", ""), ("DEGRADE", "0")):  # as the Dockerfile's defaults
        monkeypatch.setenv(f"AUTOSEGNET_{name}", value)
    assert (parsed().edition, parsed().time_limit, parsed().degrade) == ("autopet2", None, False)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "ten"])
def test_a_time_limit_is_a_positive_number_of_seconds(text: str) -> None:
    with pytest.raises(UsageError, match="expected a positive number of seconds"):
        parsed("--time-limit", text)


def test_degrading_needs_a_limit() -> None:
    assert start_time_limit(parsed()) is None
    assert start_time_limit(parsed("--time-limit", "60", "--degrade")) is not None
    with pytest.raises(UsageError, match="--degrade needs --time-limit"):
        parsed("--degrade")
