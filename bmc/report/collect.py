"""Gather the content of a report: scores and sizes from bundles, latencies from one bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import console, curves, workspace
from bmc.bundle import Bundle, Manifest
from bmc.contracts.tasks import TENSORS, scoring, task
from bmc.errors import ArtifactError
from bmc.files import sha256, size_of
from bmc.measure import machine, results, scores
from bmc.measure.custom import custom_scores
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.measure.scores import Interval
from bmc.measure.statistics import speed_up
from bmc.report.floor import Floor as Floor
from bmc.report.line import Line as Line
from bmc.report.line import Report as Report
from bmc.report.read import Evaluated, read_all, read_failed
from bmc.report.reference import Key, key_of, parameters_of, reference_of, titles
from bmc.report.remarks import remarks_of, steps_of

_ENGINE_NOTE = "built, not run here; the score is that of the ONNX file it was built from"


def collect(
    run: Run | None,
    reference: str | None = None,
    folders: Sequence[Path] | None = None,
    floor: Floor = Floor(),  # noqa: B008  frozen
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
    evaluated.sort(key=lambda one: (-parameters_of(one.bundle), one.bundle.path.name))
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
    return Report(tuple(lines), references, run, {**broken, **unread, **damaged}, floor.notes)


def newest_run(folders: Sequence[Path], settings: BenchSettings | None = None) -> Run | None:
    """Return the newest bench that measured exactly these bundles on this machine.

    The bench measured the same files with the same runtimes, in fp32, with batch size 1, the same
    length and at least as many launches. If the newest bench differs, a note says in what.

    Args:
        folders: bundles.
        settings: length and smallest number of launches of the report.
    """
    hashes = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    reason = ""
    for path in sorted((workspace.root() / ".bench").glob("*.json"), reverse=True):
        try:
            run = results.read(path)
        except ArtifactError as error:
            console.note(str(error))
            continue
        if run.device:  # of another device
            continue
        why = _unfit(run, hashes, settings or BenchSettings())
        if not why:
            return run
        reason = reason or f"the bench of {run.started} is not used: {why}"
    if reason:
        console.note(reason)
    return None


def _unfit(run: Run, hashes: Mapping[str, str], settings: BenchSettings) -> str:
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
    return ""


def _line(
    one: Evaluated,
    everyone: Sequence[Evaluated],
    run: Run | None,
    titles_of: Mapping[Key, str],
    references: Mapping[str, str],
) -> Line:
    manifest, data = one.bundle.manifest, titles_of[key_of(one.bundle)]
    reference = references.get(data)
    teacher = manifest.lineage.get("teacher")
    taught_by = _bundles_of(teacher["sha256"], everyone) if teacher else []
    teacher_outputs = next(
        (_relative_outputs(o) for o in taught_by if _answers_the_same_rows(o, one)), None
    )
    same = next(
        (o.bundle.path.name for o in taught_by if o.bundle.manifest.target == manifest.target), None
    )
    origin = _origin_of(one.bundle, everyone)
    found: dict[str, Any] = {}
    agreement = kept_accuracy = None
    if one.outputs is not None and one.labels is not None:
        recorded = manifest.stand_in.scores if manifest.stand_in else manifest.scores
        custom = {name: asdict(interval) for name, interval in custom_scores(recorded).items()}
        outputs = scores.relative_to(one.outputs, manifest.thresholds)
        own = scores.of_task(
            *(manifest.task, one.outputs, one.labels),
            thresholds=manifest.thresholds,
            names=manifest.labels,
        )
        found = {**custom, **own}
        if teacher_outputs is not None and task(manifest.task).classes:
            agreement = scores.agreement(outputs, teacher_outputs, manifest.task, one.labels)
        ratio_of = scoring(manifest.task, manifest.labels).kept if own else None
        if teacher_outputs is not None and ratio_of:
            kept_accuracy = ratio_of(outputs, teacher_outputs, one.labels)
    name = one.bundle.path.name
    times = _times(name, run, reference, same, origin.path.name if origin else None)
    ratio, p50 = times.get("speed_up_origin"), times.get("p50")
    return Line(
        name=name,
        model=manifest.name,
        data=data,
        measure=_measure_of(manifest),
        target=manifest.target,
        precision=manifest.precision,
        parameters=parameters_of(one.bundle),
        teacher=teacher["name"] if teacher else None,
        rows=len(one.labels) if one.labels is not None and task(manifest.task).has_labels else 0,
        accuracy=_interval(found, _measure_of(manifest)),
        macro_f1=_interval(found, "macro_f1"),
        agreement=agreement,
        kept=kept_accuracy,
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
    index = next(index for index, row in enumerate(run.rows) if row.name == name and row.best)
    return run.samples[index].nanoseconds


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
        failed=manifest.failure or "it failed a gate",
    )


def _bundles_of(weights_sha256: str, everyone: Sequence[Evaluated]) -> list[Evaluated]:
    return [
        one
        for one in everyone
        if one.bundle.manifest.lineage.get("weights_sha256") == weights_sha256
    ]


def _answers_the_same_rows(one: Evaluated, other: Evaluated) -> bool:
    """Tell whether two bundles were scored on the same test rows, with classes in one order."""
    if one.outputs is None or other.outputs is None:
        return False
    return (
        key_of(one.bundle) == key_of(other.bundle)
        and one.bundle.manifest.labels == other.bundle.manifest.labels
        and one.outputs.shape == other.outputs.shape
        and np.array_equal(one.labels, other.labels)  # type: ignore[arg-type]
    )


def _origin_of(bundle: Bundle, everyone: Sequence[Evaluated]) -> Bundle | None:
    """Find the bundle of the model from which another bundle's model was made, for one runtime.

    The model is identified by the sha256 of its weights; bundles of earlier versions record its
    name only. Its steps must be the first steps of the other model, which excludes other models of
    the same name.
    """
    steps, lineage = steps_of(bundle), bundle.manifest.lineage
    key, ours = "weights_sha256", lineage.get("from_sha256")
    hashes = (bundle.manifest.target, key_of(bundle), ours or lineage.get("from"))
    for other in (one.bundle for one in everyone):
        before = steps_of(other)
        origin_name = other.manifest.lineage.get(key) if ours else other.manifest.name
        found = (other.manifest.target, key_of(other), origin_name)
        if found == hashes and len(before) < len(steps) and steps[: len(before)] == before:
            return other
    return None
