"""Lines of reports, written down rather than measured."""

from __future__ import annotations

from typing import Any

from bmc.measure.scores import Interval
from bmc.report.line import Line, Report
from bmc.report.lineage import Lineage


def around(value: float, width: float = 0.02) -> Interval:
    """Return an estimate with an interval of this half width."""
    return Interval(value, value - width, value + width)


def line(name: str, **members: Any) -> Line:
    """Return the line of a classifier of digits, with some other members."""
    defaults: dict[str, Any] = {
        "name": name,
        "model": name.removesuffix("-onnx"),
        "data": "digits",
        "measure": "accuracy",
        "target": "onnx",
        "precision": "fp32",
        "parameters": 1000,
        "teacher": None,
        "rows": 100,
        "accuracy": around(0.9),
        "macro_f1": around(0.89),
        "agreement": None,
        "kept": None,
        "model_bytes": 4_000_000,
        "bundle_bytes": 4_100_000,
    }
    return Line(**defaults | members)


def timed_line(name: str, p50: float, **members: Any) -> Line:
    """Return such a line with a median latency in milliseconds."""
    times = {"threads": 1, "p50": around(p50, p50 / 50), "p90": around(2 * p50, p50 / 50)}
    return line(name, **{**times, "peak_mb": 50.0, "cold_start_seconds": 0.2, **members})


def student_line(name: str, teacher: Line, **members: Any) -> Line:
    """Return the line of a student of another line's model."""
    lineage = Lineage(
        weights=name,
        teacher=teacher.model,
        teacher_weights=teacher.lineage.weights,
        steps=("distill/logits",),
    )
    compared = {"teacher": teacher.model, "teacher_bundle": teacher.name, "lineage": lineage}
    return line(name, **{**compared, "kept": around(0.99), "agreement": around(0.95), **members})


def report(*lines: Line, reference: str = "") -> Report:
    """Return a report of lines, whose speed-ups refer to one of them."""
    references = {lines[0].data: reference} if reference else {}
    return Report(lines, references, None)
