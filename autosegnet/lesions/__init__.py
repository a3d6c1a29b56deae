"""Lesions of a mask: their one definition, their figures, and the tables of them.

Conventions: 18-connectivity; positions in LPS, mm; volumes in ml; SUV in g/ml, so that TLG is in g.
`docs/reference/lesions.md` defines every figure and names its source.
"""

from autosegnet.lesions.components import (
    CONNECTIVITY,
    label_lesions,
    lesion_volumes_ml,
    lesion_voxels,
    voxel_volume_ml,
)
from autosegnet.lesions.figures import BodyFigures, Lesion, LesionTable
from autosegnet.lesions.measure import measure_lesions
from autosegnet.lesions.numbering import number_lesions
from autosegnet.lesions.peak import PeakSphere, peak_sphere
from autosegnet.lesions.tables import COLUMNS, csv_text, json_text

__all__ = [
    "COLUMNS",
    "CONNECTIVITY",
    "BodyFigures",
    "Lesion",
    "LesionTable",
    "PeakSphere",
    "csv_text",
    "json_text",
    "label_lesions",
    "lesion_volumes_ml",
    "lesion_voxels",
    "measure_lesions",
    "number_lesions",
    "peak_sphere",
    "voxel_volume_ml",
]
