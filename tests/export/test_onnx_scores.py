"""Scores of ONNX files on labeled samples: what labels mean, and when they fit no output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bmc.errors import DataError, ModelCodeError, UsageError
from bmc.export.onnx_scores import Arrays, ScoreFunction, scorer_of
from bmc.onnx_models.samples import Samples


def score(
    labels: NDArray[Any],
    outputs: Sequence[Arrays],
    logits: tuple[str, ...] = (),
    function: ScoreFunction | None = None,
) -> tuple[str, float]:
    """Return the name and the value of the score of outputs."""
    samples = Samples(({},) * len(outputs), "samples", "").labeled(labels)
    scorer = scorer_of(samples, outputs[0], logits, function)
    tally = scorer.tally()
    for index, values in enumerate(outputs):
        tally.add(index, values)
    return scorer.name, tally.interval().value


ONE, TWO = np.array([[0.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("labels", "outputs", "expected"),
    [
        ([1, 1], [{"y": ONE}, {"y": TWO}], ("accuracy", 0.5)),
        ([1, -1], [{"y": ONE}, {"y": TWO}], ("accuracy", 1.0)),
        ([1, 1, 1, 2], [{"y": np.concatenate([ONE, TWO])}] * 2, ("accuracy", 0.75)),
        ([1, 2], [{"y": ONE[0]}, {"y": TWO[0]}], ("accuracy", 1.0)),
        ([[1, 2]], [{"y": np.stack([ONE, TWO], 1)}], ("accuracy", 1.0)),  # of each token
        ([[[1, 2]]], [{"y": np.stack([ONE[0], TWO[0]], 1)[None, :, None]}], ("accuracy", 1.0)),
        ([4, 5], [{"y": np.array([4])}, {"y": np.array([5])}], ("accuracy", 1.0)),
        ([[[1, 2]]], [{"y": np.concatenate([ONE, TWO])}], ("accuracy", 1.0)),  # flattened rows
        ([[[1, 1, 1]]] * 2, [{"y": np.eye(3)[None]}] * 2, ("accuracy", 1 / 3)),
        (np.array([1, 2], np.uint8), [{"y": ONE}, {"y": TWO}], ("accuracy", 1.0)),
        ([0.5, 1.5], [{"y": np.array([[0.5]])}, {"y": np.array([[1.5]])}], ("r2", 1.0)),
    ],
)
def test_labels_are_scored_by_what_they_are(
    labels: Any, outputs: list[Arrays], expected: tuple[str, float]
) -> None:
    assert score(np.array(labels), outputs) == expected


def test_logits_are_scored_before_other_outputs() -> None:
    outputs = [{"vector": TWO, "logits": ONE}]
    assert score(np.array([1]), outputs, ("logits",)) == ("accuracy", 1.0)


@pytest.mark.parametrize(
    ("threshold", "values", "labels", "expected"),
    [
        (0.5, [[0.4]], [0, 0], 1.0),
        (0.5, [[0.4]], [1, 0], 0.5),
        (0.0, [[0.4]], [1, -1], 1.0),
        (0.5, [[0.4, 0.6]], [[0, 1], [1, 1]], 0.75),  # several labels a row
    ],
)
def test_a_single_value_tells_two_classes_apart(
    threshold: float, values: Any, labels: Any, expected: float
) -> None:
    samples = Samples(({}, {}), "samples", "").labeled(np.array(labels))
    outputs = {"y": np.array(values)}
    tally = scorer_of(samples, outputs, (), None, {"y": threshold}).tally()
    for index in range(2):
        tally.add(index, outputs)
    assert tally.interval().value == expected
    with pytest.raises(UsageError, match="fit no output"):
        scorer_of(samples.labeled(np.array(labels) + 2), outputs, (), None, {"y": threshold})


def test_lost_points_have_a_paired_interval() -> None:
    labels = np.arange(200) % 2
    samples = Samples(({},) * 200, "samples", "").labeled(labels)
    scorer = scorer_of(samples, {"y": np.eye(2)[:1]}, ())
    right, same, worse = (scorer.tally() for _ in range(3))
    for index, label in enumerate(labels):
        for tally in (right, same):
            tally.add(index, {"y": np.eye(2)[[label]]})
        worse.add(index, {"y": np.eye(2)[[0 if index < 8 else int(label)]]})
    lost = worse.lost(right)
    assert lost.value == pytest.approx(2.0)
    assert 0 < lost.low < 2 < lost.high < 5
    assert (same.lost(right).value, same.lost(right).high) == (0, 1.5)  # three of 200
    assert (scorer.output, scorer.baseline) == ("y", 0.5)


def test_each_column_of_values_counts_alike() -> None:
    truth = np.random.default_rng(0).normal((300_000, 3), (50_000, 1), (40, 2))
    wrong = truth.copy()
    wrong[:, 1] = truth[:, 1].mean()  # explains nothing of the second column
    outputs = [{"y": row[None]} for row in wrong]
    for labels in (truth, truth[:, None]):  # as an iterable yields them, or as an array has them
        name, value = score(labels, outputs)
        assert (name, round(value, 6)) == ("r2", 0.5)


def test_a_column_whose_labels_are_all_the_same_counts_one_or_nothing() -> None:
    truth = np.random.default_rng(0).normal(size=(40, 2))
    truth[:, 1] = 7
    right = [{"y": row[None]} for row in truth]
    assert score(truth, right) == ("r2", 1.0)
    wrong = [{"y": row[None] + [[0, 0.1]]} for row in truth]
    assert score(truth, wrong) == ("r2", 0.5)


def test_a_function_scores_outputs_of_any_shape() -> None:
    def hits(outputs: Sequence[Arrays], labels: Sequence[NDArray[Any]]) -> float:
        pairs = zip(outputs, labels, strict=True)
        return float(np.mean([label[0] in values["y"] for values, label in pairs]))

    outputs = [{"y": np.array([1, 2])}, {"y": np.array([3])}]
    assert score(np.array([2, 2]), outputs, function=hits) == ("hits", 0.5)

    def fails(outputs: Sequence[Arrays], labels: Sequence[NDArray[Any]]) -> float:
        raise KeyError("box")

    with pytest.raises(ModelCodeError, match=r"score function fails fails in .*box"):
        score(np.array([2, 2]), outputs, function=fails)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([3]), DataError, "a label is 3, and output 'y' has 3 classes"),
        (np.array([-1]), DataError, "all labels are negative"),
        (np.array(["a"]), DataError, "give class indices or numbers"),
        (np.array([[0, 1]]), UsageError, r"fit no output \(y \(1, 3\)\).*score=FUNCTION"),
        (np.array([[0.5]] * 2), UsageError, "fit no output"),
        (np.array(1), DataError, "0 labels for 1 samples"),
    ],
)
def test_labels_that_fit_no_output_are_refused(
    labels: NDArray[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        score(labels, [{"y": ONE}])
