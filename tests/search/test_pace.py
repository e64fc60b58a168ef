"""How many rows candidates learn from in a given time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bmc import artifact
from bmc import data as datasets
from bmc.search.exporting import without_test
from bmc.search.pace import learned_a_second, rows_a_second


def test_a_model_is_timed_on_training_rows(digits_model: Path) -> None:
    model, data = artifact.load(digits_model), without_test(datasets.load("digits"))
    assert rows_a_second(model, data) > 10


def test_a_fast_candidate_learns_from_more_rows_unless_its_teacher_answers_each_batch(
    digits_model: Path,
) -> None:
    model, data = artifact.load(digits_model), datasets.load("digits")
    assert learned_a_second(model, data, 60, 1) == 10
    assert learned_a_second(model, data, 60, 6) == 60
    assert learned_a_second(model, data, 60, 0.5) == 10
    origin = {"settings": {"augment": ["crop"]}}
    augmented = replace(model, origin=origin)
    assert learned_a_second(augmented, replace(data, kind="text"), 60, 3) == 30
    assert learned_a_second(augmented, replace(data, kind="image"), 60, 3) == 20
