"""What the benchmarks of students share: bundles, their scores on held-out rows, and latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, bmc, result
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc.files import size_of
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.measure.shown import with_interval

DRAWS = 10_000


def exported(model: Path, target: str = "onnx") -> Path:
    """Return the bundle of a model for a target, which is made if it is missing."""
    bundle = model.with_name(f"{model.name}-{target}")
    if not bundle.is_dir():
        bmc("export", model, "--target", target, "--allow-slower")
    return bundle


def made(model: Path, *command: object) -> Path:
    """Return a model directory, which a bmc command makes if it is missing."""
    if not model.is_dir():
        bmc(*command, "--output", model)
    return model


def evaluation(bundle: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a bundle's logits (rows, classes) of the held-out rows, and the labels (rows)."""
    arrays = bundles.read_arrays(bundle / bundles.EVALUATION)
    return arrays["logits"], arrays["labels"]


def is_correct(bundle: Path) -> NDArray[np.float64]:
    """Return which held-out rows a bundle classifies correctly, 1.0 or 0.0 (rows)."""
    logits, labels = evaluation(bundle)
    correct: NDArray[np.float64] = (logits.argmax(axis=1) == labels).astype(np.float64)
    return correct


def scores_beside(student: Path, teacher: Path) -> dict[str, Any]:
    """Return the accuracies of two bundles, what the student keeps, and the student's size."""
    logits, labels = evaluation(student)
    teacher_logits, _ = evaluation(teacher)
    return {
        "accuracy": asdict(scores.accuracy(logits, labels)),
        "teacher_accuracy": asdict(scores.accuracy(teacher_logits, labels)),
        "kept": asdict(scores.kept(logits, teacher_logits, labels)),
        "bundle_bytes": size_of(student),
        "teacher_bytes": size_of(teacher),
    }


def scores_of_seeds(students: Sequence[Path], teacher: Path) -> dict[str, Any]:
    """Return the same as `scores_beside`, of students of several seeds together.

    Each row counts as right by the share of the students that are; intervals are a bootstrap over
    the rows. The size is that of the largest.
    """
    beside = [scores_beside(student, teacher) for student in students]
    if len(beside) == 1:
        return beside[0]
    right, of_teacher = np.mean([is_correct(path) for path in students], 0), is_correct(teacher)
    drawn = np.random.default_rng(0).integers(0, len(right), (DRAWS, len(right)))
    means, of_teachers = right[drawn].mean(axis=1), of_teacher[drawn].mean(axis=1)

    def interval(value: float, samples: NDArray[np.float64]) -> dict[str, float]:
        low, high = np.percentile(samples, [2.5, 97.5])
        return {"value": value, "low": float(low), "high": float(high)}

    return {
        "accuracy": interval(float(right.mean()), means),
        "teacher_accuracy": beside[0]["teacher_accuracy"],
        "kept": interval(float(right.mean() / of_teacher.mean()), means / of_teachers),
        "accuracies": [scores["accuracy"]["value"] for scores in beside],
        "bundle_bytes": max(scores["bundle_bytes"] for scores in beside),
        "teacher_bytes": beside[0]["teacher_bytes"],
    }


def paired(differences: Sequence[NDArray[np.float64]]) -> scores.Interval:
    """Return the mean difference of two models over seeds, in points, with its interval.

    Args:
        differences: for each seed, the difference of `is_correct` (rows); the rows are the same.
    """
    by_row = 100 * np.mean(list(differences), axis=0)
    drawn = np.random.default_rng(0).integers(0, len(by_row), (DRAWS, len(by_row)))
    low, high = np.percentile(by_row[drawn].mean(axis=1), [2.5, 97.5])
    return scores.Interval(float(by_row.mean()), float(low), float(high))


def latency(student: Path, teacher: Path, length: int | None) -> dict[str, Any]:
    """Time two bundles in turn, each at the better of one and two threads, batch 1.

    Args:
        student: the faster bundle.
        teacher: the slower bundle.
        length: tokens of a text; None for data whose rows have one size.
    """
    settings = BenchSettings() if length is None else BenchSettings(length=length)
    run = results.measure_bundles([student, teacher], (1, 2), settings)
    best = {row.name: row for row in run.rows if row.best}
    student_p50, teacher_p50 = (best[path.name].p50 for path in (student, teacher))
    if student_p50 is None or teacher_p50 is None:
        raise SystemExit(f"not measured: {run.skipped}")
    return {
        "student_p50": asdict(student_p50),
        "teacher_p50": asdict(teacher_p50),
        "shown": f"{with_interval(student_p50)} ms for {with_interval(teacher_p50)} ms",
        "ratio": teacher_p50.value / student_p50.value,
    }


def known_latency(name: str) -> Any:
    """Return the latencies in benchmarks/results/NAME.json; None where none were measured."""
    if not (HERE / "results" / f"{name}.json").is_file():
        return None
    return result(name).get("latency")
