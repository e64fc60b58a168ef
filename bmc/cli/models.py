"""bmc models"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from bmc import plugins, workspace
from bmc.cli._common import Answer, Common
from bmc.files import size_of
from bmc.measure.shown import significant
from bmc.models.bert import STUDENTS
from bmc.untrusted import read_json
from bmc.workflows.baselines import baselines as baselines_of
from bmc.workflows.baselines import kinds

_OTHERS = (
    ("hf:ORG/NAME@REV", "text", "a BERT or MPNet on the Hugging Face hub (needs a network)"),
    ("FOLDER", "text", "a local Hugging Face folder of one, with model.safetensors"),
    ("timm:NAME", "image", "an image model of timm, where it is installed"),
    ("python:MODULE:FUNCTION", "image", "your own nn.Module; runs your code"),
)


def models(*, common: Common = Common()) -> Answer:  # noqa: B008  frozen
    """List baselines, students, and what the workspace holds."""
    common.begin()
    baselines = {
        name: what
        for family in plugins.names("bmc.models")
        for name, what in baselines_of(family).items()
    }
    takes = {
        name: " or ".join(kinds(family))
        for family in plugins.names("bmc.models")
        for name in baselines_of(family)
    }
    known = Table("baseline", "takes", "what it is", title="to train: bmc train NAME")
    for name, what in baselines.items():
        known.add_row(name, takes[name], what)
    for name, kind, what in _OTHERS:
        known.add_row(name, kind, what)
    students = Table("student", "layers", "hidden", "heads", title="bmc distill --student NAME")
    for name, size in STUDENTS.items():
        students.add_row(name, str(size.layers), str(size.hidden), str(size.heads))
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
            "students": {name: vars(size) for name, size in STUDENTS.items()},
            "workspace": own,
        },
        (known, students, mine if own else f"{workspace.root()} holds nothing yet"),
    )


def _entry(path: Path, kind: str) -> dict[str, Any]:
    if kind == "model":
        manifest = read_json(path / workspace.MODEL_MANIFEST, "model directory")
        made = manifest.get("origin", {}).get("command", "?")
    else:
        made = f"export --target {read_json(path / 'manifest.json', 'bundle').get('target', '?')}"
    return {"name": path.name, "kind": kind, "made_by": made, "bytes": size_of(path)}
