"""What a report holds: a line for each bundle, and what the lines are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bmc.curves import Epoch
from bmc.measure.results import Run
from bmc.measure.scores import Interval


@dataclass(frozen=True)
class Line:
    """One bundle in a report.

    Args:
        name: the bundle's folder.
        model: the model it was made from.
        data: data set of training and scoring; only lines of one data set are compared.
        measure: name of the score: "accuracy", "r2" in a regression, "" for a generator.
        target: its runtime.
        precision: precision of weights and activations.
        parameters: number of parameters of the model.
        teacher: model that the agreement refers to; None for a model without a teacher.
        rows: held-out rows; 0 for a generator, which has no labels to be scored by.
        accuracy: fraction of the rows that are predicted correctly; R2 in a regression.
        macro_f1: mean F1 of the classes.
        agreement: fraction of the rows with the same prediction as the teacher's.
        kept: accuracy over the teacher's, on the same rows.
        model_bytes: the model in its target's format.
        bundle_bytes: everything that is deployed.
        threads: the better thread count, which the times below refer to.
        p50: median latency in milliseconds at that count.
        p90: 90th percentile, likewise.
        by_threads: p50 at every thread count.
        speed_up: times faster than the report's reference.
        speed_up_same_target: times faster than the teacher in the same runtime.
        sparsity: share of zero weights, where a step set some to zero.
        origin: bundle of the model that it was made from, in the same runtime.
        speed_up_origin: times faster than that.
        cold_start_seconds: time from the start of a fresh process to the first prediction.
        peak_mb: memory of that process.
        execution: device, threads and precision of the session.
        note: a sentence that the reader of the report must know.
        remarks: sentences that explain the times by the steps that made the model.
        failed: reason why the bundle failed a check; None if it passed.
        cannot_run: why it failed when it was measured, or None.
        labels: class names, in the order of the matrix; empty in a regression.
        scores: all scores of the task, as `scores.of_task` returns them; empty for a generator.
        history: epochs of the training of the model; see `bmc.curves`.
        floor: what the model is, where it is a simple model of the report's floor; else "".
    """

    name: str
    model: str
    data: str
    measure: str
    target: str
    precision: str
    parameters: int
    teacher: str | None
    rows: int
    accuracy: Interval | None
    macro_f1: Interval | None
    agreement: Interval | None
    kept: Interval | None
    model_bytes: int
    bundle_bytes: int
    threads: int | None = None
    p50: Interval | None = None
    p90: Interval | None = None
    by_threads: Mapping[int, Interval | None] | None = None
    speed_up: Interval | None = None
    speed_up_same_target: Interval | None = None
    sparsity: float | None = None
    origin: str | None = None
    speed_up_origin: Interval | None = None
    cold_start_seconds: float | None = None
    peak_mb: float | None = None
    execution: Mapping[str, Any] | None = None
    note: str = ""
    remarks: tuple[str, ...] = ()
    failed: str | None = None
    cannot_run: str | None = None
    labels: tuple[str, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()
    floor: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        lines: the bundles.
        references: for each data set, the bundle that speed-ups refer to.
        run: bench that measured the times; None for a report without times.
        broken: bundles that cannot be read or run, each with the reason.
        notes: sentences on simple models that the floor lacks.
    """

    lines: tuple[Line, ...]
    references: Mapping[str, str]
    run: Run | None
    broken: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def by_data(self) -> dict[str, list[Line]]:
        """Return the lines of each data set; data sets are in the order of their first line."""
        groups: dict[str, list[Line]] = {}
        for line in self.lines:
            groups.setdefault(line.data, []).append(line)
        return groups
