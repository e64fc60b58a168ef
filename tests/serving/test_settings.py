"""Settings of a service are checked when they are made."""

from __future__ import annotations

import pytest

from bmc.errors import SettingError
from bmc.serving.settings import ServingSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 70_000}, "port is 70000; it must lie in 0 to 65535"),
        ({"max_batch": 0}, "max batch is 0; it must be a number from 1"),
        ({"max_delay": float("nan")}, "max delay is nan"),
        ({"max_text": 0}, "max text is 0; it must be a number from 1"),
        ({"timeout": 0.0}, "timeout is 0.0; it must be above 0"),
        ({"max_held": 1.0}, "max held is 1.0 MB; it must be at least max body, 4.0 MB"),
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name(
    settings: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        ServingSettings(**settings)  # type: ignore[arg-type]
