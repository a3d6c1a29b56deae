"""A place in the patient."""

Position = tuple[float, float, float]
"""LPS, mm."""
