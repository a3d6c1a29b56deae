"""No output of a batch replaces what the batch reads, by whatever link."""

import os
import shutil
from pathlib import Path

import pytest
from test_batch import batch, never, tree, weights  # noqa: F401  (fixtures)


def read_all(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tree(tmp_path / "in", p=1.0, q=1.2)


@pytest.fixture
def finished(source: Path, batch) -> None:  # noqa: F811
    assert batch("--report").code == 0


@pytest.mark.parametrize(
    "place",
    ["p.nii.gz", "q.mha", "records/p.json", "thumbnails/p.png", "reports/p/lesions.csv", "summary.csv",
     "overview.html", "tables/lesions.csv"],
)  # fmt: skip
def test_a_link_in_output_to_an_image_of_input_is_refused(
    tmp_path, source: Path, finished, batch, place: str  # noqa: F811
) -> None:  # fmt: skip
    before = read_all(source)
    path = tmp_path / "out" / place
    path.unlink(missing_ok=True)
    path.symlink_to(source / "q" / "CTres.nii.gz")
    done = batch(*(["--overwrite"] if place == "p.nii.gz" else []), engine=never)
    assert done.code == 2, done.log
    assert f"OUTPUT/{place} would replace a file in the folder of INPUT" in done.log.splitlines()[-1]
    assert read_all(source) == before


def test_images_of_input_that_are_hard_linked_into_output_stay(tmp_path, source: Path, finished, batch) -> None:  # noqa: F811
    before = read_all(source)
    for place in ("p.nii.gz", "records/p.json", "summary.csv", "tables/lesions.csv"):
        (tmp_path / "out" / place).unlink()
        os.link(source / "q" / "CTres.nii.gz", tmp_path / "out" / place)
    assert batch("--overwrite", "--report").code == 0
    assert read_all(source) == before


@pytest.mark.parametrize("place", ["records", "reports/p"])
def test_a_folder_of_output_that_is_linked_to_one_of_input_is_refused(
    tmp_path, source: Path, finished, batch, place: str  # noqa: F811
) -> None:  # fmt: skip
    for name in ("p.json", "p.png", "report.html", "lesions.csv"):
        (source / "p" / name).write_text("of the user")
    before = read_all(source)
    shutil.rmtree(tmp_path / "out" / place)
    (tmp_path / "out" / place).symlink_to(source / "p")
    done = batch("--overwrite", "--report", engine=never)
    assert done.code == 2, done.log
    assert f"OUTPUT/{place} would replace" in done.log
    assert read_all(source) == before


def test_a_folder_of_output_on_another_disk_is_no_fault(tmp_path, source: Path, finished, batch) -> None:  # noqa: F811
    (tmp_path / "out" / "records").rename(tmp_path / "elsewhere")
    (tmp_path / "out" / "records").symlink_to(tmp_path / "elsewhere")
    assert batch(engine=never).code == 0


def test_two_outputs_that_are_links_to_one_file_are_refused(tmp_path, source: Path, finished, batch) -> None:  # noqa: F811
    for case in ("p", "q"):
        (tmp_path / "out" / f"{case}.nii.gz").unlink()
        (tmp_path / "out" / f"{case}.nii.gz").symlink_to(tmp_path / "shared.nii.gz")
    done = batch("--overwrite", engine=never)
    assert done.code == 2
    assert "OUTPUT/p.nii.gz and OUTPUT/q.nii.gz name the same file" in done.log


def test_an_image_that_a_list_names_in_output_itself_is_refused(tmp_path, source: Path, batch) -> None:  # noqa: F811
    (tmp_path / "out").mkdir()
    shutil.copy(source / "p" / "SUV.nii.gz", tmp_path / "out" / "p.nii.gz")
    (tmp_path / "list.csv").write_text(
        "case,pet,ct\nq,in/q/SUV.nii.gz,in/q/CTres.nii.gz\np,out/p.nii.gz,in/p/CTres.nii.gz\n"
    )
    before = read_all(tmp_path / "out")
    done = batch("--overwrite", source=tmp_path / "list.csv", engine=never)
    assert done.code == 2
    assert "OUTPUT/p.nii.gz would replace the PET of p" in done.log
    assert before.items() <= read_all(tmp_path / "out").items()


@pytest.mark.parametrize("name", ["list.csv", "stated.csv", "weights/recipe.json"])
def test_a_summary_that_is_a_link_to_what_is_read_is_refused(
    tmp_path, source: Path, weights: Path, batch, name: str  # noqa: F811
) -> None:  # fmt: skip
    (tmp_path / "list.csv").write_text("case,pet,ct\np,in/p/SUV.nii.gz,in/p/CTres.nii.gz\n")
    (tmp_path / "stated.csv").write_text("case\np\n")
    before = (tmp_path / name).read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").symlink_to(tmp_path / name)
    done = batch("--studies", tmp_path / "stated.csv", source=tmp_path / "list.csv", engine=never)
    assert done.code == 2, done.log
    assert "OUTPUT/summary.csv would replace" in done.log
    assert (tmp_path / name).read_bytes() == before
