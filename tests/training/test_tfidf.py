"""TF-IDF as the weights of an n-gram model: what scikit-learn computes, and nothing else."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge

from bmc import artifact
from bmc import data as datasets
from bmc.data import Dataset, Examples
from bmc.errors import DataError
from bmc.inference.run import outputs_on_rows
from bmc.model import Model
from bmc.models import ngram
from bmc.training.tfidf import fit_tfidf, width_of

BUCKETS = 4096


def fitted(data: Dataset) -> Model:
    width = width_of(data.task, len(data.labels))
    model = ngram.baseline("ngram", data, ngram.Settings(buckets=BUCKETS, width=width))
    fit_tfidf(model, data)
    return model


def scikit_learn(model: Model, data: Dataset, estimator: Any) -> Any:
    """Return what scikit-learn's own counts, transformer and estimator say of the test rows."""
    encoder = model.encoder
    counter = CountVectorizer(
        analyzer=lambda row: [str(bucket) for bucket in encoder.encode([row])[0]]
    )
    parts = [list(part.rows) for part in (data.train, data.test)]
    counts = [counter.fit_transform(parts[0]), counter.transform(parts[1])]
    # N-grams that no training row has are left out of the counts and have a coefficient of 0.
    lengths = [np.array([len(encoder.encode([row])[0]) for row in part]) for part in parts]
    transformer = TfidfTransformer(norm=None).fit(counts[0])
    rows = [
        transformer.transform(count).multiply(length[:, None] ** -0.5).tocsr()
        for count, length in zip(counts, lengths, strict=True)
    ]
    scale = np.sqrt(rows[0].multiply(rows[0]).sum() / rows[0].shape[0])
    estimator.fit(rows[0] / scale, np.array(data.train.labels))
    if isinstance(estimator, LogisticRegression):
        return estimator.predict_proba(rows[1] / scale)
    return estimator.predict(rows[1] / scale)[:, None]


def outputs(model: Model, data: Dataset) -> Any:
    return outputs_on_rows(model.module, model.encoder, data.test.rows, 16)


def probabilities(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def rated(tmp_path: Path, reviews: Dataset) -> Dataset:
    """Return the reviews with the number of their words as label."""
    rows = [row[0] for part in (reviews.train, reviews.validation) for row in part.rows]
    path = tmp_path / "rated.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["text", "label"])
        lines.writerows([text, len(text.split()) + 0.5] for text in rows)
    return datasets.load(str(path), task="regression")


@pytest.fixture
def three_classes(tmp_path: Path, reviews: Dataset) -> Dataset:
    path = tmp_path / "three.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["text", "label"])
        for number, row in enumerate(reviews.train.rows):
            name = ("short", "middle", "long")[min(len(row[0]) // 80, 2)]
            lines.writerow([f"{row[0]} {number}", name])
    return datasets.load(str(path))


def test_two_classes_have_the_probabilities_of_scikit_learn(reviews: Dataset) -> None:
    model = fitted(reviews)
    expected = scikit_learn(
        model, reviews, LogisticRegression(C=model.origin["strength"], max_iter=200)
    )
    np.testing.assert_allclose(probabilities(outputs(model, reviews)), expected, atol=1e-4)


def test_three_classes_have_the_probabilities_of_scikit_learn(three_classes: Dataset) -> None:
    model = fitted(three_classes)
    assert model.spec["embedding"] == 2
    expected = scikit_learn(
        model, three_classes, LogisticRegression(C=model.origin["strength"], max_iter=200)
    )
    np.testing.assert_allclose(probabilities(outputs(model, three_classes)), expected, atol=1e-4)


def test_a_regression_has_the_values_of_ridge(rated: Dataset) -> None:
    model = fitted(rated)
    expected = scikit_learn(model, rated, Ridge(alpha=1 / model.origin["strength"]))
    np.testing.assert_allclose(outputs(model, rated), expected, rtol=1e-3)


def test_a_fitted_model_is_written_and_loaded(reviews: Dataset, tmp_path: Path) -> None:
    model = fitted(reviews)
    loaded = artifact.load(artifact.save(model, tmp_path / "tfidf"))
    np.testing.assert_array_equal(outputs(loaded, reviews), outputs(model, reviews))


def test_a_class_without_a_training_row_is_named(reviews: Dataset) -> None:
    first = [index for index, label in enumerate(reviews.train.labels) if label == 0]
    train = Examples(tuple(reviews.train.rows[index] for index in first), (0,) * len(first))
    with pytest.raises(DataError, match="'positive' has no training row"):
        fitted(replace(reviews, train=train))
