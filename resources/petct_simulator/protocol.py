"""What of a simulated study is chosen rather than drawn."""

from dataclasses import dataclass

SPACING_MM = (4.07, 4.07, 3.0)


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is chosen rather than drawn.

    spacing_mm: (x, y, z); field_mm: width of the PET's field of view; cohort: None to draw it; varied: draw uptake,
    patterns and scanner far beyond the plausible, as for training.
    """

    spacing_mm: tuple[float, float, float] = SPACING_MM
    field_mm: float | None = None
    cohort: str | None = None
    varied: bool = False
