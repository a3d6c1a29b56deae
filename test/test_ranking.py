import argparse

import numpy as np
import pytest

from autosegnet.cli.evaluate_command import add_rank_arguments, run_rank
from autosegnet.errors import InputError, UsageError
from autosegnet.evaluation import format_csv, format_standings, measure_masks, rank_teams

HEADING = "case,dsc,fpv_ml,fnv_ml\n"


@pytest.fixture
def teams(tmp_path):
    """Write a CSV per team, of rows (dsc, fpv_ml, fnv_ml) for the cases a, b, …"""

    def written(**rows):
        files = {}
        for team, values in rows.items():
            lines = [f"{case},{','.join(map(str, row))}" for case, row in zip("abcdef", values, strict=False)]
            files[team] = tmp_path / f"{team}.csv"
            files[team].write_text(HEADING + "\n".join(lines) + "\n")
        return files

    return written


def positions(standings):
    return [(standing.position, standing.team, standing.score) for standing in standings]


def test_the_score_weighs_the_three_ranks(teams):
    # means: A 0.7, 2, 9 · B 0.6, 1, 5 · C 0.5, 3, 1; ranks A 1 2 3, B 2 1 2, C 3 3 1
    files = teams(A=[(0.8, 1, 9), (0.6, 3, 9)], B=[(0.5, 1, 4), (0.7, 1, 6)], C=[(0.5, 3, 1), (0.5, 3, 1)])
    standings = rank_teams(files)
    assert positions(standings) == [(1, "A", 0.5 + 0.5 + 0.75), (2, "B", 1 + 0.25 + 0.5), (3, "C", 2.5)]
    best = standings[0]
    assert (best.dsc, best.fpv_ml, best.fnv_ml, best.n_cases) == (pytest.approx(0.7), 2.0, 9.0, 2)
    assert (best.rank_dsc, best.rank_fpv, best.rank_fnv) == (1, 2, 3)


def test_equal_scores_are_ordered_by_dsc(teams):
    # B: ranks 1 2 2 -> 1.5; A: ranks 2 1 1 -> 1.5
    assert positions(rank_teams(teams(A=[(0.5, 1, 1)], B=[(0.6, 2, 2)]))) == [(1, "B", 1.5), (2, "A", 1.5)]


def test_equal_values_share_the_best_rank_and_the_next_is_left_out(teams):
    standings = rank_teams(teams(A=[(0.5, 1, 1)], B=[(0.5, 1, 1)], C=[(0.4, 2, 2)]))
    assert positions(standings) == [(1, "A", 1.0), (1, "B", 1.0), (3, "C", 3.0)]


def test_the_order_of_the_cases_does_not_break_a_tie(teams, tmp_path):
    values = [(0.1, 1e16, 0), (0.2, 1, 0), (0.3, 1, 0)]  # summed from the left, 1e16 swallows each 1
    files = teams(A=values)
    files["B"] = tmp_path / "B.csv"
    lines = files["A"].read_text().splitlines()
    files["B"].write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert [standing.position for standing in rank_teams(files)] == [1, 1]


def test_nan_of_healthy_cases_is_left_out_of_the_mean(teams):
    (standing,) = rank_teams(teams(A=[(0.5, 1, 1), ("nan", 3, "nan"), ("", 2, "")]))
    assert (standing.dsc, standing.fpv_ml, standing.fnv_ml, standing.n_cases) == (0.5, 2.0, 1.0, 3)


def test_teams_under_different_conventions_are_not_compared(teams):
    with pytest.raises(InputError, match=r"A and B have NaN in different cases \(b\)"):
        rank_teams(teams(A=[(0.5, 1, 1), (0, 1, 0)], B=[(0.5, 1, 1), ("nan", 1, "nan")]))


def test_nothing_but_nan_cannot_be_ranked(teams):
    with pytest.raises(InputError, match="dsc of A is NaN in every case"):
        rank_teams(teams(A=[("nan", 1, "nan")]))


def test_teams_must_hold_the_same_cases(teams):
    with pytest.raises(InputError, match="A lacks 1: c; expected the same cases from every team"):
        rank_teams(teams(A=[(0.5, 1, 1)] * 2, B=[(0.5, 1, 1)] * 3))


def test_a_csv_that_evaluate_wrote_is_read_back_to_the_last_digit(tmp_path):
    rng = np.random.default_rng(5)
    p, g = rng.random((2, 6, 7, 8)) < 0.1
    metrics = measure_masks(p, g, spacing_mm=(2.0364, 2.0364, 3.0))
    healthy = measure_masks(p, g & False, spacing_mm=(2.0364, 2.0364, 3.0), convention="autopet3")
    (tmp_path / "A.csv").write_text(format_csv({"a": metrics, "b": healthy}))
    (standing,) = rank_teams({"A": tmp_path / "A.csv"})
    assert (standing.dsc, standing.fnv_ml) == (metrics.dsc, metrics.fnv_ml)
    assert standing.fpv_ml == (metrics.fpv_ml + healthy.fpv_ml) / 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column case, dsc, fpv_ml, fnv_ml"),
        ("case,dsc\na,1\n", "no column fpv_ml, fnv_ml"),
        (HEADING, "no case"),
        (HEADING + "a,0.5,1,1\na,0.5,1,1\n", "case a appears twice"),
        (HEADING + "a,0,5,1,1\n", "5 cells in line 2, expected 4"),
        (HEADING + ",0.5,1,1\n", "case 1 has no name"),
        (HEADING + "a,0.5,1\n", "3 cells in line 2, expected 4"),
        (HEADING + "a,high,1,1\n", "dsc of case a is 'high'"),
        (HEADING + "a,1.5,1,1\n", "dsc of case a is '1.5'"),
        (HEADING + "a,0.5,-1,1\n", "fpv_ml of case a is '-1'"),
        (HEADING + "a,0.5,1_0,1\n", "fpv_ml of case a is '1_0'"),
        (HEADING + "a,0.5,1,inf\n", "fnv_ml of case a is 'inf'"),
    ],
)
def test_a_csv_that_cannot_be_trusted_is_refused(tmp_path, text, message):
    path = tmp_path / "A.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{message}.*A.csv"):
        rank_teams({"A": path})


def test_a_file_that_is_no_text_or_absent_is_refused(tmp_path):
    (tmp_path / "A.csv").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("A.csv", "absent.csv"):
        with pytest.raises(InputError, match=f"{name} cannot be read as a CSV"):
            rank_teams({"A": tmp_path / name})


def arguments(*words):
    parser = argparse.ArgumentParser()
    add_rank_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_the_command_writes_and_prints_the_standings(teams, tmp_path, capsys):
    files = teams(A=[(0.5, 1, 1)], B=[(0.6, 0.5, 0.25)])
    output = tmp_path / "ranks.csv"
    run_rank(arguments("--output", output, *(f"{team}={path}" for team, path in files.items())))
    assert output.read_text() == (
        "position,team,score,dsc,fpv_ml,fnv_ml,rank_dsc,rank_fpv,rank_fnv,n_cases\n"
        "1,B,1.0,0.6,0.5,0.25,1,1,1,1\n"
        "2,A,2.0,0.5,1.0,1.0,2,2,2,1\n"
    )
    assert capsys.readouterr().out == format_standings(rank_teams(files)) + "\n"


def test_autopet3_averages_the_ranks_of_every_subset(teams, tmp_path):
    # DSC in the subset of a and b: A 0.7, B 0.6, C 0.5; of c alone: A 0.1, B 0.2, C 0.3. FPV and FNV are equal.
    files = teams(
        A=[(0.8, 1, 1), (0.6, 1, 1), (0.1, 1, 1)],
        B=[(0.5, 1, 1), (0.7, 1, 1), (0.2, 1, 1)],
        C=[(0.5, 1, 1), (0.5, 1, 1), (0.3, 1, 1)],
    )
    (tmp_path / "subsets.csv").write_text("case,subset\na,fdg_ukt\nb,fdg_ukt\nc,psma_lmu\nd,psma_lmu\n")
    standings = rank_teams(files, edition="autopet3", subsets=tmp_path / "subsets.csv")
    assert {s.team: s.rank_dsc for s in standings} == {"A": 2, "B": 2, "C": 2}
    assert [s.team for s in standings] == ["A", "B", "C"]  # equal scores: by DSC, 0.5, 0.467, 0.433
    assert [(s.team, s.rank_dsc) for s in rank_teams(files, edition="autopet3")] == [("A", 1), ("B", 2), ("C", 3)]


def test_a_mean_of_ranks_may_be_a_fraction(teams, tmp_path, capsys):
    files = teams(A=[(0.8, 1, 1), (0.1, 1, 1)], B=[(0.5, 1, 1), (0.2, 2, 1)])
    (tmp_path / "subsets.csv").write_text("case,subset\na,x\nb,y\n")
    words = ("--edition", "autopet3", "--subsets", tmp_path / "subsets.csv")
    run_rank(arguments("--output", tmp_path / "r.csv", *words, *(f"{team}={path}" for team, path in files.items())))
    assert [
        (s.team, s.rank_dsc, s.rank_fpv)
        for s in rank_teams(files, edition="autopet3", subsets=tmp_path / "subsets.csv")
    ] == [("A", 1.5, 1), ("B", 1.5, 1.5)]
    assert "1.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,subset\na,x\n", "1 cases without a subset in .*: b"),
        ("case,subset\na,x\nb,\n", "1 cases without a subset in .*: b"),
        ("case,subset\na,x\na,y\nb,y\n", "case a appears twice"),
        ("case,group\na,x\n", "no column subset"),
    ],
)
def test_a_table_of_subsets_names_every_case_once(teams, tmp_path, text, message):
    (tmp_path / "subsets.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        rank_teams(teams(A=[(1, 1, 1), (1, 1, 1)]), edition="autopet3", subsets=tmp_path / "subsets.csv")


def test_subsets_belong_to_autopet3_alone(teams, tmp_path):
    with pytest.raises(UsageError, match="belong to autopet3"):
        rank_teams(teams(A=[(1, 1, 1)]), subsets=tmp_path / "subsets.csv")


@pytest.mark.parametrize("words", [["A"], ["=a.csv"], ["A="], ["A=a.csv", "A=b.csv"]])
def test_teams_are_given_as_team_and_csv_once(words, tmp_path):
    with pytest.raises(UsageError, match="expected"):
        run_rank(arguments("--output", tmp_path / "ranks.csv", *words))
