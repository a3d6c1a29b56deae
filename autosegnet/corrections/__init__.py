"""Corrections by hand: clicks and scribbles on tumour and background, and what they change in a mask.

A corrected mask holds the voxel of every tumour click and of no background click.
"""

from autosegnet.corrections.clicks import Clicks, parse_clicks, read_clicks
from autosegnet.corrections.correct import correct_mask

__all__ = ["Clicks", "correct_mask", "parse_clicks", "read_clicks"]
