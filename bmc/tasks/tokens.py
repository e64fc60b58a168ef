"""Token classification: a tag for each word of a text, plain (NOUN) or marking spans (B-PER).

Words take the place of rows: outputs are (words, tags), and labels are the tag and the number of
the row of each word, (words, 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import Classes, LabelReading, Scoring, Task
from bmc.errors import DataError
from bmc.label_names import names_in, natural
from bmc.measure import tag_scores
from bmc.measure.tag_scores import SpanCounts
from bmc.predictions import Prediction, Span
from bmc.tag_schemes import marks_spans, spans_in
from bmc.tag_sequences import TagSequences
from bmc.tasks import classification

if TYPE_CHECKING:
    from bmc.data import Table
    from bmc.inputs.words import Words

Logits = NDArray[np.float32]
Labels = NDArray[Any]
_WORDS = "words"


def numbered(table: Table, name: str) -> tuple[tuple[str, ...], Labels, Labels]:
    """Return the tags, and the tag indices of the words of each row: tuples, object (rows).

    Raises:
        DataError: the rows are not words with tags, or there are fewer than two tags.
    """
    if table.kind != _WORDS:
        raise DataError(
            f"data {name!r} holds {table.kind} rows; --task tokens reads words with a tag each: a "
            ".conll or .txt file of columns, or a .jsonl file with tokens and tags, or text and "
            "spans"
        )
    held = table.official_test.labels if table.official_test else ()
    rows, held_rows = ([names_in(text) for text in texts] for texts in (table.labels, held))
    in_rows = {tag for row in (*rows, *held_rows) for tag in row}
    tags = list(table.classes) or sorted(sorted(in_rows), key=natural)
    if missing := set(tags) ^ in_rows:
        raise DataError(
            f"data {name!r}: the tags are named {', '.join(tags)}, and rows have "
            f"{', '.join(sorted(in_rows))}; {', '.join(sorted(missing))} is in only one of the two"
            ": add rows that have it, or correct the names"
        )
    if len(tags) < 2:
        raise DataError(
            f"data {name!r} has only the tag {tags[0]!r} ({len(rows)} rows); --task tokens needs "
            "two: check that the right column holds the tags"
        )
    index_of = {tag: index for index, tag in enumerate(tags)}
    return tuple(tags), _codes(rows, index_of), _codes(held_rows, index_of)


def strata(codes: Labels) -> NDArray[np.int32]:
    """Return for each row its rarest tag, by the number of rows that have the tag."""
    of_rows = [sorted(set(tags)) for tags in codes]
    rows_with = np.bincount([tag for tags in of_rows for tag in tags])
    rarest = (min(tags, key=lambda tag: (rows_with[tag], tag)) for tags in of_rows)
    return np.fromiter(rarest, np.int32, len(codes))


def counts(codes: Labels, classes: int) -> NDArray[np.int64]:
    """Return the number of rows that have each tag."""
    words = np.array(of_rows(codes)) if codes.dtype == object else codes
    pairs = np.unique(words[:, 1] * classes + words[:, 0]) if len(words) else words[:, 0]
    return np.bincount(pairs % classes, minlength=classes)


def of_rows(codes: Labels) -> TagSequences:
    """Return tag indices of rows, tuples, as sequences."""
    return TagSequences.of(list(codes))


def check_output(labels: Sequence[str], shape: Sequence[Any]) -> None:
    """Check that an output has one value for each token and tag.

    Raises:
        ValueError: it has not, or the tags are missing or not distinct.
    """
    if not labels or len(set(labels)) < len(labels):
        raise ValueError("labels are missing, or not distinct")
    if len(shape) != 3 or shape[2] != len(labels):
        raise ValueError(f"{len(labels)} tags for outputs of shape {tuple(shape)}")


def of_words(
    words: Words, predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[Span, ...]:
    """Return the spans of a row; of plain tags, one for each word.

    Args:
        words: the row's words, with their places in the text.
        predictions: the tag of each word, with its probability.
        labels: names of all tags, which tell whether they mark spans.
    """
    tags = [prediction.label or "" for prediction in predictions]
    spans = [(tag, index, index + 1) for index, tag in enumerate(tags)]
    if marks_spans(labels):
        spans = list(spans_in(tags))
    places = words.places
    return tuple(
        Span(
            kind,
            sum(each.score for each in predictions[first:stop]) / (stop - first),
            places[first][0],
            places[stop - 1][1],
        )
        for kind, first, stop in spans
    )


def scorable(labels: Labels, classes: int) -> bool:
    """Tell whether labels are tag indices and numbers of rows, (words, 2)."""
    if labels.ndim != 2 or labels.shape[1] != 2 or labels.dtype.kind not in "iu":
        return False
    return bool(labels.min() >= 0 and labels[:, 0].max() < classes)


def accuracy_value(outputs: Logits, labels: Labels) -> float:
    """Return the accuracy of words."""
    return float((outputs.argmax(axis=1) == labels[:, 0]).mean())


def accuracy_changed(outputs: Logits, reference: Logits, labels: Labels) -> float:
    """Return the change of the accuracy in points."""
    return 100 * (accuracy_value(outputs, labels) - accuracy_value(reference, labels))


def _span_value(outputs: Logits, labels: Labels, names: Sequence[str]) -> float:
    return SpanCounts.of(outputs, labels, names).f1()


def _span_changed(
    outputs: Logits, reference: Logits, labels: Labels, names: Sequence[str]
) -> float:
    values = [SpanCounts.of(each, labels, names).f1() for each in (outputs, reference)]
    return 100 * (values[0] - values[1])


_PLAIN = Scoring(
    measure="accuracy",
    title="accuracy",
    scores=tag_scores.plain_scores,
    interval=tag_scores.accuracy,
    value=accuracy_value,
    lost=tag_scores.accuracy_lost,
    changed=accuracy_changed,
    scorable=scorable,
    kept=tag_scores.accuracy_kept,
)


def scoring_of(labels: Sequence[str]) -> Scoring:
    """Return the scores of tags: accuracy of plain tags, F1 where they mark spans."""
    return _of_spans(tuple(labels)) if marks_spans(labels) else _PLAIN


@lru_cache(maxsize=16)
def _of_spans(names: tuple[str, ...]) -> Scoring:
    return Scoring(
        measure="span_f1",
        title="span F1",
        scores=partial(tag_scores.span_scores, names=names),
        interval=partial(tag_scores.f1, names=names),
        value=partial(_span_value, names=names),
        lost=partial(tag_scores.f1_lost, names=names),
        changed=partial(_span_changed, names=names),
        scorable=scorable,
        kept=partial(tag_scores.f1_kept, names=names),
    )


def _codes(rows: Sequence[Sequence[str]], index_of: Mapping[str, int]) -> Labels:
    codes = np.empty(len(rows), object)
    for number, tags in enumerate(rows):
        codes[number] = tuple(index_of[tag] for tag in tags)
    return codes


def _row_shape(labels: Sequence[str], spec: Mapping[str, Any]) -> tuple[int | str, ...]:
    return ("sequence", len(labels))


def _written(prediction: Prediction) -> str:
    return prediction.label or ""


TASK = Task(
    output="logits",
    row_shape=_row_shape,
    check_output=check_output,
    predictions=classification.predictions,
    scoring=_PLAIN,
    scoring_of=scoring_of,
    labels=LabelReading(numbered=numbered, strata=strata, counts=counts, of_rows=of_rows),
    classes=Classes(
        agreement=classification.agreement,
        margin=classification.margin,
        written=_written,
        calibration_error=tag_scores.calibration_error,
        row_starts=tag_scores.row_starts,
    ),
    unit="words",
    of_words=of_words,
)
