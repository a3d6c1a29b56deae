"""Segment lesions in whole-body FDG PET/CT with a five-fold 3D residual U-Net.

`segment` segments one study; a `Segmenter` loads the weights once for many. Importing this package imports neither
torch nor SimpleITK: they are loaded with the first of these names.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"
__all__ = ["Result", "Segmenter", "__version__", "segment"]

if TYPE_CHECKING:
    from autosegnet.segmenter import Result, Segmenter, segment


def __getattr__(name: str) -> Any:
    if name in __all__:
        from autosegnet import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
