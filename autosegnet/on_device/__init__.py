"""The way to the network's grid and back, as `preprocess` and `postprocess` go it, on the device of an engine."""

from autosegnet.on_device.steps import fill_on_device, restore_map_on_device, restore_on_device

__all__ = ["fill_on_device", "restore_map_on_device", "restore_on_device"]
