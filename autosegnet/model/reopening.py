"""An engine for one study after the other, of which one that is too large for the GPU costs only itself its speed."""

from __future__ import annotations

from collections.abc import Callable

from autosegnet.model.engine import Engine


def reopened(open_engine: Callable[[], Engine]) -> Callable[[], Engine]:
    """What gives the engine: opened at the first call, and anew where a lack of GPU memory has moved it to the CPU.

    The caller keeps no engine from one call to the next, so that two are never in memory.

    Args:
        open_engine: opens one, whose name says where it runs.
    """
    opened: list[tuple[str, Engine]] = []

    def engine() -> Engine:
        if not opened or opened[0][1].name != opened[0][0]:
            opened.clear()
            fresh = open_engine()
            opened.append((fresh.name, fresh))
        return opened[0][1]

    return engine
