"""Find a bundle's relatives among the bundles of a report: its teacher's, and its origin's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.contracts.tasks import EMBEDDING
from bmc.report.read import Evaluated
from bmc.report.reference import key_of
from bmc.report.remarks import steps_of

_ROUNDING = 1e-4


def taught_by(entry: Evaluated, everyone: Sequence[Evaluated]) -> list[Evaluated]:
    """Return the bundles of the teacher of a bundle's model; none without a teacher."""
    teacher = entry.bundle.manifest.lineage.get("teacher")
    if not teacher:
        return []
    return [
        other
        for other in everyone
        if other.bundle.manifest.lineage.get("weights_sha256") == teacher["sha256"]
    ]


def have_the_same_rows(entry: Evaluated, other: Evaluated) -> bool:
    """Tell whether two bundles were scored on the same test rows, with classes in one order."""
    if entry.outputs is None or other.outputs is None:
        return False
    return (
        key_of(entry.bundle) == key_of(other.bundle)
        and entry.bundle.manifest.labels == other.bundle.manifest.labels
        and _comparable(entry.outputs, other.outputs, entry.bundle.manifest.task)
        and _equal(entry.labels, other.labels, entry.bundle.manifest.task)
    )


def _comparable(outputs: NDArray[Any], others: NDArray[Any], task: str) -> bool:
    """Tell whether outputs are of as many rows, and of one width but for vectors."""
    return outputs.shape == others.shape or (task == EMBEDDING and len(outputs) == len(others))


def _equal(labels: NDArray[Any] | None, others: NDArray[Any] | None, task: str) -> bool:
    """Tell whether labels are equal: of texts to embed, up to rounding of the teacher's vectors."""
    if labels is None or others is None or labels.shape != others.shape:
        return labels is others
    if task == EMBEDDING:  # NaN is the similarity of texts that are no pair
        return bool(np.isclose(labels, others, atol=_ROUNDING, equal_nan=True).all())
    return np.array_equal(labels, others)


def origin_of(bundle: Bundle, everyone: Sequence[Evaluated]) -> Bundle | None:
    """Find the bundle of the model from which another bundle's model was made, for one runtime.

    The model is identified by the sha256 of its weights; bundles of earlier versions record its
    name only. Its steps must be the first steps of the other model, which excludes other models of
    the same name.
    """
    steps, lineage = steps_of(bundle), bundle.manifest.lineage
    ours = lineage.get("from_sha256")
    expected = (bundle.manifest.target, key_of(bundle), ours or lineage.get("from"))
    for other in (entry.bundle for entry in everyone):
        before = steps_of(other)
        origin = other.manifest.lineage.get("weights_sha256") if ours else other.manifest.name
        candidate = (other.manifest.target, key_of(other), origin)
        if candidate == expected and len(before) < len(steps) and steps[: len(before)] == before:
            return other
    return None
