"""Choose the probability below which a bundle answers no label, and score the bundle with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import task as task_of
from bmc.errors import UsageError
from bmc.export import ExportOptions
from bmc.export.source import Source
from bmc.measure import rejection
from bmc.pipeline import Pipeline


def refuse_rejecting(task: str, options: ExportOptions) -> None:
    """Refuse the options of a reject answer for a task that has none.

    Raises:
        UsageError: such an option is set.
    """
    classes = task_of(task).classes
    if options.rejects and (classes is None or classes.confidence is None):
        raise UsageError(
            f"--reject-below, --reject-rate and --accept-accuracy are for models that predict one "
            f"class a row (--task classification), and this one is for {task}: leave them out"
        )


def threshold_of(pipeline: Pipeline, source: Source, batch_size: int) -> float | None:
    """Return the probability below which rows are rejected; None where every row gets a label.

    A share or an accuracy is reached on the validation rows, with the outputs of the bundle.

    Args:
        pipeline: the bundle.
        source: source of the export.
        batch_size: rows in a batch.

    Raises:
        UsageError: no threshold reaches the accuracy.
    """
    options = source.options
    if not options.rejects or options.reject_below is not None:
        return options.reject_below
    validation = source.data.validation
    outputs = pipeline.outputs(validation.rows, batch_size)
    confidence, correct = _judged(source, outputs, np.array(validation.labels))
    if options.reject_rate is not None:
        return rejection.threshold_for_share(confidence, options.reject_rate)
    accuracy = options.accept_accuracy or 0.0
    try:
        return rejection.threshold_for_accuracy(confidence, correct, accuracy)
    except ValueError as error:
        raise UsageError(
            f"no threshold reaches an accuracy of {accuracy:g} on the {len(correct)} validation "
            f"rows: {error}; lower --accept-accuracy"
        ) from error


def scores_of(
    source: Source, outputs: NDArray[np.float32], threshold: float | None
) -> dict[str, Any]:
    """Return the share of held-out rows that are rejected, and the accuracy of the others."""
    if threshold is None:
        return {}
    return rejection.scores_of(*_judged(source, outputs, source.labels), threshold)


def _judged(
    source: Source, outputs: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability of each row's prediction, and whether the prediction is right.

    Raises:
        ValueError: the task has no such probability; see `refuse_rejecting`.
    """
    classes = task_of(source.model.task).classes
    if classes is None or classes.confidence is None:
        raise ValueError(f"predictions of {source.model.task} have no probability")
    return classes.confidence(outputs), outputs.argmax(axis=1) == labels
