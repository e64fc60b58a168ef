"""What `bmc run` and `bmc recipe` show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from bmc.errors import BmcError
from bmc.figures import megabytes
from bmc.recipes import schema as schemas
from bmc.recipes.commands import Preview
from bmc.recipes.execute import PlanResult, StepResult
from bmc.recipes.planning import PlannedStep
from bmc.rendering.rendered import Rendered

if TYPE_CHECKING:  # they import torch and numpy, which `bmc run` of a finished recipe needs not
    from bmc.recipes.cleaning import Cleaned
    from bmc.recipes.lineage import MadeBy
    from bmc.recipes.writing import Written

_UNKNOWN = "unknown"


def planned(preview: Preview) -> Rendered:
    """Render the plan of a recipe that is not run."""
    steps = preview.steps
    waiting = [step for step in steps if not step.is_done]
    known = [step.seconds for step in waiting if step.seconds is not None]
    table = Table("step", "verb", "from", "result", "time")
    for each in steps:
        table.add_row(
            each.step.name,
            each.step.verb,
            ", ".join(each.step.inputs.values()),
            "cached" if each.is_done else "to do",
            "" if each.is_done else _UNKNOWN if each.seconds is None else about(each.seconds),
        )
    total = f"{about(sum(known))} one after another" if known else _UNKNOWN
    if known and len(known) < len(waiting):
        total += f", and {len(waiting) - len(known)} whose time is unknown"
    rest = f"; time of the others: {total}" if waiting else ""
    end = "the bundles are timed then, and a report is written" if preview.plan.bench else ""
    return Rendered(
        {
            "name": preview.plan.name,
            "steps": [_planned_step(each) for each in steps],
            "seconds": sum(known) if len(known) == len(waiting) else None,
        },
        (
            table,
            f"{len(steps)} steps, {len(steps) - len(waiting)} of them cached{rest}",
            *([end] if end else []),
        ),
    )


def finished(result: PlanResult) -> Rendered:
    """Render what became of a recipe; a failed step or gate is exit 1."""
    table = Table("step", "result", "seconds", "folder")
    for each in result.steps:
        table.add_row(each.step.name, each.state, f"{each.seconds:.1f}", _folder(each))
    report, bench = result.measured.report, result.measured.bench
    lines = [f"bench: {bench}"] if bench else []
    lines += [f"report: {report / 'index.html'}"] if report else []
    content = {
        "name": result.name,
        "steps": [_result(each) for each in result.steps],
        "bench": str(bench) if bench else None,
        "report": str(report) if report else None,
    }
    shown = (table, *_counts(result.steps), *lines)
    try:
        result.raise_failures()
    except BmcError as error:
        failures = [
            {"check": "step", "message": f"{each.step.name}: {each.why}"}
            for each in result.steps
            if each.why
        ]
        failures += [{"check": "gate", "message": text} for text in result.measured.failures]
        return Rendered({**content, "failed": failures}, shown, error.exit_code, str(error))
    return Rendered(content, shown)


def written(result: Written) -> Rendered:
    """Render a recipe that was written."""
    content = {
        "output": str(result.path),
        "schema": str(result.schema),
        "steps": list(result.steps),
    }
    return Rendered(
        content,
        (
            f"wrote {result.path}: {', '.join(result.steps)}",
            f"wrote {result.schema}, by which editors complete it",
            f"next: bmc run {result.path} --dry-run    then: bmc run {result.path}",
        ),
    )


def cleaned(result: Cleaned) -> Rendered:
    """Render what `bmc recipe clean` removed."""
    content = {**asdict(result), "location": str(result.location)}
    line = f"removed {result.removed} results of steps from {result.location}"
    return Rendered(
        content, (f"{line}, which frees {megabytes(result.bytes)}; {result.kept} are left",)
    )


def made_by(result: MadeBy) -> Rendered:
    """Render the recipe that made a model."""
    return Rendered(
        {"model": str(result.model), "recipe": dict(result.document)}, (result.text.rstrip("\n"),)
    )


def schema() -> Rendered:
    """Render the JSON Schema of recipes."""
    return Rendered(schemas.schema(), (schemas.schema_text().rstrip("\n"),))


def about(seconds: float) -> str:
    """Return a time in words, such as "about 3 min"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _counts(steps: Iterable[StepResult]) -> list[str]:
    states = [each.state for each in steps]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return [f"{len(states)} steps: {', '.join(counts)}"]


def _planned_step(each: PlannedStep) -> dict[str, Any]:
    step = each.step
    return {
        "name": step.name,
        "verb": step.verb,
        "inputs": dict(step.inputs),
        "settings": dict(step.settings),
        "key": each.key,
        "cached": each.is_done,
        "seconds": each.seconds,
    }


def _result(each: StepResult) -> dict[str, Any]:
    return {
        "name": each.step.name,
        "state": each.state,
        "key": each.key,
        "path": str(each.path) if each.path else None,
        "seconds": each.seconds,
        "why": each.why,
    }


def _folder(each: StepResult) -> str:
    return str(each.path) if each.path else each.why
