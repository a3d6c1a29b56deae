"""From a PET's header to the factors that turn its values into SUV (body weight, g/ml).

Importing this imports neither pydicom nor SimpleITK: headers arrive as values (`PetHeader`), factors leave as values
(`Conversion`). Arithmetic is float64 throughout.

Sources: QIBA vendor-neutral pseudo-code for SUV (2018); IBSI manual for SUV computation and its digital reference
objects (oncoray.github.io/suv_computation, 2026); DICOM PS3.3 C.8.9.1.
"""

from autosegnet.suv.balance import weigh_activity
from autosegnet.suv.conversion import MODES, Conversion
from autosegnet.suv.pet_header import PetHeader, PetSlice
from autosegnet.suv.rules import convert
from autosegnet.suv.sidecar import convert_sidecar
from autosegnet.suv.stated import StatedFacts

__all__ = [
    "MODES",
    "Conversion",
    "PetHeader",
    "PetSlice",
    "StatedFacts",
    "convert",
    "convert_sidecar",
    "weigh_activity",
]
