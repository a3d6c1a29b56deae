"""Keeps one engine open from study to study. A study too large for the GPU slows down only itself."""

from __future__ import annotations

from collections.abc import Callable

from autosegnet.model.engine import Engine


def keep_engine_open(open_engine: Callable[[], Engine]) -> Callable[[], Engine]:
    """Return a function that returns the engine. It opens it at the first call, and again after a move to the CPU.

    The caller must not keep an engine from one call to the next, so that two are never in memory.

    Args:
        open_engine: opens one, whose name says where it runs.
    """
    opened: list[tuple[str, Engine]] = []

    def open_once() -> Engine:
        if not opened or opened[0][1].name != opened[0][0]:
            opened.clear()
            fresh = open_engine()
            opened.append((fresh.name, fresh))
        return opened[0][1]

    return open_once
