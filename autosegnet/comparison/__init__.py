"""Two studies of one patient: aligned, lesion by lesion matched, and the change told.

`compare_studies` takes two folders; `save_comparison` writes page, tables and transform. Rules and formulae:
`docs/reference/comparison.md`.
"""

from autosegnet.comparison.changes import BodyChange, DateFigures, LesionChange
from autosegnet.comparison.compare import compare_studies, compare_visits
from autosegnet.comparison.comparison_files import save_comparison
from autosegnet.comparison.comparison_result import Comparison
from autosegnet.comparison.percist import PercistSuggestion
from autosegnet.comparison.registration_check import RegistrationCheck
from autosegnet.comparison.visits import Visit, VisitFiles

__all__ = [
    "BodyChange",
    "Comparison",
    "DateFigures",
    "LesionChange",
    "PercistSuggestion",
    "RegistrationCheck",
    "Visit",
    "VisitFiles",
    "compare_studies",
    "compare_visits",
    "save_comparison",
]
