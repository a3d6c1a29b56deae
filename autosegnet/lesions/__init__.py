"""Lesions of a mask: their definition, figures, sites, references and tables.

Conventions: 18-connectivity; positions in LPS, mm; volumes in ml; SUV in g/ml, so that TLG is in g.
`docs/reference/lesions.md` defines every figure and names its source.
"""

from autosegnet.lesions.components import (
    CONNECTIVITY,
    compute_voxel_volume_ml,
    count_lesion_voxels,
    label_lesions,
    measure_volumes_ml,
)
from autosegnet.lesions.context import BodySize, Context
from autosegnet.lesions.figures import BodyFigures, LeftOut, Lesion
from autosegnet.lesions.lesion_table import (
    LESION_COLUMNS,
    LesionTable,
    format_lesions_csv,
    format_lesions_json,
    make_lesion_row,
)
from autosegnet.lesions.measure import measure_lesions
from autosegnet.lesions.numbering import number_lesions
from autosegnet.lesions.organ_labels import OrganLabels
from autosegnet.lesions.organ_names import ORGAN_TABLES
from autosegnet.lesions.peak import PeakSphere, make_peak_sphere
from autosegnet.lesions.selection import Selection, measure_selected

__all__ = [
    "CONNECTIVITY",
    "LESION_COLUMNS",
    "ORGAN_TABLES",
    "BodyFigures",
    "BodySize",
    "Context",
    "LeftOut",
    "Lesion",
    "LesionTable",
    "OrganLabels",
    "PeakSphere",
    "Selection",
    "count_lesion_voxels",
    "format_lesions_csv",
    "format_lesions_json",
    "label_lesions",
    "make_lesion_row",
    "measure_volumes_ml",
    "measure_lesions",
    "measure_selected",
    "number_lesions",
    "make_peak_sphere",
    "compute_voxel_volume_ml",
]
