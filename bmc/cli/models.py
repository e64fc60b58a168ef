"""bmc models"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from bmc.cli.options import Answer, Common


def models(*, common: Common = Common()) -> Answer:
    """List baselines, students, and what the workspace holds.

    Example:
        bmc models
        bmc models --json
    """
    from bmc import console, workspace
    from bmc.contracts import families
    from bmc.measure.shown import significant

    common.begin()
    for error in families.FAMILIES.refused().values():
        console.note(f"left out: {error}")
    described = families.families().values()
    baselines = {name: what for family in described for name, what in family.baselines.items()}
    known = Table("baseline", "takes", "what it is", title="to train: bmc train NAME")
    for family in described:
        for name, what in family.baselines.items():
            known.add_row(name, " or ".join(family.takes), what)
    for family in described:
        for name, what in family.references.items():
            known.add_row(name, " or ".join(family.takes), what)
    students = Table("student", "settings", title="to teach: bmc distill --student NAME")
    for name, settings in families.students().items():
        pairs = ", ".join(f"{key}={value}" for key, value in asdict(settings).items())
        students.add_row(name, pairs)
    own = [_entry(path, "model") for path in workspace.entries("model")]
    own += [_entry(path, "bundle") for path in workspace.entries("bundle")]
    own += [_entry(path, "failed bundle") for path in workspace.entries("bundle", failed=True)]
    mine = Table("name", "kind", "made by", "MB", title=f"in {workspace.root()}")
    for entry in own:
        taken = significant(entry["bytes"] / 1e6)
        mine.add_row(entry["name"], entry["kind"], entry["made_by"], taken)
    return Answer(
        {
            "baselines": baselines,
            "students": {name: asdict(each) for name, each in families.students().items()},
            "workspace": own,
        },
        (known, students, mine if own else f"{workspace.root()} holds nothing yet"),
    )


def _entry(path: Path, kind: str) -> dict[str, Any]:
    from bmc import workspace
    from bmc.files import size_of
    from bmc.untrusted import read_json

    if kind == "model":
        manifest = read_json(path / workspace.MODEL_MANIFEST, "model directory")
        made = manifest.get("origin", {}).get("command", "?")
    else:
        made = f"export --target {read_json(path / 'manifest.json', 'bundle').get('target', '?')}"
    return {"name": path.name, "kind": kind, "made_by": made, "bytes": size_of(path)}
