"""Learning curves as text and SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bmc import curves

EPOCHS = [
    {"epoch": 1, "validation_accuracy": 0.5, "training_loss": 0.9},
    {"epoch": 2, "validation_accuracy": 0.75, "training_loss": 0.5},
    {"epoch": 3, "validation_accuracy": 0.7, "training_loss": 0.4},
]


def test_a_line_has_first_value_a_bar_an_epoch_and_last_value() -> None:
    accuracy, loss = curves.lines(EPOCHS)
    assert accuracy == f"{'validation accuracy':<20} 0.5 ▁█▇ 0.7  (3 epochs)"
    assert loss == f"{'training loss':<20} 0.9 █▂▁ 0.4  (3 epochs)"


def test_many_epochs_take_sixty_bars_and_equal_values_none_higher() -> None:
    assert len(curves.spark(range(1000))) == 60
    assert curves.spark([2.0, 2.0]) == "▁▁"


def test_the_picture_has_a_panel_for_each_curve_and_is_xml() -> None:
    picture = ElementTree.fromstring(curves.svg(EPOCHS))
    names = [text.text for text in picture.iter() if text.get("font-weight") == "bold"]
    assert names == ["validation accuracy", "training loss"]
    (first, _) = (line.get("points") for line in picture.iter() if line.tag.endswith("polyline"))
    assert first is not None
    assert first.split()[0] == "36.0,144.0"
    assert first.split()[1].endswith(",36.0")


def test_a_strangers_name_is_escaped() -> None:
    picture = curves.svg([{"<script>": 1.0}])
    assert "<script>" not in picture
    assert "&lt;script&gt;" in picture


@pytest.mark.parametrize("recorded", [None, 3, "x", [1, "y"], [], {}, [{"a": 1e300}]])
def test_what_is_no_history_draws_nothing(recorded: object) -> None:
    assert curves.svg(curves.epochs_of(recorded)) == ""
    assert list(curves.lines(curves.epochs_of(recorded))) == []
