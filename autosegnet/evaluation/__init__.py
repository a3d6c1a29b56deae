"""How good masks are: metrics of a case, their summary over cases, and the challenge's rankings."""

from autosegnet.evaluation.case_result import CaseResult, EvaluationOptions
from autosegnet.evaluation.detection import Detection, Matching, match_lesions
from autosegnet.evaluation.mask_folders import (
    evaluate_cases,
    evaluate_folders,
    find_masks,
    format_csv,
    format_results,
)
from autosegnet.evaluation.metrics import CaseMetrics, Convention, measure_masks, measure_pair
from autosegnet.evaluation.ranking import Standing, format_standings, format_standings_csv, rank_teams
from autosegnet.evaluation.statistics import Spread, find_spread, format_summary, format_table, select_positives
from autosegnet.evaluation.summary_of_results import format_intervals

__all__ = [
    "CaseMetrics",
    "CaseResult",
    "Convention",
    "Detection",
    "EvaluationOptions",
    "Matching",
    "Spread",
    "Standing",
    "evaluate_cases",
    "evaluate_folders",
    "find_masks",
    "find_spread",
    "format_csv",
    "format_intervals",
    "format_results",
    "format_standings",
    "format_standings_csv",
    "format_summary",
    "format_table",
    "match_lesions",
    "measure_masks",
    "measure_pair",
    "rank_teams",
    "select_positives",
]
