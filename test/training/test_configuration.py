"""Settings of a run: documented, checked, and each an option of the command line."""

import argparse
import json
from dataclasses import fields
from math import pi

import pytest

from autosegnet.errors import UsageError
from autosegnet_training.configuration import (
    PRESETS,
    TrainingConfiguration,
    add_arguments,
    describe_configuration,
    read_configuration,
)


def parsed(*arguments: str) -> TrainingConfiguration:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_configuration(parser.parse_args(arguments))


def test_defaults_are_the_papers() -> None:
    c = parsed()
    assert c == TrainingConfiguration() == PRESETS["paper"]
    assert (c.patch, c.batch, c.epochs, c.optimiser, c.learning_rate) == ((192, 192, 192), 4, 300, "adam", 1e-3)
    assert (c.focal_weights, c.focal_gamma, c.overlap) == ((1.0, 100.0), 2.0, 0.5)
    assert (c.translation_voxels, c.rotation_rad, c.scaling) == (10.0, pi / 12, 0.1)
    assert (c.elastic_sigma, c.elastic_magnitude, c.gamma, c.noise_sigma) == ((0.0, 1.0), (0.0, 1.0), (0.7, 1.5), 0.1)


def test_every_setting_is_documented() -> None:
    assert all(len(f.metadata["what"]) > 10 for f in fields(TrainingConfiguration))


@pytest.mark.parametrize("name", [f.name for f in fields(TrainingConfiguration) if f.name != "preset"])
def test_every_setting_is_an_option(name: str) -> None:
    default = getattr(PRESETS["starter"], name)
    values = default if isinstance(default, tuple) else (default,)
    texts = [str(v).lower() for v in values]
    assert getattr(parsed("--preset", "starter", "--" + name.replace("_", "-"), *texts), name) == default


def test_an_option_overrides_its_preset() -> None:
    c = parsed("--preset", "authors-2024", "--batch", "8", "--patch", "64", "64", "32", "--channels-last", "false")
    assert (c.preset, c.batch, c.patch, c.channels_last, c.optimiser) == (
        "authors-2024", 8, (64, 64, 32), False, "adamw",
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    ["--patch 40 48 48", "--batch 0", "--overlap 1", "--noise-probability 1.5", "--optimiser sgd",
     "--micro-batch 3", "--elastic-sigma 0 2", "--learning-rate 0"],
)  # fmt: skip
def test_values_that_cannot_be_trained_with_are_refused(arguments: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        parsed(*arguments.split())


def test_json_gives_the_settings_back() -> None:
    values = describe_configuration(PRESETS["starter"])
    assert (
        TrainingConfiguration(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        == (PRESETS["starter"])
    )
    assert json.loads(json.dumps(values)) == values
