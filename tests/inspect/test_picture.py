"""Pictures of layers, whatever the layers are called."""

from __future__ import annotations

from bmc.inspect import picture
from bmc.inspect.sensitivity import Loss, Sensitivity
from bmc.measure.scores import Interval


def test_a_layer_may_have_quotes_and_backslashes_in_its_name() -> None:
    interval = Interval(0.1, 0.0, 0.2)
    losses = tuple(Loss(name, "int8", interval, 0.1) for name in ("driver's", 'a"b', "c\\d"))
    svg = picture.losses(Sensitivity("accuracy", Interval(0.9, 0.8, 1.0), 9, losses))
    assert "driver's" in svg
    assert "c\\d" in svg
