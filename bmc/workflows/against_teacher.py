"""A student beside its teachers on validation rows: agreement, and the calibration of both."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.contracts.tasks import task
from bmc.measure import scores
from bmc.model import Model, Work
from bmc.training.ensemble import Ensemble
from bmc.workflows import scoring


def against_teacher(
    student: Model, ensemble: Ensemble, work: Work, precision: str
) -> dict[str, Any]:
    """Return the agreement with the teachers, and the calibration error of both.

    Args:
        student: a trained student.
        ensemble: its teachers.
        work: the data, and the cache that has the teachers' logits.
        precision: precision that the student is computed in.

    Returns:
        "rows", "unit" where it is not rows, "agreement" with its interval, "calibration_error" and
        "teacher_calibration_error"; nothing in a regression.
    """
    described = task(student.task)
    if described.classes is None:
        return {}
    validation = work.data.validation
    logits = scoring.outputs_on(student, validation, precision, work.device)
    teacher: NDArray[np.float32] = ensemble.logits(student, work, validation.rows).numpy()
    labels = np.array(validation.labels)
    relative = scores.relative_to(logits, student.thresholds)
    limits = described.thresholds(teacher, labels) if described.thresholds else ()
    expected = scores.relative_to(teacher, limits)
    calibration_error = described.classes.calibration_error
    return {
        "rows": len(validation),
        **({} if described.unit == "rows" else {"unit": described.unit}),
        "agreement": asdict(scores.agreement(relative, expected, student.task, labels)),
        "calibration_error": calibration_error(logits, labels),
        "teacher_calibration_error": calibration_error(teacher, labels),
    }
