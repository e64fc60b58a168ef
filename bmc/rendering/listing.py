"""Render the results of `bmc models`, `bmc rename` and `bmc remove`."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from bmc.measure.shown import megabytes, significant
from bmc.rendering.rendered import Rendered
from bmc.workflows.entries import Entry
from bmc.workflows.listing import Listed


def listed(result: Listed) -> Rendered:
    """Render the models that can be trained, and the entries of the workspace."""
    table = Table("baseline", "takes", "what it is", title="to train: bmc train NAME")
    family_list = result.families.values()
    baselines = {name: what for family in family_list for name, what in family.baselines.items()}
    for family in family_list:
        for name, what in (*family.baselines.items(), *family.references.items()):
            table.add_row(name, " or ".join(family.takes), what)
    students = Table("student", "settings", title="to teach: bmc distill --student NAME")
    for name, settings in result.students.items():
        pairs = ", ".join(f"{key}={value}" for key, value in asdict(settings).items())
        students.add_row(name, pairs)
    entries = Table("name", "kind", "made by", "MB", title=f"in {result.root}")
    for entry in result.entries:
        entries.add_row(entry.name, entry.kind, entry.made_by, significant(entry.bytes / 1e6))
    return Rendered(
        {
            "baselines": baselines,
            "students": {name: asdict(settings) for name, settings in result.students.items()},
            "workspace": [asdict(entry) for entry in result.entries],
        },
        (table, students, entries if result.entries else f"{result.root} holds nothing yet"),
    )


def renamed(entry: Entry, before: str) -> Rendered:
    """Render the new name of a model or bundle."""
    content = {"name": entry.path.name, "kind": entry.kind, "before": before}
    return Rendered(content, (f"{before} is {entry.path} now",))


def removed(entries: tuple[Entry, ...]) -> Rendered:
    """Render the removed models and bundles; there are none if the user did not confirm."""
    line = f"removed {names_and_sizes(entries)}" if entries else "nothing was removed"
    return Rendered({"removed": [str(entry.path) for entry in entries]}, (line,))


def names_and_sizes(entries: tuple[Entry, ...]) -> str:
    """Return the kind, path and size of each entry, in one line."""
    return ", ".join(f"{entry.kind} {entry.path} ({megabytes(entry.bytes)})" for entry in entries)
