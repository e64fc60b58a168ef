"""Training settings: checked once, refused by name."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

import pytest

from bmc.errors import SettingError
from bmc.training.settings import (
    AUGMENTATIONS,
    CLASS_WEIGHTS,
    INITIALIZATIONS,
    OPTIMIZERS,
    SCHEDULES,
    TrainingSettings,
)


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": -1},
        {"batch_size": 0},
        {"checkpoint_every": 0},
        {"batch_tokens": -1},
        {"learning_rate": 0.0},
        {"learning_rate": 100.0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"warmup": -0.1},
        {"warmup": 1.0},
        {"label_smoothing": 1.0},
        {"label_smoothing": -0.1},
        {"clip": 0.0},
        {"clip": math.nan},
        {"weight_decay": -0.1},
        {"l1": -1e-9},
        {"l1": math.nan},
        {"patience": -1},
        {"seed": -1},
        {"seed": 2**63},
        {"optimizer": "lion"},
        {"schedule": "triangle"},
        {"initialization": "zeros"},
        {"class_weights": "mine"},
        {"precision": "fp16"},
        {"device": "tpu"},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused_by_name_and_value(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    with pytest.raises(SettingError, match=name.replace("_", ".")) as caught:
        TrainingSettings(**bad)
    assert str(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("initialization", INITIALIZATIONS),
        ("class_weights", CLASS_WEIGHTS),
    ],
)
def test_a_refused_choice_names_those_that_there_are(name: str, choices: tuple[str, ...]) -> None:
    with pytest.raises(SettingError) as caught:
        TrainingSettings(**{name: "?"})  # type: ignore[arg-type]
    for choice in choices:
        assert choice in str(caught.value)
        assert getattr(TrainingSettings(**{name: choice}), name) == choice  # type: ignore[arg-type]


def test_an_unknown_augmentation_is_refused_beside_known_ones() -> None:
    assert TrainingSettings(augment=AUGMENTATIONS).augment == AUGMENTATIONS
    with pytest.raises(SettingError, match="'mirror'") as caught:
        TrainingSettings(augment=("flip", "mirror"))
    assert all(name in str(caught.value) for name in AUGMENTATIONS)


def test_the_extremes_of_each_range_are_taken() -> None:
    TrainingSettings(warmup=0.0, momentum=0.0, label_smoothing=0.0, weight_decay=0.0, seed=0)
    TrainingSettings(warmup=0.99, momentum=0.99, label_smoothing=0.99, seed=2**63 - 1)


def test_every_setting_is_plain_json_and_described() -> None:
    described = TrainingSettings.__doc__ or ""
    for field in fields(TrainingSettings):
        assert f"        {field.name}: " in described
        assert isinstance(asdict(TrainingSettings())[field.name], int | float | str | tuple)
