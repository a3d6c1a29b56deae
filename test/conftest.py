"""Fixtures that the tests share: tiny folds and real data."""

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from phantoms import TINY
from untrained_folds import write_untrained_weights

from autosegnet.model.recipe import ClickChannels
from autosegnet.model.weights import Weights, open_weights

_DATA = Path(os.environ.get("AUTOSEGNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True)
def _process_left_as_it_was() -> Iterator[None]:
    """Commands that a test runs in this process send the log to streams that end with the test, and catch signals."""
    log = logging.getLogger("autosegnet")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    before = log.handlers[:], log.level, log.propagate
    logging.getLogger().setLevel(logging.WARNING)  # a fixture of the module may have run a command before
    yield
    log.handlers, log.level, log.propagate = before
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, if there is one."""
    if not (_DATA / "sts").is_dir():
        pytest.skip(f"no real data: neither $AUTOSEGNET_DATA nor {_DATA.parent.name}/{_DATA.name} holds sts/")
    return _DATA


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Write two untrained folds of different weight that run on 32^3 windows."""
    folder = tmp_path_factory.mktemp("weights")
    write_untrained_weights(folder, folds=2, recipe=TINY)
    return open_weights(folder)


@pytest.fixture(scope="session")
def click_weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Write one untrained fold that takes clicks, for 32^3 windows."""
    folder = tmp_path_factory.mktemp("click_weights")
    write_untrained_weights(folder, folds=1, recipe=replace(TINY, click_channels=ClickChannels(30.0)))
    return open_weights(folder)
