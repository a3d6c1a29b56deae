"""Fixtures of the tests of the training code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_phantoms import prepared_folder, small_network

from autosegnet_training import train


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare four cases in two folds, one of them without lesion."""
    return prepared_folder(tmp_path_factory.mktemp("phantoms"), cases=4, negative=1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training with a small network, on one thread, so that sums are taken in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(train, "build_network", small_network)
    yield
    torch.set_num_threads(threads)
