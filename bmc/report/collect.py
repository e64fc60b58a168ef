"""Gather what a report shows: scores and sizes from the bundles, latencies from one bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.errors import ArtifactError
from bmc.files import sha256, size_of
from bmc.measure import machine, results, scores
from bmc.measure.latency import BenchSettings
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
    failed = [bundles.read(path) for path in workspace.entries("bundle", failed=True)]
    data = _names_of_data([*(one.bundle for one in evaluated), *failed])
    timed = {row.name for row in run.rows} if run else set()
    by_data: dict[str, list[Bundle]] = {}
    for one in evaluated:
        if one.bundle.path.name in timed:
            by_data.setdefault(data[one.bundle.path], []).append(one.bundle)
    references = {name: best for name, made in by_data.items() if (best := reference_of(made))}
    lines = []
    for one in evaluated:
        name = data[one.bundle.path]
        lines.append(replace(_line(one, evaluated, run, references.get(name)), data=name))
    lines += [replace(_failed(bundle), data=data[bundle.path]) for bundle in failed]
    lines.sort(key=lambda line: line.data)  # stable: within a data set, as above
    return Report(tuple(lines), references, run)


def data_of(bundle: Bundle) -> str:
    """Return the name of the data that a bundle's model was trained on."""
    data = bundle.manifest.lineage.get("data")
    found = data.get("reference") if isinstance(data, dict) else None
    return Path(str(found)).name if found else "unknown data"


def _names_of_data(made: Sequence[Bundle]) -> Mapping[Path, str]:
    """Return the name of each bundle's data, with its fingerprint where several have one name."""
    of_name: dict[str, set[str]] = {}
    for bundle in made:
        of_name.setdefault(data_of(bundle), set()).add(_fingerprint(bundle))
    return {
        bundle.path: data_of(bundle)
        if len(of_name[data_of(bundle)]) == 1
        else f"{data_of(bundle)} ({_fingerprint(bundle)[:6]})"
        for bundle in made
    }


def _fingerprint(bundle: Bundle) -> str:
    data = bundle.manifest.lineage.get("data")
    return str(data.get("fingerprint")) if isinstance(data, dict) else ""


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


def newest_run(folders: Sequence[Path], settings: BenchSettings | None = None) -> Run | None:
    """Return the newest bench whose times are those of these bundles, here and now.

    It measured these very files, with these run times, on this machine, in fp32 with one row a
    call, the same length and as many launches. Where the newest one did not, that is said.

    Args:
        folders: bundles.
        settings: length and least launches that are asked for.
    """
    wanted = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    reason = ""
    for path in sorted((workspace.root() / ".bench").glob("*.json"), reverse=True):
        try:
            run = results.read(path)
        except ArtifactError as error:
            console.note(str(error))
            continue
        why = _unfit(run, wanted, settings or BenchSettings())
        if not why:
            return run
        reason = reason or f"the bench of {run.started} is not used: {why}"
    if reason:
        console.note(reason)
    return None


def _unfit(run: Run, wanted: Mapping[str, str], settings: BenchSettings) -> str:
    """Say why a bench does not hold the times of some bundles; "" where it does."""
    measured = {(row.name, row.manifest_sha256) for row in run.rows} | run.skipped_sha256.items()
    known = {name for name, _ in measured}
    for name, exactly in wanted.items():
        if (name, exactly) not in measured:
            return f"{name} was {'made anew since' if name in known else 'not measured in it'}"
    here = machine.describe()
    if any(run.machine.get(name) != here[name] for name in machine.TELLING):
        return f"it was measured on another machine ({run.machine['processor']})"
    if run.versions and run.versions != machine.run_times():
        return "other versions of the run times are installed now"
    if run.settings.batch != 1 or any(one.candidate.precision != "f32" for one in run.samples):
        return "it was measured with more rows a call, or not in fp32"
    if run.settings.length != settings.length:
        return f"it was measured with {run.settings.length} tokens"
    if run.settings.launches < settings.launches:
        return f"it has {run.settings.launches} launches"
    return ""


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
    answers = next((o.logits for o in taught_by if _answers_the_same_rows(o, one)), None)
    same = next(
        (o.bundle.path.name for o in taught_by if o.bundle.manifest.target == manifest.target), None
    )
    origin = _origin_of(one.bundle, everyone)
    accuracy = macro_f1 = agreement = kept = None
    if manifest.task == "classification" and one.logits is not None and one.labels is not None:
        accuracy = scores.accuracy(one.logits, one.labels)
        macro_f1 = scores.macro_f1(one.logits, one.labels)
        if answers is not None:
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


def _failed(bundle: Bundle) -> Line:
    path = bundle.path
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


def _answers_the_same_rows(one: _Evaluated, other: _Evaluated) -> bool:
    """Tell whether two bundles answered one test split, with classes in one order."""
    if one.logits is None or other.logits is None:
        return False
    return (
        _fingerprint(one.bundle) == _fingerprint(other.bundle)
        and one.bundle.manifest.labels == other.bundle.manifest.labels
        and one.logits.shape == other.logits.shape
        and np.array_equal(one.labels, other.labels)  # type: ignore[arg-type]
    )


def _origin_of(bundle: Bundle, everyone: Sequence[_Evaluated]) -> Bundle | None:
    """Find the bundle of the model that another's was made from, in one run time.

    It is told by the sha256 of its weights; bundles of earlier versions name it alone. Its steps
    must be the first of the other's, so that no namesake is taken.
    """
    steps, lineage = steps_of(bundle), bundle.manifest.lineage
    key, ours = "weights_sha256", lineage.get("from_sha256")
    wanted = (bundle.manifest.target, _fingerprint(bundle), ours or lineage.get("from"))
    for other in (one.bundle for one in everyone):
        before = steps_of(other)
        theirs = other.manifest.lineage.get(key) if ours else other.manifest.name
        found = (other.manifest.target, _fingerprint(other), theirs)
        if found == wanted and len(before) < len(steps) and steps[: len(before)] == before:
            return other
    return None


def _parameters(bundle: Bundle) -> int:
    return int(bundle.manifest.lineage.get("parameters", 0))
