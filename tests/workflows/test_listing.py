"""What `bmc models` lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.workflows.listing import list_models


def made(folder: Path, manifest: str, content: str) -> None:
    folder.mkdir(parents=True)
    (folder / manifest).write_text(content)


def test_damaged_and_failed_models_and_bundles_are_listed_beside_the_others(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(workspace / "whole", "bmc.json", '{"origin": {"command": "train"}}')
    made(workspace / "cut", "bmc.json", '{"origin": {')
    made(workspace / "null", "bmc.json", '{"origin": null}')
    made(workspace / "lossy.failed", "bmc.json", '{"origin": {"command": "prune"}}')
    made(workspace / "bundle", "manifest.json", "[]")
    entries = {entry.name: (entry.kind, entry.made_by) for entry in list_models().entries}
    assert entries == {
        "whole": ("model", "train"),
        "cut": ("model", "damaged"),
        "null": ("model", "damaged"),
        "lossy.failed": ("failed model", "prune"),
        "bundle": ("bundle", "damaged"),
    }
    assert "origin is None" in capsys.readouterr().err
