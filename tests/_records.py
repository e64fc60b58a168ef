"""Model directories whose steps a stranger wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bmc import artifact
from bmc.errors import ArtifactError, UsageError
from bmc.model import Model


def with_steps(folder: Path, *steps: tuple[str, Any]) -> Path:
    """Write steps, each a method and its record, into bmc.json, whose content no hash protects."""
    manifest = json.loads((folder / "bmc.json").read_text())
    manifest["steps"] = [
        {"method": method, "settings": {}, "record": record, "seed": 0, "seconds": 0.0}
        for method, record in steps
    ]
    (folder / "bmc.json").write_text(json.dumps(manifest))
    return folder


def refusal_of(model: Model, method: str, record: Any, folder: Path) -> str:
    """Return why a model directory with such a record is not loaded.

    Args:
        model: what the directory holds, before the step.
        method: the step, such as "share/cluster".
        record: what a stranger wrote of it.
        folder: an empty folder's path.
    """
    written = with_steps(artifact.save(model, folder / "written"), (method, record))
    with pytest.raises((ArtifactError, UsageError)) as caught:
        artifact.load(written)
    message = str(caught.value)
    assert "weights do not fit" not in message, "the record is refused, not what comes of it"
    assert len(message.splitlines()) == 1
    return message
