"""Names of the labels in organ maps: the tables of the programs that make them, and the organ that a name means.

Sources: TotalSegmentator 2, `totalsegmentator/map_to_binary.py`, tasks `total` and `total_v1` (github.com/wasserth/
    TotalSegmentator); MOOSE 3, task `clin_ct_organs` (github.com/ENHANCE-PET/MOOSE); the ten labels that
    github.com/MIC-DKFZ/autopet-3-submission ships for the autoPET studies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_VERTEBRAE = [
    *(f"L{n}" for n in range(5, 0, -1)),
    *(f"T{n}" for n in range(12, 0, -1)),
    *(f"C{n}" for n in range(7, 0, -1)),
]
_RIBS = [f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)]
_TOTALSEGMENTATOR = [
    "spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "pancreas", "adrenal_gland_right",
    "adrenal_gland_left", "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right",
    "lung_middle_lobe_right", "lung_lower_lobe_right", "esophagus", "trachea", "thyroid_gland", "small_bowel",
    "duodenum", "colon", "urinary_bladder", "prostate", "kidney_cyst_left", "kidney_cyst_right", "sacrum",
    "vertebrae_S1", *(f"vertebrae_{v}" for v in _VERTEBRAE), "heart", "aorta", "pulmonary_vein",
    "brachiocephalic_trunk", "subclavian_artery_right", "subclavian_artery_left", "common_carotid_artery_right",
    "common_carotid_artery_left", "brachiocephalic_vein_left", "brachiocephalic_vein_right", "atrial_appendage_left",
    "superior_vena_cava", "inferior_vena_cava", "portal_vein_and_splenic_vein", "iliac_artery_left",
    "iliac_artery_right", "iliac_vena_left", "iliac_vena_right", "humerus_left", "humerus_right", "scapula_left",
    "scapula_right", "clavicula_left", "clavicula_right", "femur_left", "femur_right", "hip_left", "hip_right",
    "spinal_cord", "gluteus_maximus_left", "gluteus_maximus_right", "gluteus_medius_left", "gluteus_medius_right",
    "gluteus_minimus_left", "gluteus_minimus_right", "autochthon_left", "autochthon_right", "iliopsoas_left",
    "iliopsoas_right", "brain", "skull", *_RIBS, "sternum", "costal_cartilages",
]  # fmt: skip
_TOTALSEGMENTATOR_1 = [
    "spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "aorta", "inferior_vena_cava",
    "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "lung_upper_lobe_left",
    "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right",
    *(f"vertebrae_{v}" for v in _VERTEBRAE), "esophagus", "trachea", "heart_myocardium", "heart_atrium_left",
    "heart_ventricle_left", "heart_atrium_right", "heart_ventricle_right", "pulmonary_artery", "brain",
    "iliac_artery_left", "iliac_artery_right", "iliac_vena_left", "iliac_vena_right", "small_bowel", "duodenum",
    "colon", *_RIBS, "humerus_left", "humerus_right", "scapula_left", "scapula_right", "clavicula_left",
    "clavicula_right", "femur_left", "femur_right", "hip_left", "hip_right", "sacrum", "face", "gluteus_maximus_left",
    "gluteus_maximus_right", "gluteus_medius_left", "gluteus_medius_right", "gluteus_minimus_left",
    "gluteus_minimus_right", "autochthon_left", "autochthon_right", "iliopsoas_left", "iliopsoas_right",
    "urinary_bladder",
]  # fmt: skip
_MOOSE = [
    "adrenal_gland_left", "adrenal_gland_right", "bladder", "brain", "gallbladder", "kidney_left", "kidney_right",
    "liver", "lung_lower_lobe_left", "lung_lower_lobe_right", "lung_middle_lobe_right", "lung_upper_lobe_left",
    "lung_upper_lobe_right", "pancreas", "spleen", "stomach", "thyroid_left", "thyroid_right", "trachea",
]  # fmt: skip
_AUTOPET3 = [
    "spleen", "kidneys", "liver", "urinary_bladder", "lungs", "brain", "heart", "stomach", "prostate", "head_glands",
]  # fmt: skip

ORGAN_TABLES: Final[Mapping[str, Mapping[int, str]]] = {
    name: dict(enumerate(names, start=1))
    for name, names in {
        "totalsegmentator": _TOTALSEGMENTATOR,
        "totalsegmentator-v1": _TOTALSEGMENTATOR_1,
        "moose": _MOOSE,
        "autopet3": _AUTOPET3,
    }.items()
}
"""Names of the labels by the program that made the map."""

# Other names of an organ or of its parts in these programs, without the side.
_SAME: Final = {
    "bladder": "urinary bladder",
    "kidneys": "kidney",
    "lungs": "lung",
    "oesophagus": "esophagus",
    "thyroid": "thyroid gland",
    "head glands": "salivary glands",
    "parotid gland": "salivary glands",
    "submandibular gland": "salivary glands",
    "small intestine": "small bowel",
    "large intestine": "colon",
    "hip": "hip bone",
    "clavicula": "clavicle",
    "autochthon": "back muscles",
}
_PARTS: Final = {"lung": "lung", "heart": "heart", "atrial": "heart", "gluteus": "gluteal muscle", "brain": "brain"}
"""First words of names that mean a part of an organ."""

PHYSIOLOGICAL_ORGANS: Final = frozenset(
    {
        "brain", "heart", "kidney", "urinary bladder", "stomach", "duodenum", "small bowel", "colon", "salivary glands",
    }
)  # fmt: skip
"""Organs that take up or collect FDG in health, so that uptake inside them needs a second look.

Liver and spleen are not among them: they are evenly warm, and real lesions lie in them (docs/reference/lesions.md).
"""


def describe_label(name: str) -> tuple[str, str]:
    """Return the organ that a label's name means, and its side: 'left', 'right' or ''.

    Args:
        name: as programs write it, such as `kidney_left`, `Left kidney`, `lung_upper_lobe_right`.
    """
    words = name.replace("_", " ").replace("-", " ").split()
    side = next((word.lower() for word in words if word.lower() in ("left", "right")), "")
    rest = [word for word in words if word.lower() not in ("left", "right")]
    plain = " ".join(word if word[:1].isupper() and word[1:].isdigit() else word.lower() for word in rest)
    if rest and rest[0].lower() in _PARTS and plain != "lung vessels":
        return _PARTS[rest[0].lower()], side
    if plain.startswith("vertebrae "):
        return f"vertebra {plain.removeprefix('vertebrae ')}", side
    return _SAME.get(plain, plain), side
