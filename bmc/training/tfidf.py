"""TF-IDF with logistic regression, or with ridge regression, as the weights of an n-gram model.

An n-gram's weight in a row is its count, times its inverse document frequency, over the square root
of the row's n-grams. The encoder of the `ngram` family has the counts and the square root; the
inverse document frequencies are multiplied into the fitted coefficients. So the model that is
deployed computes what scikit-learn computed, up to float32.

Source: Spärck Jones 1972, "A statistical interpretation of term specificity and its application in
retrieval"; the smoothed inverse document frequency of scikit-learn's `TfidfTransformer`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from bmc.contracts.tasks import scoring
from bmc.data import Dataset, Examples
from bmc.errors import DataError
from bmc.inputs import Many
from bmc.inputs.ngram import NgramEncoder
from bmc.model import Model

STRENGTHS = (1.0, 3.0, 10.0, 30.0)
"""Inverse strengths of the L2 penalty; the one with the best validation score is taken."""
_ITERATIONS = 200
_ALWAYS = 10.0  # logit of a label that every training row has


@dataclass(frozen=True)
class LinearModel:
    """A linear model of n-gram counts.

    Args:
        coefficients: float64 (classes, or 1 for two classes and in a regression; buckets).
        intercepts: float64, one for each row of the coefficients.
        strength: inverse strength of the penalty.
        score: validation accuracy, micro F1 of several labels, or R2 in a regression.
    """

    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    strength: float
    score: float


def width_of(task: str, classes: int) -> int:
    """Return the width of the embeddings with which an n-gram model holds every linear model."""
    if task == "multilabel":
        return classes
    return max(classes - 1, 1) if task == "classification" else 1


def fit_tfidf(model: Model, data: Dataset) -> None:
    """Fit TF-IDF with a linear model on the training rows, and copy it into an n-gram model.

    Args:
        model: model of the `ngram` family with embeddings of `width_of`; it is changed in place.
        data: texts; the validation rows choose the strength of the penalty.

    Raises:
        DataError: a class has no training row.
    """
    encoder: Any = model.encoder
    counts = weighted_counts(encoder, data.train.rows)
    frequencies = inverse_document_frequencies(counts)
    tfidf = counts @ sparse.diags(frequencies)
    # Rows of length 1 on average, as TF-IDF has them, so that a strength means the same everywhere.
    scale = 1 / max(np.sqrt(tfidf.multiply(tfidf).sum() / tfidf.shape[0]), 1e-12)
    validation = weighted_counts(encoder, data.validation.rows) @ sparse.diags(frequencies * scale)
    columns = _columns(counts, data.task)
    fitted = _best((tfidf * scale)[:, columns], validation[:, columns], data)
    coefficients = np.zeros((len(fitted.coefficients), counts.shape[1]))
    coefficients[:, columns] = fitted.coefficients
    _copy(coefficients * (frequencies * scale), fitted.intercepts, model)
    model.scores = {f"validation_{scoring(model.task).measure}": fitted.score}
    model.origin = {**model.origin, "strength": fitted.strength}


def weighted_counts(encoder: NgramEncoder, rows: Many) -> Any:
    """Return how often each n-gram is in each row, over the square root of the row's n-grams.

    Returns:
        a sparse matrix, float64 (rows, buckets).
    """
    encoded = encoder.encode(rows)
    if not isinstance(encoded, list):  # rows on disk
        encoded = encoder.encode([rows[index] for index in range(len(rows))])
    lengths = np.array([len(ids) for ids in encoded])
    weights = np.repeat(lengths**-0.5, lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    shape = (len(encoded), encoder.settings.buckets)
    counts = sparse.csr_matrix((weights, np.concatenate(encoded), starts), shape=shape)
    counts.sum_duplicates()
    return counts


def inverse_document_frequencies(counts: Any) -> NDArray[np.float64]:
    """Return log((1 + rows) / (1 + rows with the n-gram)) + 1 for each bucket."""
    rows = counts.shape[0]
    frequencies: NDArray[np.float64] = np.log((1 + rows) / (1 + counts.getnnz(axis=0))) + 1
    return frequencies


def _columns(counts: Any, task: str) -> NDArray[np.intp]:
    """Return the columns to fit: the n-grams of training rows, or all of them in a regression.

    The coefficients of other n-grams are 0 in every step of a logistic regression, whose time grows
    with the columns. Ridge regression is solved in another way where there are fewer columns than
    rows.
    """
    if task == "regression":
        return np.arange(counts.shape[1], dtype=np.intp)
    return np.flatnonzero(counts.getnnz(axis=0))


def _best(tfidf: Any, validation: Any, data: Dataset) -> LinearModel:
    """Fit with each strength, and return the fit with the best validation score."""
    fits = [_fitted(tfidf, validation, data, strength) for strength in STRENGTHS]
    return max(fits, key=lambda fit: fit.score)


def _fitted(tfidf: Any, validation: Any, data: Dataset, strength: float) -> LinearModel:
    if data.task == "multilabel":
        return _one_for_each_label(tfidf, validation, data, strength)
    if data.task == "regression":
        model = Ridge(alpha=1 / strength)
    else:
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
        _check_classes(data.train, data.labels)
    with warnings.catch_warnings():
        # A fit that is not at its optimum after these iterations is scored as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(tfidf, np.array(data.train.labels))
    coefficients = np.atleast_2d(model.coef_)
    intercepts = np.atleast_1d(model.intercept_)
    score = float(model.score(validation, np.array(data.validation.labels)))
    return LinearModel(coefficients, intercepts, strength, score)


def _one_for_each_label(tfidf: Any, validation: Any, data: Dataset, strength: float) -> LinearModel:
    """Fit a logistic regression for each label; a label that all rows have is predicted always."""
    labels = np.array(data.train.labels)
    coefficients = np.zeros((labels.shape[1], tfidf.shape[1]))
    intercepts = np.full(labels.shape[1], _ALWAYS)
    for label, truth in enumerate(labels.T):
        if truth.all():
            continue
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(tfidf, truth)
        coefficients[label], intercepts[label] = model.coef_[0], model.intercept_[0]
    logits = (validation @ coefficients.T + intercepts).astype(np.float32)
    score = scoring(data.task).value(logits, np.array(data.validation.labels))
    return LinearModel(coefficients, intercepts, strength, score)


def _check_classes(train: Examples, labels: tuple[str, ...]) -> None:
    missing = sorted(set(range(len(labels))) - set(np.array(train.labels).tolist()))
    if missing:
        raise DataError(f"class {labels[missing[0]]!r} has no training row")


@torch.no_grad()
def _copy(coefficients: NDArray[np.float64], intercepts: NDArray[np.float64], model: Model) -> None:
    """Copy a linear model into an n-gram model: differences of classes into its embeddings.

    Adding one number to all logits of a row changes no probability, so that the last class's
    coefficients are subtracted from all others and need no column.
    """
    module: Any = model.module
    embedding, output = module.embedding.weight, module.output
    output.weight.zero_()
    if model.task == "regression":
        directions, biases = np.ones((1, 1)), intercepts
    elif model.task == "multilabel":
        directions, biases = np.eye(len(coefficients)), intercepts
    elif len(coefficients) == 1:  # the logit of the second class over that of the first
        directions, biases = np.array([[-0.5], [0.5]]), np.array([-0.5, 0.5]) * intercepts
    else:
        directions = np.eye(len(coefficients), len(coefficients) - 1)
        coefficients = coefficients[:-1] - coefficients[-1]
        biases = intercepts - intercepts[-1]
    embedding.copy_(torch.from_numpy(np.ascontiguousarray(coefficients.T)))
    output.weight.copy_(torch.from_numpy(directions))
    output.bias.copy_(torch.from_numpy(biases))
