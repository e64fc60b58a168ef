"""The content of a report: a line for each bundle, and the bundles that speed-ups refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bmc.curves import Epoch
from bmc.inspect.recorded_costs import LayerCosts
from bmc.measure.results import Run
from bmc.measure.scores import Interval
from bmc.report.device import Device
from bmc.report.disagreements import Disagreements
from bmc.report.distribution import Distribution
from bmc.report.gates import Verdict
from bmc.report.lineage import Lineage


@dataclass(frozen=True)
class Line:
    """One bundle in a report.

    Args:
        name: name of the bundle's folder.
        model: name of the model that the bundle was exported from.
        data: data set of training and scoring; only lines of one data set are compared.
        measure: name of the score: "accuracy", "micro_f1" of several labels a row, "span_f1" of
            tags that mark spans, "recall_at_10" of sentence embeddings, "r2" in a regression, ""
            for a generator.
        target: the bundle's runtime.
        precision: precision of weights and activations.
        parameters: number of parameters of the model; None where its manifest does not say it.
        teacher: model that the agreement refers to; None for a model without a teacher.
        rows: held-out rows; 0 for a generator, which has no labels to be scored by.
        accuracy: fraction of the rows that are predicted correctly; the micro F1 of several
            labels a row, the F1 of spans, R2 in a regression.
        macro_f1: mean F1 of the classes.
        agreement: fraction of the rows with the same prediction as the teacher's; of several
            labels a row, the mean share of labels in common.
        kept: ratio of the accuracy to the teacher's accuracy on the same rows.
        model_bytes: size of the model in its target's format.
        bundle_bytes: size of all files of the bundle.
        threads: the better thread count, which the times below refer to.
        p50: median latency in milliseconds at that thread count.
        p90: 90th percentile of the latency in milliseconds at that thread count.
        by_threads: p50 by thread count.
        speed_up: ratio of the latency of the report's reference to this latency.
        speed_up_same_target: such a ratio for the teacher in the same runtime.
        sparsity: fraction of zero weights; None if no step set weights to zero.
        origin: bundle, in the same runtime, of the model that this model was compressed from.
        speed_up_origin: ratio of the latency of the bundle `origin` to this latency.
        cold_start_seconds: time from the start of a fresh process to the first prediction.
        peak_mb: peak memory of the process that measured the cold start.
        execution: device, threads and precision of the session.
        note: a sentence that the reader of the report must know.
        remarks: sentences that explain the times by the steps that made the model.
        failed: reason why the bundle failed a check, where it is a line without figures; None if it
            passed.
        failure: reason why a bundle failed a check that has figures, as it was named or moved.
        cannot_run: reason why the latency could not be measured; None if it could.
        labels: class names, in the order of the confusion matrix; empty in a regression.
        scores: all scores of the task, as `scores.of_task` returns them; empty for a generator.
        history: epochs of the model's training; see `bmc.curves`.
        floor: description of a simple model that the report adds for comparison (the "floor");
            "" for all other models.
        unit: what `rows` counts: "rows", or "words" that have a tag each.
        kind: kind of the rows, such as "text".
        lineage: how the model was made.
        teacher_bundle: the teacher's bundle that `agreement` and `kept` refer to; None without one.
        same_target: the teacher's bundle that `speed_up_same_target` refers to; None without one.
        drop: points of the score that the model lost to its teacher, or without a teacher to the
            model that it was compressed from; negative where the score rose; None where there is no
            bundle of theirs.
        distribution: distribution of the latency at that thread count.
        disagreements: rows that the model and its teacher predict differently; None where there is
            no teacher's bundle, or a row has no single class.
        layers: costs of the model's layers, where `bmc inspect` measured them.
    """

    name: str
    model: str
    data: str
    measure: str
    target: str
    precision: str
    parameters: int | None
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
    failure: str | None = None
    cannot_run: str | None = None
    labels: tuple[str, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()
    floor: str = ""
    unit: str = "rows"
    kind: str = ""
    lineage: Lineage = field(default_factory=Lineage)
    teacher_bundle: str | None = None
    same_target: str | None = None
    drop: float | None = None
    distribution: Distribution | None = None
    disagreements: Disagreements | None = None
    layers: LayerCosts | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the bundle passed the checks of its export; no other should be used."""
        return not self.failed and self.failure is None

    def to_json(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        lines: the bundles.
        references: for each data set, the bundle that speed-ups refer to.
        run: benchmark run that measured the latencies; None for a report without latencies.
        broken: bundles that cannot be read or run, each with the reason.
        notes: reasons why simple models could not be added for comparison.
        devices: times of the bundles on other devices.
        gates: for each gate and each bundle, whether the bundle passed the gate.
        command: the command that made the report; "" for a report made in Python.
    """

    lines: tuple[Line, ...]
    references: Mapping[str, str]
    run: Run | None
    broken: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    gates: tuple[Verdict, ...] = ()
    command: str = ""

    def by_data(self) -> dict[str, list[Line]]:
        """Return the lines of each data set; data sets are in the order of their first line."""
        groups: dict[str, list[Line]] = {}
        for line in self.lines:
            groups.setdefault(line.data, []).append(line)
        return groups

    def line_of(self, name: str | None) -> Line | None:
        """Return the line of a bundle; None where the report has none of that name."""
        return next((line for line in self.lines if line.name == name), None)

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each bundle in tables and pictures, by name, in the order of the lines."""
        return {line.name: number for number, line in enumerate(self.lines, start=1)}
