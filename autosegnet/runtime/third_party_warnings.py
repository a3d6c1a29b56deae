"""Catches warnings of other packages, one thread at a time, because Python's filters are shared by all threads."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

_ONE_AT_A_TIME = threading.RLock()  # if two overlapped, the first to end would undo the other's filters


@contextmanager
def catch_warnings(action: Literal["always", "ignore"]) -> Iterator[list[warnings.WarningMessage]]:
    """Catch warnings instead of showing them. Other threads wait here meanwhile.

    Yields:
        The warnings, as they come; none if they are ignored.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter(action)
        yield said
