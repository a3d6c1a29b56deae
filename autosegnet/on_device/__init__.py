"""The way to the network's grid and back, as `preprocess` and `postprocess` go it, on the device of an engine."""

from autosegnet.on_device.steps import fill, restore, restore_map

__all__ = ["fill", "restore", "restore_map"]
