"""Diabetes: 442 rows of ten numbers of patients, and how far the disease has gone a year later.

Source: Efron, Hastie, Johnstone and Tibshirani 2004, "Least Angle Regression".
"""

from __future__ import annotations

from bmc.contracts import DataSet
from bmc.data import Table


def table() -> Table:
    """Return the numbers as they were measured, float64 (442, 10), and the progress, a number."""
    from sklearn.datasets import load_diabetes  # noqa: PLC0415  lists import this file

    read = load_diabetes(scaled=False)
    names = tuple(map(str, read.feature_names))
    labels = [repr(float(label)) for label in read.target]
    return Table(read.data, labels, kind="features", numbers=True, features=names)


DATA_SET = DataSet(
    about="442 rows of ten numbers of patients; --task regression learns the disease's progress",
    table=table,
    license="with scikit-learn",
)
