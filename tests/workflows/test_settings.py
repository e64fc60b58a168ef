"""Settings by name: renamed ones are still understood, and messages show the new names alone."""

from __future__ import annotations

import pytest

from bmc.compress.prune.structured import Structured
from bmc.compress.quantize.dynamic import Dynamic
from bmc.compress.quantize.fp16 import Fp16
from bmc.compress.quantize.mixed import Mixed
from bmc.compress.quantize.static import Static
from bmc.compress.quantize.weights import Weights
from bmc.errors import SettingError, UnknownError
from bmc.training.settings import TrainingSettings
from bmc.workflows.settings import settings_from


def test_the_old_name_of_a_setting_sets_the_new_one() -> None:
    assert settings_from(Static, {"reach": "0"}, "static") == {"outlier_threshold": 0.0}
    assert settings_from(Static, {"outlier-threshold": 4}, "static") == {"outlier_threshold": 4.0}


@pytest.mark.parametrize("step", [Static, Mixed, Dynamic, Fp16, Weights])
def test_calibration_samples_have_their_old_name_too(step: type) -> None:
    assert settings_from(step, {"rows": "64"}, "quantize") == {"samples": 64}


def test_what_mixed_may_lose_has_its_old_name_too() -> None:
    assert settings_from(Mixed, {"max_points": 1.0}, "mixed") == {"max_drop": 1.0}


def test_a_message_lists_no_old_names() -> None:
    with pytest.raises(UnknownError, match="outlier_threshold") as refused:
        settings_from(Static, {"outlier_treshold": "0"}, "static")
    assert "reach" not in str(refused.value)


def test_another_tools_name_of_a_setting_is_answered_with_bmcs() -> None:
    with pytest.raises(UnknownError, match=r"named 'lr'. Did you mean 'learning_rate'\?"):
        settings_from(TrainingSettings, {"lr": 0.1}, "training")


def test_a_text_is_read_by_the_type_of_its_setting() -> None:
    typed = {"epochs": "3", "learning_rate": "1e-3", "augment": "crop, flip"}
    read = settings_from(TrainingSettings, typed, "training")
    assert read == {"epochs": 3, "learning_rate": 1e-3, "augment": ("crop", "flip")}
    with pytest.raises(SettingError, match="epochs is 'x'; it must be a whole number"):
        settings_from(TrainingSettings, {"epochs": "x"}, "training")
    with pytest.raises(SettingError, match="cannot be typed"):
        settings_from(Structured, {"ratios": "x"}, "structured")
