"""Gather the content of a report: scores and sizes from bundles, latencies from one bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import console, curves, workspace
from bmc.bundle import Bundle, Manifest
from bmc.contracts.tasks import TENSORS, scoring, task
from bmc.errors import ArtifactError
from bmc.files import sha256, size_of
from bmc.inspect.recorded_costs import layer_costs_of
from bmc.measure import machine, rejection, results, scores
from bmc.measure.custom import custom_scores
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.measure.scores import Interval
from bmc.report.disagreements import disagreements_of
from bmc.report.floor import Floor as Floor
from bmc.report.line import Line as Line
from bmc.report.line import Report as Report
from bmc.report.lineage import lineage_of
from bmc.report.read import Evaluated, read_all, read_failed
from bmc.report.reference import Key, key_of, parameters_of, reference_of, titles
from bmc.report.relatives import have_the_same_rows, origin_of, taught_by
from bmc.report.remarks import remarks_of
from bmc.report.times import times_of

_CLASSIFICATION = "classification"
_ENGINE_NOTE = "built, not run here; the score is that of the ONNX file it was built from"


def collect(
    run: Run | None,
    reference: str | None = None,
    folders: Sequence[Path] | None = None,
    floor: Floor = Floor(),
) -> Report:
    """Read bundles, and join them with a bench.

    Args:
        run: the bench that holds the times; None leaves them out.
        reference: bundle that the speed-ups of its data set refer to; chosen by bmc when None.
        folders: folders of the bundles; when None, all bundles of the workspace, with failed ones.
        floor: bundles of simple models, which stand below the other bundles of their data.
    """
    evaluated, broken = read_all(folders)
    failures, unread = read_failed() if folders is None else ([], {})
    evaluated.sort(key=lambda one: (-(parameters_of(one.bundle) or 0), one.bundle.path.name))
    simple, damaged = read_all(list(floor.folders))
    everyone = [*evaluated, *simple]
    titles_of = titles([*(one.bundle for one in everyone), *failures])
    timed = {row.name for row in run.rows} if run else set()
    groups: dict[str, list[Bundle]] = {}
    for one in evaluated:
        if one.bundle.path.name in timed:
            groups.setdefault(titles_of[key_of(one.bundle)], []).append(one.bundle)
    references = {}
    for data, bundles_of_data in groups.items():
        reference_name = (
            reference if reference in {one.path.name for one in bundles_of_data} else None
        )
        references[data] = reference_name or reference_of(bundles_of_data) or ""
    lines = [_line(one, everyone, run, titles_of, references) for one in evaluated]
    lines += [_failed(bundle, titles_of) for bundle in failures]
    for one in simple:
        line = _line(one, everyone, run, titles_of, references)
        lines.append(replace(line, floor=floor.folders[one.bundle.path]))
    lines.sort(key=lambda line: line.data)  # stable: within a data set, as above
    lines = [replace(line, drop=_drop(line, lines)) for line in lines]
    return Report(tuple(lines), references, run, {**broken, **unread, **damaged}, floor.notes)


def newest_run(
    folders: Sequence[Path],
    settings: BenchSettings | None = None,
    threads: Sequence[int] | None = None,
) -> Run | None:
    """Return the newest bench that measured these bundles, and maybe others, on this machine.

    The bench measured the same files with the same runtimes, in fp32, with batch size 1, the same
    length and at least as many launches. If the newest bench differs, a note says in what.

    Args:
        folders: bundles.
        settings: length and smallest number of launches of the report.
        threads: the numbers of threads that must have been measured, in as many rounds as the
            settings say; None takes any threads and rounds.
    """
    hashes = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    reason = ""
    for path in sorted(workspace.runs().glob("*.json"), reverse=True):
        try:
            run = results.read(path)
        except ArtifactError as error:
            console.note(str(error))
            continue
        if run.device:  # of another device
            continue
        why = _unfit(run, hashes, settings or BenchSettings(), threads)
        if not why:
            return run
        reason = reason or f"the bench of {run.started} is not used: {why}"
    if reason:
        console.note(reason)
    return None


def _unfit(
    run: Run, hashes: Mapping[str, str], settings: BenchSettings, threads: Sequence[int] | None
) -> str:
    """Say why a bench does not hold the times of some bundles; "" where it does."""
    measured = {(row.name, row.manifest_sha256) for row in run.rows} | run.skipped_sha256.items()
    measured_names = {name for name, _ in measured}
    for name, exactly in hashes.items():
        if (name, exactly) not in measured:
            reason = "made anew since" if name in measured_names else "not measured in it"
            return f"{name} was {reason}"
    this_machine = machine.describe()
    if any(run.machine.get(name) != this_machine[name] for name in machine.HARDWARE):
        return f"it was measured on another machine ({run.machine['processor']})"
    if run.versions and run.versions != machine.runtime_versions():
        return "other versions of the runtimes are installed now"
    if run.settings.batch != 1 or any(one.candidate.precision != "f32" for one in run.samples):
        return "it was measured with more rows a call, or not in fp32"
    if run.settings.length != settings.length:
        return f"it was measured with {run.settings.length} tokens"
    if run.settings.launches < settings.launches:
        return f"it has {run.settings.launches} launches"
    if threads is None:
        return ""
    if run.settings.rounds < settings.rounds:
        return f"it has {run.settings.rounds} rounds"
    if run.threads and run.threads != sorted(set(threads)):
        return f"it was measured with {', '.join(map(str, run.threads))} threads"
    return ""


def _line(
    one: Evaluated,
    everyone: Sequence[Evaluated],
    run: Run | None,
    titles_of: Mapping[Key, str],
    references: Mapping[str, str],
) -> Line:
    manifest, data = one.bundle.manifest, titles_of[key_of(one.bundle)]
    teachers = taught_by(one, everyone)
    teacher = next((other for other in teachers if have_the_same_rows(other, one)), None)
    same = next(
        (o.bundle.path.name for o in teachers if o.bundle.manifest.target == manifest.target), None
    )
    origin = origin_of(one.bundle, everyone)
    found: dict[str, Any] = {}
    relative: dict[str, Any] = {"agreement": None, "kept": None}
    if one.outputs is not None and one.labels is not None:
        recorded = manifest.stand_in.scores if manifest.stand_in else manifest.scores
        custom = {name: asdict(interval) for name, interval in custom_scores(recorded).items()}
        own = scores.of_task(
            *(manifest.task, one.outputs, one.labels),
            thresholds=manifest.thresholds,
            names=manifest.labels,
        )
        found = {**custom, **own, **_of_rejection(manifest, one.outputs, one.labels)}
        if teacher is not None:
            relative |= _relative_to_teacher(one, teacher, has_scores=bool(own))
    name = one.bundle.path.name
    reference = references.get(data)
    times = times_of(name, run, reference, same, origin.path.name if origin else None)
    ratio, p50 = times.get("speed_up_origin"), times.get("p50")
    lineage = lineage_of(manifest)
    return Line(
        name=name,
        model=manifest.name,
        data=data,
        measure=_measure_of(manifest),
        target=manifest.target,
        precision=manifest.precision,
        parameters=parameters_of(one.bundle),
        teacher=lineage.teacher or None,
        rows=len(one.labels) if one.labels is not None and task(manifest.task).has_labels else 0,
        accuracy=_interval(found, _measure_of(manifest)),
        macro_f1=_interval(found, "macro_f1"),
        model_bytes=one.bundle.model_size(),
        bundle_bytes=size_of(one.bundle.path),
        note=_ENGINE_NOTE if manifest.stand_in and manifest.task != TENSORS else "",
        sparsity=manifest.lineage.get("sparsity"),
        origin=origin.path.name if origin else None,
        remarks=remarks_of(one.bundle, origin, ratio, p50),
        cannot_run=run.skipped[name] if run and name in run.failed else None,
        labels=manifest.labels,
        scores=found,
        unit=task(manifest.task).unit,
        history=curves.epochs_of(manifest.lineage.get("history")),
        kind=str(manifest.preprocessing.get("kind"))[:40],
        lineage=lineage,
        teacher_bundle=teacher.bundle.path.name if teacher else None,
        same_target=same,
        failure=manifest.failure,
        layers=layer_costs_of(lineage.weights),
        **relative,
        **times,
    )


def _of_rejection(
    manifest: Manifest, outputs: NDArray[Any], labels: NDArray[Any]
) -> dict[str, Any]:
    """Return the share of rows that get no label, and the accuracy of the others."""
    classes = task(manifest.task).classes
    if manifest.reject_below is None or classes is None or classes.confidence is None:
        return {}
    correct = outputs.argmax(axis=1) == labels
    return rejection.scores_of(classes.confidence(outputs), correct, manifest.reject_below)


def _relative_to_teacher(one: Evaluated, teacher: Evaluated, has_scores: bool) -> dict[str, Any]:
    """Return how a student's predictions and its score stand to its teacher's, on the same rows."""
    manifest, labels = one.bundle.manifest, one.labels
    outputs, expected = _relative_outputs(one), _relative_outputs(teacher)
    if outputs is None or expected is None or labels is None:
        return {}
    described = task(manifest.task)
    members: dict[str, Any] = {}
    if described.classes:
        members["agreement"] = scores.agreement(outputs, expected, manifest.task, labels)
    kept = scoring(manifest.task, manifest.labels).kept if has_scores else None
    if kept:
        members["kept"] = kept(outputs, expected, labels)
    if manifest.task == _CLASSIFICATION:
        names, teacher_name = manifest.labels, teacher.bundle.path.name
        members["disagreements"] = disagreements_of(outputs, expected, labels, names, teacher_name)
    return members


def _drop(line: Line, lines: Sequence[Line]) -> float | None:
    """Return the points of the score that a bundle lost to its teacher, else to its first origin.

    Returns:
        None where there is no bundle to compare with.
    """
    by_name = {other.name: other for other in lines}
    before = by_name.get(line.teacher_bundle or "")
    if before is None and not line.teacher:
        seen = {line.name}
        origin = by_name.get(line.origin or "")
        while origin is not None and origin.name not in seen:
            before = origin
            seen.add(origin.name)
            origin = by_name.get(origin.origin or "")
    if before is None or before.accuracy is None or line.accuracy is None:
        return None
    return 100 * (before.accuracy.value - line.accuracy.value)


def _relative_outputs(one: Evaluated) -> NDArray[Any] | None:
    """Return a bundle's outputs relative to its thresholds; None where it has none."""
    thresholds = one.bundle.manifest.thresholds
    return None if one.outputs is None else scores.relative_to(one.outputs, thresholds)


def _measure_of(manifest: Manifest) -> str:
    """Return the name of the score of a bundle's task; "" for a generator."""
    if not task(manifest.task).has_labels:
        return ""
    return scoring(manifest.task, manifest.labels).measure


def _interval(found: Mapping[str, Any], measure: str) -> Interval | None:
    return Interval(**found[measure]) if measure in found else None


def _failed(bundle: Bundle, titles_of: Mapping[Key, str]) -> Line:
    manifest = bundle.manifest
    return Line(
        name=bundle.path.name,
        model=manifest.name,
        data=titles_of[key_of(bundle)],
        measure=_measure_of(manifest),
        target=manifest.target,
        precision=manifest.precision,
        parameters=parameters_of(bundle),
        teacher=None,
        rows=0,
        accuracy=None,
        macro_f1=None,
        agreement=None,
        kept=None,
        model_bytes=bundle.model_size(),
        bundle_bytes=size_of(bundle.path),
        kind=str(manifest.preprocessing.get("kind"))[:40],
        lineage=lineage_of(manifest),
        failed=manifest.failure or "it failed a gate",
    )
