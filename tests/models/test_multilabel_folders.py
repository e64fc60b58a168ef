"""Hugging Face folders whose head gives a text several labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.errors import ArtifactError
from bmc.inputs.text import TextSettings
from bmc.models import bert
from tests.faults import _folders

TEXT = TextSettings(24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = _folders.uncased(tmp_path / "folder")
    _folders.changed(path / "config.json", problem_type="multi_label_classification")
    return path


def test_its_rows_are_kept_by_name_and_it_says_what_it_is(folder: Path) -> None:
    model = bert.pretrained(str(folder), ("bad", "good"), TEXT, "multilabel")
    assert model.task == "multilabel"
    assert model.origin["pretrained"]["rows"] == [1, 0]
    assert model.spec["problem_type"] == "multi_label_classification"


def test_for_one_label_a_row_it_is_refused_with_the_task_that_keeps_it(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="--task multilabel keeps it"):
        bert.pretrained(str(folder), ("bad", "good"), TEXT)


def test_a_head_of_one_label_a_row_starts_several(tmp_path: Path) -> None:
    path = _folders.uncased(tmp_path / "folder")
    model = bert.pretrained(str(path), ("bad", "good"), TEXT, "multilabel")
    assert model.origin["pretrained"]["rows"] == [1, 0]
