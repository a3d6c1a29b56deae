"""Which units of a PET can become SUV."""

from autosegnet.suv.patient import format_header_text
from autosegnet.suv.pet_header import name_field


def find_units_fault(units: str, *, has_factor: bool) -> str:
    """Return why values in some units cannot become SUV, or ''.

    Args:
        units: of the series.
        has_factor: whether one of Philips' private factors is positive.
    """
    if units in ("BQML", "GML", "CM2ML") or (units == "CNTS" and has_factor):
        return ""
    if units == "CNTS":
        return (
            f"{name_field('units')} is CNTS without {name_field('philips_suv_factor')} or "
            f"{name_field('philips_activity_factor')}; counts need one of them, positive"
        )
    found = f"is {format_header_text(units)!r}" if units else "is missing"
    return f"{name_field('units')} {found}; SUV can be derived from BQML, CNTS (Philips), GML and CM2ML"
