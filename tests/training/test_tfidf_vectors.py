"""TF-IDF with a truncated SVD as an n-gram model: the similarities that scikit-learn computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize

from bmc.data import Dataset
from bmc.inference.run import outputs_on_rows
from bmc.inputs import Many
from bmc.model import Model
from bmc.models import ngram
from bmc.training.tfidf_vectors import fit_vectors

WIDTH, BUCKETS = 8, 1024
SETTINGS = ngram.Settings(buckets=BUCKETS, width=WIDTH, words=1, characters=0)


def untrained(data: Dataset) -> Model:
    return ngram.of_vectors(replace(data, task="embedding", labels=()), SETTINGS, WIDTH)


def counts(model: Model, rows: Many) -> NDArray[np.float64]:
    """Return how often each bucket is in each row, (rows, buckets)."""
    encoded = model.encoder.encode(rows)
    return np.stack([np.bincount(row, minlength=BUCKETS) for row in encoded]).astype(np.float64)


def test_cosines_are_those_of_scikit_learns_pipeline(reviews: Dataset) -> None:
    model = untrained(reviews)
    fit_vectors(model, reviews.train.rows)
    pipeline = make_pipeline(TfidfTransformer(), TruncatedSVD(WIDTH, random_state=0))
    pipeline.fit(counts(model, reviews.train.rows))
    expected = normalize(pipeline.transform(counts(model, reviews.test.rows)))
    vectors = outputs_on_rows(model.module, model.encoder, reviews.test.rows, 16)
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


def test_of_fewer_texts_than_numbers_the_last_numbers_are_0(reviews: Dataset) -> None:
    model = untrained(reviews)
    fit_vectors(model, reviews.train.rows[:5])
    vectors = outputs_on_rows(model.module, model.encoder, reviews.test.rows, 16)
    assert np.isfinite(vectors).all()
    assert not vectors[:, 5:].any()
    assert vectors[:, :5].any()
