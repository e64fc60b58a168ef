"""Scores of tags of words: accuracy of plain tags, F1 of the spans that tags mark.

Words of a row depend on each other, so intervals resample rows, not words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import MissingError
from bmc.measure import scores
from bmc.measure.scores import Interval

Logits = NDArray[np.float32]
Labels = NDArray[Any]
Counts = NDArray[np.int64]
_LEAST = 1e-9


def row_starts(labels: Labels) -> Counts:
    """Return the index of the first word of each row.

    Args:
        labels: tag and number of the row of each word, (words, 2).
    """
    is_first = np.append(True, np.diff(labels[:, 1]) != 0)
    return np.flatnonzero(is_first)


def correct_by_row(outputs: Logits, labels: Labels) -> tuple[Counts, Counts]:
    """Return the correctly tagged words of each row, and all its words, (rows)."""
    starts = row_starts(labels)
    correct = (outputs.argmax(axis=1) == labels[:, 0]).astype(np.int64)
    return np.add.reduceat(correct, starts), np.diff(np.append(starts, len(labels)))


def accuracy(outputs: Logits, labels: Labels) -> Interval:
    """Return the fraction of correctly tagged words."""
    correct = (outputs.argmax(axis=1) == labels[:, 0]).astype(np.float64)
    return scores.mean_of_rows(correct, row_starts(labels))


def accuracy_lost(outputs: Logits, reference: Logits, labels: Labels) -> Interval:
    """Return the accuracy lost relative to a reference, with a paired interval."""
    correct, words = correct_by_row(outputs, labels)
    lost = correct_by_row(reference, labels)[0] - correct
    return scores.bootstrap(lambda rows: float(lost[rows].sum() / words[rows].sum()), len(words))


def accuracy_kept(outputs: Logits, reference: Logits, labels: Labels) -> Interval:
    """Return the ratio of two accuracies, with a paired interval."""
    correct, before = (correct_by_row(each, labels)[0] for each in (outputs, reference))
    return scores.bootstrap(
        lambda rows: float(correct[rows].sum() / max(before[rows].sum(), _LEAST)), len(correct)
    )


def plain_scores(outputs: Logits, labels: Labels) -> dict[str, Any]:
    """Return accuracy, macro F1, precision and recall, the same of each tag, and calibration.

    The keys are those of classification, with words as rows.
    """
    truth, predicted = labels[:, 0], outputs.argmax(axis=1)
    by_row = _tags_by_row(truth, predicted, labels, outputs.shape[1])
    return {
        "accuracy": asdict(accuracy(outputs, labels)),
        "macro_f1": asdict(_macro_f1(*by_row)),
        **scores.class_scores(predicted, truth, outputs.shape[1]),
        "calibration_error": calibration_error(outputs, labels),
    }


def calibration_error(outputs: Logits, labels: Labels) -> float:
    """Return the expected calibration error of words; see `scores.calibration_error`."""
    return scores.calibration_error(outputs, labels[:, 0])


def _tags_by_row(
    truth: Counts, predicted: Counts, labels: Labels, tags: int
) -> tuple[Counts, Counts]:
    """Return for each row and tag the correct words, and actual plus predicted ones."""
    starts = row_starts(labels)
    row_of_word = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(labels))))

    def counted(words: NDArray[np.bool_], tag_of_word: Counts) -> Counts:
        flat = row_of_word[words] * tags + tag_of_word[words]
        return np.bincount(flat, minlength=len(starts) * tags).reshape(-1, tags)

    every = np.ones(len(truth), bool)
    total = counted(every, truth) + counted(every, predicted)
    return counted(truth == predicted, truth), total


def _macro_f1(correct: Counts, total: Counts) -> Interval:
    def score(rows: NDArray[np.int64]) -> float:
        of_tag, both = correct[rows].sum(axis=0), total[rows].sum(axis=0)
        return float(np.mean(2 * of_tag[both > 0] / both[both > 0]))

    return scores.bootstrap(score, len(correct))


@dataclass(frozen=True)
class SpanCounts:
    """Numbers of spans in each row, by type.

    Args:
        types: types of spans.
        correct: predicted spans with the right type and limits, int64 (rows, types).
        predicted: predicted spans.
        actual: true spans.
    """

    types: tuple[str, ...]
    correct: Counts
    predicted: Counts
    actual: Counts

    @staticmethod
    def of(outputs: Logits, labels: Labels, names: Sequence[str]) -> SpanCounts:
        """Count the spans of predicted and true tags, as seqeval reads them.

        Args:
            outputs: logits of the tags, (words, tags).
            labels: tag and number of the row of each word, (words, 2).
            names: names of the tags.
        """
        starts = row_starts(labels)
        true, predicted = (
            _spans(tags, starts, names) for tags in (labels[:, 0], outputs.argmax(axis=1))
        )
        types = tuple(sorted({kind for kind, _, _ in true | predicted}))
        shares = (predicted & true, predicted, true)
        return SpanCounts(types, *(_by_row(spans, types, starts) for spans in shares))

    def f1(self, rows: NDArray[np.int64] | slice = slice(None)) -> float:
        """Return the F1 of all types together, for some rows; 0 without any span."""
        correct = self.correct[rows].sum()
        total = self.predicted[rows].sum() + self.actual[rows].sum()
        return float(2 * correct / max(total, 1))

    def share(self, of: Counts, rows: NDArray[np.int64]) -> float:
        """Return the share of the correct ones among spans: precision, or recall."""
        return float(self.correct[rows].sum() / max(of[rows].sum(), 1))

    def by_type(self) -> dict[str, dict[str, float]]:
        """Return precision, recall, F1 and the number of true spans of each type."""
        sums = (each.sum(axis=0).tolist() for each in (self.correct, self.predicted, self.actual))
        return {
            kind: {
                "precision": correct / max(predicted, 1),
                "recall": correct / max(actual, 1),
                "f1": 2 * correct / max(predicted + actual, 1),
                "spans": actual,
            }
            for kind, correct, predicted, actual in zip(self.types, *sums, strict=True)
        }


def span_scores(outputs: Logits, labels: Labels, names: Sequence[str]) -> dict[str, Any]:
    """Return F1, precision and recall of spans, the same of each type, and accuracy of words."""
    counts = SpanCounts.of(outputs, labels, names)
    rows = len(counts.actual)

    def interval(of: Counts) -> dict[str, float]:
        return asdict(scores.bootstrap(lambda drawn: counts.share(of, drawn), rows))

    return {
        "span_f1": asdict(scores.bootstrap(counts.f1, rows)),
        "span_precision": interval(counts.predicted),
        "span_recall": interval(counts.actual),
        "word_accuracy": asdict(accuracy(outputs, labels)),
        "by_type": counts.by_type(),
        "calibration_error": calibration_error(outputs, labels),
    }


def f1(outputs: Logits, labels: Labels, names: Sequence[str]) -> Interval:
    """Return the F1 of spans of all types together."""
    counts = SpanCounts.of(outputs, labels, names)
    return scores.bootstrap(counts.f1, len(counts.actual))


def f1_lost(outputs: Logits, reference: Logits, labels: Labels, names: Sequence[str]) -> Interval:
    """Return the span F1 lost relative to a reference, with a paired interval."""
    after, before = (SpanCounts.of(each, labels, names) for each in (outputs, reference))
    return scores.bootstrap(lambda rows: before.f1(rows) - after.f1(rows), len(after.actual))


def f1_kept(outputs: Logits, reference: Logits, labels: Labels, names: Sequence[str]) -> Interval:
    """Return the ratio of two span F1, with a paired interval."""
    after, before = (SpanCounts.of(each, labels, names) for each in (outputs, reference))
    return scores.bootstrap(
        lambda rows: after.f1(rows) / max(before.f1(rows), _LEAST), len(after.actual)
    )


def _spans(tags: Counts, starts: Counts, names: Sequence[str]) -> set[tuple[str, int, int]]:
    """Return the type, first and last word of each span; words are counted over all rows."""
    try:
        # Imported here, because only scores need the package: a bundle predicts without it.
        from seqeval.metrics.sequence_labeling import get_entities  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingError(
            "the F1 of spans needs the package seqeval: pip install 'bmc-toolkit[train]'"
        ) from error
    written = [names[tag] for tag in tags.tolist()]
    bounds = zip(starts.tolist(), [*starts[1:].tolist(), len(written)], strict=True)
    # seqeval puts an O after each row, so its indices grow by one with every row.
    entities = get_entities([written[start:stop] for start, stop in bounds])
    first_words = starts + np.arange(len(starts))
    rows = np.searchsorted(first_words, [first for _, first, _ in entities], side="right") - 1
    return {
        (kind, first - row, last - row)
        for (kind, first, last), row in zip(entities, rows.tolist(), strict=True)
    }


def _by_row(spans: set[tuple[str, int, int]], types: Sequence[str], starts: Counts) -> Counts:
    counts = np.zeros((len(starts), len(types)), np.int64)
    listed = list(spans)
    index_of = {kind: index for index, kind in enumerate(types)}
    rows = np.searchsorted(starts, [first for _, first, _ in listed], side="right") - 1
    for row, (kind, _, _) in zip(rows.tolist(), listed, strict=True):
        counts[row, index_of[kind]] += 1
    return counts
