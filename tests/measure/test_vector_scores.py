"""Scores of vectors: against SciPy, scikit-learn and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from bmc.contracts.tasks import scoring
from bmc.data import labels_of
from bmc.measure import vector_scores
from bmc.measure.scores import of_task

RANDOM = np.random.default_rng(0)
REFERENCE = RANDOM.normal(size=(60, 12)).astype(np.float32)
OUTPUTS = (REFERENCE[:, :8] + 0.3 * RANDOM.normal(size=(60, 8))).astype(np.float32)
NO_CLASS = np.full(60, -1)


def scores_of(outputs: NDArray[Any], row_labels: NDArray[Any] = NO_CLASS) -> dict[str, Any]:
    return of_task("embedding", outputs, labels_of(REFERENCE, row_labels))


def test_recall_is_the_mean_share_of_common_neighbors() -> None:
    tops = []
    for vectors in (OUTPUTS, REFERENCE):
        cosines = cosine_similarity(vectors)
        np.fill_diagonal(cosines, -2)
        tops.append(np.argsort(-cosines, axis=1)[:, :10])
    shares = [len(set(ours) & set(theirs)) / 10 for ours, theirs in zip(*tops, strict=True)]
    scored = scores_of(OUTPUTS)["recall_at_10"]
    assert scored["value"] == pytest.approx(np.mean(shares))
    assert scored["low"] < scored["value"] < scored["high"]
    assert 0.2 < scored["value"] < 0.9, "a recall at its limits proves nothing"


def test_spearman_is_that_of_scipy_on_all_pairs_of_few_rows() -> None:
    first, second = np.triu_indices(60, 1)
    pairs = [cosine_similarity(vectors)[first, second] for vectors in (OUTPUTS, REFERENCE)]
    scored = scores_of(OUTPUTS)
    assert scored["spearman"]["value"] == pytest.approx(spearmanr(*pairs).statistic, abs=1e-4)
    assert (scored["pairs"], scored["sentences"], scored["queries"]) == (1770, 60, 60)


def test_the_interval_of_spearman_resamples_rows_not_pairs() -> None:
    """Pairs that share a row are not independent: 1,770 pairs tell as much as 60 rows do."""
    generator = np.random.default_rng(4)
    values = []
    for _ in range(60):
        reference = generator.normal(size=(60, 12)).astype(np.float32)
        noise = generator.normal(size=(60, 12)).astype(np.float32)
        found = of_task("embedding", reference + noise, labels_of(reference, NO_CLASS))["spearman"]
        values.append((found["value"], found["high"] - found["low"]))
    spread = 2 * 1.96 * np.std([value for value, _ in values])
    assert 0.8 < np.mean([width for _, width in values]) / spread < 1.6


def test_many_rows_are_compared_by_10_000_different_pairs_and_1_000_queries() -> None:
    first, second = vector_scores.pairs_of(5_000)
    assert len(first) == 10_000
    assert (first != second).all()
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == 10_000
    queries = vector_scores.queries_of(5_000)
    assert len(queries) == 1_000
    assert queries[0] == 0
    assert queries[-1] == 4_999


def test_equal_texts_are_neighbors_of_one_another_in_any_order() -> None:
    """Five texts, each 20 times: which ten of its copies are nearest is chance."""
    texts = np.repeat(REFERENCE[:5], 20, axis=0)
    reference = vector_scores.unit(texts)
    noise = 1e-4 * RANDOM.normal(size=texts.shape).astype(np.float32)
    assert vector_scores.recalls(texts + noise, reference).tolist() == [1.0] * 100


def test_few_rows_are_compared_by_half_of_the_others() -> None:
    assert [vector_scores.neighbors_of(rows) for rows in (2, 9, 21, 1000)] == [1, 4, 10, 10]


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    values, truth = np.array([1.0, 2, 2, 3, 0]), np.array([1.0, 1, 5, 7, 7])
    expected = spearmanr(values, truth).statistic
    assert vector_scores.spearman(values, truth).value == pytest.approx(expected)


def test_classes_are_voted_for_by_the_ten_nearest_other_rows() -> None:
    classes = (REFERENCE[:, 0] > 0).astype(np.int64)
    unit = OUTPUTS / np.linalg.norm(OUTPUTS, axis=1, keepdims=True)
    right = []
    for row in range(60):
        others = np.arange(60) != row
        neighbors = KNeighborsClassifier(10, metric="cosine").fit(unit[others], classes[others])
        right.append(neighbors.predict(unit[[row]])[0] == classes[row])
    scored = scores_of(OUTPUTS, classes)
    assert scored["knn_accuracy"]["value"] == pytest.approx(np.mean(right))
    assert "reference_knn_accuracy" in scored
    assert "knn_accuracy" not in scores_of(OUTPUTS)


def test_labeled_similarities_are_those_of_neighboring_rows() -> None:
    similarities = np.repeat(RANDOM.normal(size=30), 2)
    cosines = [cosine_similarity(OUTPUTS[[i, i + 1]])[0, 1] for i in range(0, 60, 2)]
    expected = spearmanr(cosines, similarities[::2]).statistic
    scored = scores_of(OUTPUTS, similarities)
    assert scored["spearman_of_labels"]["value"] == pytest.approx(expected, abs=1e-6)
    assert "knn_accuracy" not in scored


def test_a_model_equals_itself_and_loses_nothing() -> None:
    task, labels = scoring("embedding"), labels_of(REFERENCE, NO_CLASS)
    assert task.value(REFERENCE * 3, labels) == 1
    assert task.lost(OUTPUTS, OUTPUTS, labels).value == 0
    assert task.changed(OUTPUTS, REFERENCE, labels) == pytest.approx(
        100 * (task.value(OUTPUTS, labels) - 1)
    )
    assert task.lost(OUTPUTS, REFERENCE, labels).low > 0


def test_labels_without_vectors_cannot_be_scored() -> None:
    scorable = scoring("embedding").scorable
    assert scorable(labels_of(REFERENCE, NO_CLASS), 0)
    assert not scorable(NO_CLASS, 0)
    assert not scorable(np.zeros((4, 2)), 0)
