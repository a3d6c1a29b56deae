"""The studies of a cohort: every PET/CT study below a folder, in any mix of the layouts that people have.

Conventions: a study is named by its place below the folder, its parts joined by "_", as `evaluate` names masks, so that
predictions carry the names of the truth. `docs/how-to/batch.md` lists the layouts and the names.
"""

from autosegnet.cohort.find import find_studies
from autosegnet.cohort.study import CohortStudy

__all__ = ["CohortStudy", "find_studies"]
