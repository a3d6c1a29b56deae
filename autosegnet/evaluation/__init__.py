"""How good a mask is: DSC, FPV and FNV of a case, their summary over cases, and the challenge's ranking."""

from autosegnet.evaluation.mask_folders import evaluate_folders, find_masks, format_csv
from autosegnet.evaluation.metrics import CaseMetrics, Convention, measure, measure_masks
from autosegnet.evaluation.ranking import Standing, format_standings, rank_teams, standings_csv
from autosegnet.evaluation.statistics import Spread, format_summary, format_table, positives, spread

__all__ = [
    "CaseMetrics",
    "Convention",
    "Spread",
    "Standing",
    "evaluate_folders",
    "find_masks",
    "format_csv",
    "format_standings",
    "format_summary",
    "format_table",
    "measure",
    "measure_masks",
    "positives",
    "rank_teams",
    "spread",
    "standings_csv",
]
