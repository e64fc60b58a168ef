"""How many rows candidates learn from in a given time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmc import artifact
from bmc import data as datasets
from bmc import workspace as workspaces
from bmc.search.exporting import without_test
from bmc.search.pace import answer_ahead, learned_a_second, rows_a_second
from bmc.training.teacher_logits import cached_rows
from bmc.workflows.lineage import weights_sha256


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


@pytest.mark.parametrize(("rows", "are_kept"), [(20, True), (0, False), (-5, False)])
def test_the_model_answers_rows_ahead_for_all_trials(
    rows: int, are_kept: bool, digits_model: Path, workspace: Path, tmp_path: Path
) -> None:
    model, data = artifact.load(digits_model), datasets.load("digits")
    train = np.asarray(data.train.rows)
    images = np.random.default_rng(0).permuted(train[:30], axis=1)
    np.savez(tmp_path / "unlabeled.npz", images=images)
    answer_ahead(digits_model, model, data, str(tmp_path / "unlabeled.npz"), rows)
    kept = cached_rows(weights_sha256(digits_model), workspaces.cache())
    assert kept >= len(train) + rows if are_kept else kept == 0
