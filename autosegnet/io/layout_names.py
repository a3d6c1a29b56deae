"""The names that files and folders of PET/CT studies have in the layouts that people use, in lower case.

Upper and lower case make no difference. `batch.layouts` defines the layouts; the names are here because masks are also
found by them.
"""

from __future__ import annotations

from typing import Final

TREE_PET: Final = "suv"
"""The PET's name beside ctres and seg, as written by tcia2nifti (github.com/lab-midas/TCIA_processing)."""
TREE_CT: Final = ("ctres", "ct")
"""The CT on the PET's grid, else the original one."""
TREE_STEMS: Final = (TREE_PET, *TREE_CT, "pet")
MASK_STEM: Final = "seg"

IMAGE_FOLDERS: Final = ("imagestr", "imagests", "images")
"""Folders of nnU-Net, HECKTOR and other collections; they are not part of a case's name."""
LABEL_FOLDERS: Final = ("labelstr", "labelsts")

PAIRED_SUFFIXES: Final = (
    ("_0001", "_0000"),  # nnU-Net's channels, as autoPET numbers them
    ("_pt", "_ct"),  # HECKTOR (two underscores), lymphoma collections
    ("_pet", "_ct"),
)
"""PET and CT of one case by the ends of their names."""

PAIRED_PREFIXES: Final = (("pt_", "ct_"), ("pet_", "ct_"))
"""PET and CT by the beginnings of their names, as LION and MOOSE expect."""
