"""Gather what a report shows: scores and sizes from the bundles, latencies from one bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import workspace
from bmc.bundle import Bundle
from bmc.files import sha256, size_of
from bmc.measure import results, scores
from bmc.measure.results import Run
from bmc.measure.scores import Interval
from bmc.measure.statistics import speed_up
from bmc.report.remarks import remarks_of, steps_of

_MEASURE = {"classification": "accuracy", "regression": "r2"}
_ENGINE_NOTE = "built, not run here; the score is that of the ONNX file it was built from"


@dataclass(frozen=True)
class Line:
    """One bundle in a report.

    Args:
        name: the bundle's folder.
        model: the model it was made from.
        data: what it was trained and scored on; only lines of one data set are compared.
        measure: what the score is: "accuracy", "r2" in a regression, "" for a generator.
        target: its run time.
        precision: of its weights and activations.
        parameters: of the model.
        teacher: the model that the agreement refers to; None for one that had no teacher.
        rows: held-out rows; 0 for a generator, which has no labels to be scored by.
        accuracy: share of them answered rightly; in a regression R2.
        macro_f1: mean F1 of the classes.
        agreement: share answered as the teacher does.
        kept: accuracy over the teacher's, on the same rows.
        model_bytes: the model in its target's format.
        bundle_bytes: everything that is deployed.
        threads: the better thread count, which the times below refer to.
        p50: median latency in milliseconds at that count.
        p90: 90th percentile, likewise.
        by_threads: p50 at every thread count.
        speed_up: times faster than the report's reference.
        speed_up_same_target: times faster than the teacher in the same run time.
        sparsity: share of zero weights, where a step set some to zero.
        origin: bundle of the model that it was made from, in the same run time.
        speed_up_origin: times faster than that.
        cold_start_seconds: fresh process to first answer.
        peak_mb: memory of that process.
        execution: what it ran with.
        note: what a reader must know.
        remarks: what its times say of the steps that made it.
        failed: why it failed a gate, or None.
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

    def to_json(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """Lines, the bundle of each data set that speed-ups refer to, and where the times came from."""

    lines: tuple[Line, ...]
    references: Mapping[str, str]
    run: Run | None

    def by_data(self) -> dict[str, list[Line]]:
        """Return the lines of each data set, in the order of its first one."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.data, []).append(line)
        return found


@dataclass(frozen=True)
class _Evaluated:
    bundle: Bundle
    logits: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None


def collect(run: Run | None) -> Report:
    """Read every bundle of the workspace, the failed ones too, and join them with a bench.

    Args:
        run: the bench that holds the times; None leaves them out.
    """
    evaluated = [_evaluated(path) for path in workspace.entries("bundle")]
    evaluated.sort(key=lambda one: (-_parameters(one.bundle), one.bundle.path.name))
    timed = {row.name for row in run.rows} if run else set()
    by_data: dict[str, list[Bundle]] = {}
    for one in evaluated:
        if one.bundle.path.name in timed:
            by_data.setdefault(data_of(one.bundle), []).append(one.bundle)
    references = {data: name for data, made in by_data.items() if (name := reference_of(made))}
    lines = [_line(one, evaluated, run, references.get(data_of(one.bundle))) for one in evaluated]
    lines += [_failed(path) for path in workspace.entries("bundle", failed=True)]
    lines.sort(key=lambda line: line.data)  # stable: within a data set, as above
    return Report(tuple(lines), references, run)


def data_of(bundle: Bundle) -> str:
    """Return the name of the data that a bundle's model was trained on."""
    found = (bundle.manifest.lineage.get("data") or {}).get("reference")
    return Path(str(found)).name if found else "unknown data"


def reference_of(made: Sequence[Bundle]) -> str | None:
    """Choose what speed-ups refer to: the largest model, the one of fewest steps, in PyTorch if so.

    A model with zeros is as large as the one it was made from.
    """
    if not made:
        return None

    def rank(bundle: Bundle) -> tuple[int, int, bool]:
        steps = len(steps_of(bundle))
        return -_parameters(bundle), steps, bundle.manifest.target != "pytorch"

    return min(made, key=rank).path.name


def newest_run(folders: Sequence[Path]) -> Run | None:
    """Return the newest bench that measured all of these very bundles, if there is one."""
    wanted = {(folder.name, sha256(folder / bundles.MANIFEST)) for folder in folders}
    for path in sorted((workspace.root() / ".bench").glob("*.json"), reverse=True):
        run = results.read(path)
        measured = {(row.name, row.manifest_sha256) for row in run.rows}
        if wanted <= measured | {pair for pair in wanted if pair[0] in run.skipped}:
            return run
    return None


def _evaluated(path: Path) -> _Evaluated:
    bundle = bundles.read(path)
    file = path / bundles.EVALUATION
    if not file.is_file():
        return _Evaluated(bundle, None, None)
    arrays = bundles.read_arrays(file)
    return _Evaluated(bundle, arrays["logits"], arrays["labels"])


def _line(
    one: _Evaluated, everyone: Sequence[_Evaluated], run: Run | None, reference: str | None
) -> Line:
    manifest = one.bundle.manifest
    teacher = manifest.lineage.get("teacher")
    taught_by = _bundles_of(teacher["sha256"], everyone) if teacher else []
    answers = next((other.logits for other in taught_by if other.logits is not None), None)
    same = next(
        (o.bundle.path.name for o in taught_by if o.bundle.manifest.target == manifest.target), None
    )
    origin = _origin_of(one.bundle, everyone)
    accuracy = macro_f1 = agreement = kept = None
    if manifest.task == "classification" and one.logits is not None and one.labels is not None:
        accuracy = scores.accuracy(one.logits, one.labels)
        macro_f1 = scores.macro_f1(one.logits, one.labels)
        if answers is not None and len(answers) == len(one.logits):
            agreement = scores.agreement(one.logits, answers)
            kept = scores.kept(one.logits, answers, one.labels)
    if manifest.task == "regression" and one.logits is not None and one.labels is not None:
        accuracy = scores.r2(one.logits[:, 0].astype(np.float64), one.labels.astype(np.float64))
    name = one.bundle.path.name
    times = _times(name, run, reference, same, origin.path.name if origin else None)
    ratio, p50 = times.get("speed_up_origin"), times.get("p50")
    return Line(
        name=name,
        model=manifest.name,
        data=data_of(one.bundle),
        measure=_MEASURE.get(manifest.task, ""),
        target=manifest.target,
        precision=manifest.precision,
        parameters=_parameters(one.bundle),
        teacher=teacher["name"] if teacher else None,
        rows=0 if one.labels is None or manifest.task == "generation" else len(one.labels),
        accuracy=accuracy,
        macro_f1=macro_f1,
        agreement=agreement,
        kept=kept,
        model_bytes=one.bundle.model_size(),
        bundle_bytes=size_of(one.bundle.path),
        note="" if manifest.scores else _ENGINE_NOTE,
        sparsity=manifest.lineage.get("sparsity"),
        origin=origin.path.name if origin else None,
        remarks=remarks_of(one.bundle, origin, ratio, p50),
        **times,
    )


def _times(
    name: str,
    run: Run | None,
    reference: str | None,
    same_target: str | None,
    origin: str | None,
) -> dict[str, Any]:
    rows = [row for row in run.rows if row.name == name] if run else []
    if not run or not rows:
        return {}
    best = next(row for row in rows if row.best)

    def faster_than(other: str | None) -> Interval | None:
        if other is None or other == name or not any(row.name == other for row in run.rows):
            return None
        return speed_up(_samples(run, other), _samples(run, name))

    return {
        "threads": best.threads,
        "p50": best.p50,
        "p90": best.p90,
        "by_threads": {row.threads: row.p50 for row in rows},
        "speed_up": faster_than(reference),
        "speed_up_same_target": faster_than(same_target),
        "speed_up_origin": faster_than(origin),
        "cold_start_seconds": best.cold_start_seconds,
        "peak_mb": best.peak_mb,
        "execution": best.execution,
    }


def _samples(run: Run, name: str) -> list[list[list[int]]]:
    place = next(place for place, row in enumerate(run.rows) if row.name == name and row.best)
    return run.samples[place].nanoseconds


def _failed(path: Path) -> Line:
    bundle = bundles.read(path)
    manifest = bundle.manifest
    return Line(
        name=path.name,
        model=manifest.name,
        data=data_of(bundle),
        measure=_MEASURE.get(manifest.task, ""),
        target=manifest.target,
        precision=manifest.precision,
        parameters=_parameters(bundle),
        teacher=None,
        rows=0,
        accuracy=None,
        macro_f1=None,
        agreement=None,
        kept=None,
        model_bytes=bundle.model_size(),
        bundle_bytes=size_of(path),
        failed=str(manifest.parity.get("failed", "it failed a gate")),
    )


def _bundles_of(weights_sha256: str, everyone: Sequence[_Evaluated]) -> list[_Evaluated]:
    return [
        one
        for one in everyone
        if one.bundle.manifest.lineage.get("weights_sha256") == weights_sha256
    ]


def _origin_of(bundle: Bundle, everyone: Sequence[_Evaluated]) -> Bundle | None:
    """Find the bundle of the model that another's was made from: by its name, in one run time.

    Its steps must be the first of the other's, so that no namesake is taken.
    """
    steps = steps_of(bundle)
    wanted = (bundle.manifest.lineage.get("from"), bundle.manifest.target, data_of(bundle))
    for other in (one.bundle for one in everyone):
        before = steps_of(other)
        found = (other.manifest.name, other.manifest.target, data_of(other))
        if found == wanted and len(before) < len(steps) and steps[: len(before)] == before:
            return other
    return None


def _parameters(bundle: Bundle) -> int:
    return int(bundle.manifest.lineage.get("parameters", 0))
