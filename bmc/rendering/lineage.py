"""What `bmc show` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from bmc import curves
from bmc.bundle import Manifest
from bmc.contracts.tasks import TENSORS
from bmc.measure.custom import intervals
from bmc.measure.shown import megabytes, with_interval
from bmc.rendering import models
from bmc.rendering.rendered import Rendered
from bmc.workflows.show import MadeBundle, MadeModel

_LONGEST = 60


def lineage(result: MadeModel | MadeBundle) -> Rendered:
    """Render how a model or bundle was made."""
    return _bundle(result) if isinstance(result, MadeBundle) else _model(result)


def _model(result: MadeModel) -> Rendered:
    content = {**asdict(result), "path": str(result.path), "kind": "model"}
    teacher = result.teacher
    taught_by = [(teacher.name, teacher.weights), *teacher.more] if teacher else []
    named = ", ".join(f"{name} (weights {weights})" for name, weights in taught_by)
    learned = f"learned from {named}" if named else ""
    return Rendered(
        content,
        (
            f"{result.path}: a model for {_task(result.task, result.labels)}",
            *_data(result.data),
            *_commands("made by", result.commands),
            *([learned] if learned else []),
            *(_commands("which was made by", teacher.commands) if teacher else ()),
            *([_steps(result.steps)] if result.steps else []),
            *curves.lines(result.history),
            *models.validation(result.scores, result.labels),
        ),
    )


def _bundle(result: MadeBundle) -> Rendered:
    manifest = result.manifest
    content = {
        "path": str(result.path),
        "kind": "bundle",
        "target": manifest.target,
        "precision": manifest.precision,
        "task": manifest.task,
        "labels": list(manifest.labels),
        "bytes": result.bytes,
        "commands": list(result.commands),
        "lineage": manifest.lineage,
        "parity": manifest.parity,
        "scores": manifest.scores,
    }
    return Rendered(
        content,
        (
            f"{result.path}: a bundle for {manifest.target}, {manifest.precision}, "
            f"{megabytes(result.bytes)}, for {_task(manifest.task, manifest.labels)}",
            *_data(manifest.lineage.get("data") or {}),
            *_commands("made by", result.commands),
            *_scores(manifest),
        ),
    )


def _scores(manifest: Manifest) -> Iterator[object]:
    """Yield the scores of a bundle; those of an ONNX file have no classes."""
    if manifest.task != TENSORS:
        yield from models.by_class(manifest.scores or {}, manifest.labels, "test")
        return
    for name, interval in intervals(manifest.scores).items():
        yield f"on labeled samples: {name:.80} {with_interval(interval)}"


def _task(task: str, labels: Sequence[str]) -> str:
    names = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
    return f"{task} ({names})" if labels else task


def _data(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("reference"):
        fold = data.get("fold")
        held = f", fold {fold[0]} of {fold[1]}" if isinstance(fold, list) and len(fold) == 2 else ""
        yield f"data {data['reference']}{held} (fingerprint {str(data.get('fingerprint'))[:12]})"


def _commands(heading: str, commands: Sequence[str]) -> Iterator[str]:
    if commands:
        yield f"{heading}:"
    for number, line in enumerate(commands, start=1):
        yield f"  {number}. {line}"


def _steps(steps: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("step", "settings", "seed", "seconds")
    for step in steps:
        pairs = ", ".join(f"{name}={_short(value)}" for name, value in step["settings"].items())
        table.add_row(step["method"], pairs, str(step["seed"]), str(step["seconds"]))
    return table


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
