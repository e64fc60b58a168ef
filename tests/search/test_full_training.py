"""A finalist learns from as many unlabeled rows as the time allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc import artifact
from bmc import data as datasets
from bmc.search.chain import Effort, Origin
from bmc.search.exporting import without_test
from bmc.search.full_training import FullTraining, ShortTraining, full_training, recipe_epochs

FULL = FullTraining(epochs=4, labeled=6_000, rows_a_second=100)
PRUNED = ShortTraining(seconds=60 + 60, epochs=1, rows=6_000)  # a hundredth of a second for a row


def test_what_the_teacher_and_the_training_take_must_fit_into_half_of_the_time() -> None:
    ten_thousand = 160 + 4 * 160  # seconds of 16,000 rows: answers, and four epochs
    assert FULL.effort(PRUNED, "", 2 * ten_thousand + 1) == Effort(4, None, 0, 10_000)
    assert FULL.effort(PRUNED, "", 2 * ten_thousand - 1) == Effort(4, None, 0, 0)
    assert FULL.effort(PRUNED, "", 1e6) == Effort(4, None, 0, 150_000)
    assert FULL.effort(PRUNED, "", -5) == Effort(4, None, 0, 0)


def test_a_student_learns_for_the_epochs_of_its_recipe() -> None:
    assert recipe_epochs("tiny") == 3
    tiny = ShortTraining(seconds=60 + 6, epochs=1, rows=6_000)
    thirty_thousand = 360 + 3 * 36
    assert FULL.effort(tiny, "tiny", 2 * thirty_thousand + 1) == Effort(4, None, 30_000)


def test_without_a_known_time_or_unlabeled_rows_labeled_ones_are_all() -> None:
    assert FULL.effort(None, "", 1e6) == Effort(4, None, 0, 0)
    assert FullTraining(4, 6_000).effort(PRUNED, "", 1e6) == Effort(4, None, 0, 0)


def test_the_model_is_timed_where_it_has_rows_to_answer(digits_model: Path) -> None:
    model, data = artifact.load(digits_model), without_test(datasets.load("digits"))
    origin = Origin(str(digits_model), {"data": "digits"})
    assert full_training(model, data, origin) == FullTraining(16, len(data.train))
    origin = Origin(str(digits_model), {"data": "digits"}, "imagefolder:more")
    assert full_training(model, data, origin).rows_a_second > 10


def test_an_unknown_student_is_an_error() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        recipe_epochs("huge")
