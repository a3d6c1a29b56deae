"""Damaged files of training are refused in one line, whatever is wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest

from autosegnet.errors import InputError
from autosegnet_training import arrays
from autosegnet_training.cases import Case, read_cases, write_cases
from autosegnet_training.index import add_boxes
from autosegnet_training.runs import open_trained
from autosegnet_training.splits import split_as

DEEP = "[" * 100_000
CASE = Case("a", "a", "unknown", Path("pet.mha"), Path("ct.mha"), Path("mask.mha"))


@pytest.mark.parametrize("text", [DEEP, "5", "[1]", '{"a": [[0, Infinity], [0, 1], [0, 1]]}', '{"a": 1}', "\x00"])
def test_boxes_of_another_shape_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(InputError, match=r"boxes\.json"):
        add_boxes([CASE], tmp_path / "boxes.json")


@pytest.mark.parametrize("text", [DEEP, "5", "[1]", '{"a": 1}', '[{"val": 5}]'])
def test_splits_of_another_shape_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(InputError, match=r"splits\.json"):
        split_as([CASE], tmp_path / "splits.json")


@pytest.mark.parametrize("row", ["a,p,c,m,²", f"a,p,c,m,{'9' * 5000}", "a,p,c,m,0,surplus"])
def test_a_table_of_cases_with_an_impossible_row_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "cases.csv").write_text(f"case,pet,ct,mask,fold\n{row}\n")
    with pytest.raises(InputError, match=r"cases\.csv"):
        read_cases(tmp_path / "cases.csv")


def test_names_of_any_bytes_and_formulas_come_back_from_a_table(tmp_path: Path) -> None:
    strange = tmp_path / "M\udcfcller" / "=1+1.mha"
    case = Case("=a", "-p", "@c", strange, strange, Path("/+x/\n.mha"))
    write_cases([case], tmp_path / "cases.csv")
    assert read_cases(tmp_path / "cases.csv") == [case]


@pytest.mark.parametrize("text", [DEEP, "5", "{}", '{"finished": true}', '{"finished": true, "epoch": "x", "dsc": []}'])
def test_a_run_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "fold_0"
    folder.mkdir()
    (folder / "run.json").write_text(text)
    (folder / "result.json").write_text(text)
    with pytest.raises(InputError, match="fold_0"):
        open_trained(tmp_path, 0)


class TestArrays:
    def prepared(self, folder: Path) -> Path:
        truth = np.zeros((3, 4, 5), bool)
        truth[1, 2, 3] = True
        arrays.save(folder / "a", array=np.ones((2, 3, 4, 5), np.float32), truth=truth, note={"made": "so"})
        return folder / "a"

    def test_what_was_written_is_as_it_was(self, tmp_path: Path) -> None:
        folder = self.prepared(tmp_path)
        arrays.check_sums(folder)
        assert arrays.note_of(folder) == {"made": "so"}

    def test_a_flipped_bit_is_noticed(self, tmp_path: Path) -> None:
        folder = self.prepared(tmp_path)
        data = bytearray((folder / arrays.INPUT).read_bytes())
        data[-3] ^= 1
        (folder / arrays.INPUT).write_bytes(data)
        with pytest.raises(InputError, match="checksum"):
            arrays.check_sums(folder)

    def test_a_note_of_an_older_version_has_no_checksum_and_stays_good(self, tmp_path: Path) -> None:
        folder = self.prepared(tmp_path)
        note = json.loads((folder / arrays.NOTE).read_text())
        del note["crc32"]
        (folder / arrays.NOTE).write_text(json.dumps(note))
        arrays.check_sums(folder)

    @pytest.mark.parametrize("voxel", [(-1, 0, 0), (3, 0, 0), (0, 0, 5)])
    def test_lesion_voxels_outside_of_the_array_are_refused(self, tmp_path: Path, voxel: tuple[int, ...]) -> None:
        folder = self.prepared(tmp_path)
        np.save(folder / arrays.LESION, np.array([voxel], np.int16))
        with pytest.raises(InputError, match="outside"):
            arrays.load(tmp_path, "a")
