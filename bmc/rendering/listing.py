"""What `bmc models`, `bmc rename` and `bmc remove` show."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from bmc.measure.shown import megabytes, significant
from bmc.rendering.answer import Answer
from bmc.workflows.listing import Listed
from bmc.workflows.shelf import Entry


def listed(result: Listed) -> Answer:
    """Render what can be trained, and what the workspace holds."""
    known = Table("baseline", "takes", "what it is", title="to train: bmc train NAME")
    described = result.families.values()
    baselines = {name: what for family in described for name, what in family.baselines.items()}
    for family in described:
        for name, what in (*family.baselines.items(), *family.references.items()):
            known.add_row(name, " or ".join(family.takes), what)
    students = Table("student", "settings", title="to teach: bmc distill --student NAME")
    for name, settings in result.students.items():
        pairs = ", ".join(f"{key}={value}" for key, value in asdict(settings).items())
        students.add_row(name, pairs)
    kept = Table("name", "kind", "made by", "MB", title=f"in {result.root}")
    for one in result.kept:
        kept.add_row(one.name, one.kind, one.made_by, significant(one.bytes / 1e6))
    return Answer(
        {
            "baselines": baselines,
            "students": {name: asdict(each) for name, each in result.students.items()},
            "workspace": [asdict(one) for one in result.kept],
        },
        (known, students, kept if result.kept else f"{result.root} holds nothing yet"),
    )


def renamed(entry: Entry, before: str) -> Answer:
    """Render that an entry of the workspace has another name."""
    content = {"name": entry.path.name, "kind": entry.kind, "before": before}
    return Answer(content, (f"{before} is {entry.path} now",))


def removed(entries: tuple[Entry, ...]) -> Answer:
    """Render that entries of the workspace are gone; none where somebody said no."""
    line = f"removed {named(entries)}" if entries else "nothing was removed"
    return Answer({"removed": [str(one.path) for one in entries]}, (line,))


def named(entries: tuple[Entry, ...]) -> str:
    """Return entries in one line, each with its size."""
    return ", ".join(f"{one.kind} {one.path} ({megabytes(one.bytes)})" for one in entries)
