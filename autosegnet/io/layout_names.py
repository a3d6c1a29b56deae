"""The names that files and folders of PET/CT studies have in the layouts that people use, in lower case.

They are compared without regard to upper and lower case. What lies where is said in `batch.layouts`; the names stand
here because masks are found by them, too.
"""

from __future__ import annotations

from typing import Final

TREE_PET: Final = "suv"
"""Beside ctres and seg, as tcia2nifti writes FDG-PET-CT-Lesions (github.com/lab-midas/TCIA_processing)."""
TREE_CT: Final = ("ctres", "ct")
"""The CT on the PET's grid, else the original one."""
TREE_STEMS: Final = (TREE_PET, *TREE_CT, "pet")
MASK_STEM: Final = "seg"

IMAGE_FOLDERS: Final = ("imagestr", "imagests", "images")
"""Of nnU-Net, HECKTOR and other collections; they are no part of a case's name."""
LABEL_FOLDERS: Final = ("labelstr", "labelsts")

PAIRED_SUFFIXES: Final = (
    ("_0001", "_0000"),  # nnU-Net's channels, as autoPET numbers them
    ("_pt", "_ct"),  # HECKTOR (two underscores), lymphoma collections
    ("_pet", "_ct"),
)
"""PET and CT of one case by the ends of their names."""

PAIRED_PREFIXES: Final = (("pt_", "ct_"), ("pet_", "ct_"))
"""PET and CT by the beginnings of their names, as LION and MOOSE want them."""
