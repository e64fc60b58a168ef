"""Frechet distance: how far two sets of features lie apart, each taken as one Gaussian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError

_Matrix = NDArray[np.float64]


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)) of two means and covariances.

    It is 0 for equal sets, never below, in the features' units squared, and the same in both
    directions. Few rows make it larger than it is: compare distances of equally many rows alone.

    Args:
        first: features of one set of examples (rows, features), at least two rows.
        second: of the other set (other rows, features).

    Raises:
        DataError: the two are no tables of equally many finite features, or have too few rows.

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
    spreads = [_covariance(features) for features in (first, second)]
    # The roots of C1 C2's eigenvalues are those of C1^(1/2) C2 C1^(1/2), which is symmetric.
    root = _square_root(spreads[0])
    shared = np.sqrt(np.linalg.eigvalsh(root @ spreads[1] @ root).clip(min=0)).sum()
    apart = ((means[0] - means[1]) ** 2).sum()
    return max(0.0, float(apart + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * shared))


def _covariance(features: NDArray[np.floating]) -> _Matrix:
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    covariance: _Matrix = centred.T @ centred / (len(features) - 1)
    return covariance


def _square_root(matrix: _Matrix) -> _Matrix:
    """Return the symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    root: _Matrix = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
