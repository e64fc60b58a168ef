"""Scores of tags: spans as seqeval counts them, accuracy of words, intervals over rows."""

from __future__ import annotations

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score

from bmc.contracts import tasks
from bmc.measure import scores, tag_scores

NAMES = ("B-A", "B-B", "I-A", "I-B", "O")
PLAIN = ("DET", "NOUN", "VERB")


def drawn(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs that are right for two words of three, and labels of 30 rows."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 8, 30)
    tags = generator.integers(0, classes, lengths.sum())
    guessed = np.where(generator.random(len(tags)) < 0.67, tags, generator.permutation(tags))
    outputs = np.eye(classes, dtype=np.float32)[guessed]
    return outputs, np.stack([tags, np.repeat(np.arange(30), lengths)], axis=1)


def written(tags: np.ndarray, rows: np.ndarray) -> list[list[str]]:
    return [[NAMES[tag] for tag in tags[rows == row]] for row in range(30)]


def test_scores_of_spans_are_those_of_seqeval() -> None:
    outputs, labels = drawn(len(NAMES))
    truth = written(labels[:, 0], labels[:, 1])
    predicted = written(outputs.argmax(axis=1), labels[:, 1])
    scores = tag_scores.span_scores(outputs, labels, NAMES)
    assert scores["span_f1"]["value"] == pytest.approx(f1_score(truth, predicted))
    assert scores["span_precision"]["value"] == pytest.approx(precision_score(truth, predicted))
    assert scores["span_recall"]["value"] == pytest.approx(recall_score(truth, predicted))
    by_type = f1_score(truth, predicted, average=None)
    assert [scores["by_type"][kind]["f1"] for kind in ("A", "B")] == pytest.approx(list(by_type))
    assert scores["span_f1"]["low"] < scores["span_f1"]["value"] < scores["span_f1"]["high"]


def test_scores_of_plain_tags_are_those_of_classification() -> None:
    outputs, labels = drawn(len(PLAIN))
    scores = tasks.scoring("tokens", PLAIN).scores(outputs, labels)
    of_words = tasks.scoring("classification").scores(outputs, labels[:, 0])
    for name in ("macro_precision", "by_class", "confusion", "calibration_error"):
        assert scores[name] == of_words[name]
    for name in ("accuracy", "macro_f1"):
        assert scores[name]["value"] == pytest.approx(of_words[name]["value"])


@pytest.mark.parametrize("names", [NAMES, PLAIN])
def test_lost_kept_and_changed_agree(names: tuple[str, ...]) -> None:
    scoring = tasks.scoring("tokens", names)
    outputs, labels = drawn(len(names))
    reference = np.eye(len(names), dtype=np.float32)[labels[:, 0]]
    value = scoring.value(outputs, labels)
    assert scoring.value(reference, labels) == 1
    assert scoring.lost(outputs, reference, labels).value == pytest.approx(1 - value)
    assert scoring.changed(outputs, reference, labels) == pytest.approx(100 * (value - 1))
    assert scoring.interval(outputs, labels).value == pytest.approx(value)
    assert scoring.kept is not None
    assert scoring.kept(outputs, reference, labels).value == pytest.approx(value)


def test_the_measure_depends_on_the_tags() -> None:
    assert tasks.scoring("tokens", NAMES).measure == "span_f1"
    assert tasks.scoring("tokens", PLAIN).measure == "accuracy"


def test_the_interval_of_agreement_resamples_rows_not_words() -> None:
    rows = np.repeat(np.arange(40), 25)
    labels = np.stack([np.zeros_like(rows), rows], axis=1)
    outputs = np.eye(2, dtype=np.float32)[np.zeros(len(rows), int)]
    other = np.eye(2, dtype=np.float32)[rows % 2]  # all words of a row agree, or none
    of_rows = scores.agreement(outputs, other, "tokens", labels)
    of_words = scores.agreement(outputs, other, "tokens")
    assert of_rows.value == of_words.value == 0.5
    assert of_rows.high - of_rows.low > 4 * (of_words.high - of_words.low)
    one_each = np.stack([labels[:, 0], np.arange(len(rows))], axis=1)
    assert scores.agreement(outputs, other, "tokens", one_each) == of_words
