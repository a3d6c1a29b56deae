"""The one place that imports OpenVINO, without its telemetry.

At every import, its package `openvino_telemetry` sends a message to an analytics host from a separate process, and
keeps an identity in the home folder. Without that package, OpenVINO does neither.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402  (after the line above)
from openvino import opset15 as opset  # noqa: E402

__all__ = ["opset", "ov"]
