"""TF-IDF with a truncated singular value decomposition, as the weights of an n-gram model.

A text's vector is its TF-IDF, projected on the directions that keep most of the training texts. The
inverse document frequencies and the directions are multiplied into the table of the `ngram`
network, so that the sum of a text's rows has the direction of the vector that scikit-learn
computes, and cosine similarities are the same.

Source: Deerwester et al. 1990, "Indexing by Latent Semantic Analysis"; Halko, Martinsson and Tropp
2011, "Finding Structure with Randomness" (the decomposition of scikit-learn's `TruncatedSVD`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from bmc.inputs import Many
from bmc.model import Model
from bmc.training.tfidf import inverse_document_frequencies, weighted_counts

_SEED = 0


def fit_vectors(model: Model, rows: Many) -> None:
    """Fit TF-IDF and a truncated SVD on texts, and copy both into an n-gram model.

    Of fewer texts than the vectors have numbers, the last numbers are always 0.

    Args:
        model: model of the `ngram` family that makes vectors, with as many numbers in a row of its
            table as in a vector; it is changed in place.
        rows: training texts.
    """
    encoder: Any = model.encoder
    counts = weighted_counts(encoder, rows)
    frequencies = inverse_document_frequencies(counts)
    tfidf = normalize(counts @ sparse.diags(frequencies))
    module: Any = model.module
    fitted = TruncatedSVD(module.embedding.embedding_dim, random_state=_SEED).fit(tfidf)
    _copy(fitted.components_ * frequencies, module)


@torch.no_grad()
def _copy(directions: NDArray[np.float64], module: Any) -> None:
    """Copy directions (numbers, buckets) into the table of a network; its linear layer is none."""
    table = module.embedding.weight
    table.zero_()
    table[:, : len(directions)] = torch.from_numpy(np.ascontiguousarray(directions.T))
    torch.nn.init.eye_(module.output.weight)
    torch.nn.init.zeros_(module.output.bias)
