"""What people see of models that a command wrote: scores, sizes, and the command that is next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmc.measure import tables
from bmc.measure.scores import Interval
from bmc.measure.shown import significant, with_interval
from bmc.rendering.rendered import Rendered
from bmc.workflows.results import Compressed, CrossValidated, Distilled, Trained
from bmc.workflows.sizes import shown_change

_VALIDATION = "validation"


def trained(made: Trained) -> Rendered:
    """Render what `bmc train` made."""
    return Rendered(
        {"output": str(made.path), "scores": made.scores, "seconds": made.seconds},
        (
            f"wrote {made.path}: {chosen_by(made.scores, made.validation_rows)}",
            *validation(made.scores, made.labels),
            next_export(made.path, made.code),
        ),
    )


def cross_validated(result: CrossValidated) -> Rendered:
    """Render what `bmc train --folds` found."""
    return Rendered(
        {
            "folds": list(result.scores),
            "mean": result.mean,
            "standard_deviation": result.standard_deviation,
            "pooled": result.pooled,
        },
        (
            f"{len(result.scores)} folds: held-out {result.measure} {result.mean:.4f}, "
            f"standard deviation {result.standard_deviation:.4f}",
            *by_class(result.pooled, result.labels, "held-out, all folds:"),
        ),
    )


def distilled(made: Distilled) -> Rendered:
    """Render what `bmc distill` made."""
    beside = f"; teacher {made.teacher_score:.3f}" if made.teacher_score else ""
    return Rendered(
        {
            "output": str(made.path),
            "teacher": str(made.teacher),
            "scores": made.scores,
            "against_teacher": dict(made.against_teacher),
            "seconds": made.seconds,
        },
        (
            f"wrote {made.path}: {chosen_by(made.scores, made.validation_rows)}{beside}",
            *validation(made.scores, made.labels),
            *against_teacher(made.against_teacher, "micro_f1" in made.scores.get(_VALIDATION, {})),
            next_export(made.path, made.code),
        ),
    )


def against_teacher(measured: Mapping[str, Any], several: bool = False) -> tuple[str, ...]:
    """Return the line of how a student stands to its teachers; nothing in a regression.

    Args:
        measured: what `bmc.workflows.against_teacher` measured.
        several: whether a row has several labels.
    """
    if not measured:
        return ()
    agreement = with_interval(Interval(**measured["agreement"]))
    unit = measured.get("unit", "rows")
    alike = (
        f"has {agreement} of a validation row's labels in common with the teacher"
        if several
        else f"predicts as the teacher on {agreement} of the validation {unit}"
    )
    return (
        f"{alike}; calibration error "
        f"{measured['calibration_error']:.3f}, teacher {measured['teacher_calibration_error']:.3f}",
    )


def compressed(made: Compressed) -> Rendered:
    """Render what `bmc prune`, `share` and `quantize` made."""
    return Rendered(
        {
            "output": str(made.path),
            "before": asdict(made.before),
            "applied": asdict(made.applied),
            "after": asdict(made.after),
            "scores": made.scores,
            "seconds": made.seconds,
        },
        (
            f"wrote {made.path}: {shown_change(made.before, made.after)}",
            *validation(made.scores, made.labels),
            next_export(made.path, made.code),
        ),
    )


def chosen_by(scores: Mapping[str, Any], rows: int) -> str:
    """Return the validation score that training went by, as a line for people."""
    (name, value), best = next(iter(scores.items())), scores.get("best_epoch")
    epoch = "" if best is None else f", epoch {int(best)}"  # a model that was only read has none
    return f"{name.replace('_', ' ')} {significant(value)} ({rows} rows{epoch})"


def next_export(output: Path, code: str | None) -> str:
    """Return the line with the next command; the user must add --code again for own code."""
    typed = f" --code {code}" if code else ""
    return f"next: bmc export {output} --target onnx{typed}    (scores the held-out test split)"


def validation(scores: Mapping[str, Any], labels: tuple[str, ...]) -> tuple[object, ...]:
    """Return the validation scores for people: a line, a table of the classes, what was missed."""
    measured = scores.get(_VALIDATION)
    return by_class(measured, labels, _VALIDATION) if measured else ()


def by_class(measured: Mapping[str, Any], labels: tuple[str, ...], part: str) -> tuple[object, ...]:
    """Return scores for people: a line, a table of the classes, what was missed.

    Args:
        measured: scores from `bmc.measure.scores.of_task`.
        labels: names of the classes.
        part: name of the rows, such as "test".
    """
    table = tables.class_table(measured, labels)
    line = tables.line(measured, part)
    remarks = tables.remarks(measured, labels)
    return (*([line] if line else []), *([table] if table else []), *remarks)
