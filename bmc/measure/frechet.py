"""Frechet distance between two sets of features, each modelled as a Gaussian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError

_Matrix = NDArray[np.float64]


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)) of two means and covariances.

    The distance is symmetric, 0 for equal sets, never negative, and in squared units of the
    features. It is biased upwards for few rows: compare only distances for equal numbers of rows.

    Args:
        first: features of one set of examples (rows, features), at least two rows.
        second: features of the other set (other rows, features), at least two rows.

    Raises:
        DataError: the sets have different numbers of features, features that are not finite, or
            fewer than two rows.

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal
    distributions"; Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", section 4.
    """
    for features in (first, second):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] != first.shape[1]:
            raise DataError(
                f"features of shapes {first.shape} and {second.shape}; a Frechet distance needs "
                "two tables (rows, features) of at least two rows and equally many features"
            )
        if not np.isfinite(features).all():
            raise DataError("a Frechet distance needs finite features; some are NaN or infinite")
    means = [features.mean(axis=0, dtype=np.float64) for features in (first, second)]
    covariances = [_covariance(features) for features in (first, second)]
    # C1 C2 has the same eigenvalues as C1^(1/2) C2 C1^(1/2), which is symmetric.
    root = _square_root(covariances[0])
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(min=0)).sum()
    traces = np.trace(covariances[0]) + np.trace(covariances[1])
    distance_of_means = ((means[0] - means[1]) ** 2).sum()
    return max(0.0, float(distance_of_means + traces - 2 * trace_of_root))


def _covariance(features: NDArray[np.floating]) -> _Matrix:
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    covariance: _Matrix = centred.T @ centred / (len(features) - 1)
    return covariance


def _square_root(matrix: _Matrix) -> _Matrix:
    """Return the symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    root: _Matrix = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
