"""Breast cancer: 569 rows of 30 numbers measured on cell nuclei, malignant or benign.

Source: Street, Wolberg and Mangasarian 1993, "Nuclear Feature Extraction for Breast Tumor
Diagnosis" (UCI, Breast Cancer Wisconsin Diagnostic).
"""

from __future__ import annotations

from bmc.contracts import DataSet
from bmc.data import Table


def table() -> Table:
    """Return the numbers, float64 (569, 30), and the diagnoses."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415  lists import this file

    read = load_breast_cancer()
    labels = [str(read.target_names[label]) for label in read.target]
    return Table(read.data, labels, kind="features", features=tuple(map(str, read.feature_names)))


DATA_SET = DataSet(
    about="569 rows of 30 numbers measured on cell nuclei, malignant or benign",
    table=table,
    license="with scikit-learn",
)
