"""What a search has published is whole; what a killed command had begun to publish is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna")

from bmc.errors import UsageError
from bmc.search import result
from bmc.search.budgets import Budgets, Measured
from bmc.search.outputs import Places
from bmc.search.result import Found, Winner


def places(folder: Path) -> Places:
    (folder / "small-search").mkdir(exist_ok=True)
    return Places(folder / "small", folder / "small-search", "onnx")


def write(path: Path, manifest: str) -> Path:
    path.mkdir()
    (path / manifest).write_text("{}")
    return path


def finish(of: Places, models: list[Path]) -> None:
    """Write the models of a front, and the result."""
    measured = Measured(0.0, 1, 1.0)
    winners = []
    for model in models:
        write(model, "bmc.json")
        bundle = write(of.bundle(model), "manifest.json")
        winners.append(Winner("words", model, bundle, model, measured, {}, True))
    found = Found(
        *(model, "onnx", Budgets(1), measured, 0.9, tuple(winners), 1, 0, 1.0, of.folder),
        *(model, "", {}),
    )
    result.write(found)


def publish_until_killed(of: Places, count: int, *suffixes: str) -> None:
    """Begin to publish a front, write some of its folders, and end as a killed command does."""
    with of.publishing(count) as models:
        assert not names(models[0].parent) - {"small-2"}
        for suffix in suffixes:
            manifest = "manifest.json" if "onnx" in suffix else "bmc.json"
            write(models[0].with_name(f"{models[0].name}{suffix}"), manifest)
        raise KeyboardInterrupt


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("small-[0-9]*")}


def test_what_a_killed_command_had_begun_to_publish_is_removed_and_written_again(
    tmp_path: Path,
) -> None:
    search = places(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        publish_until_killed(search, 2, "", "-onnx.failed")
    with pytest.raises(UsageError, match="small-1 exists"):
        search.take(2, False, tmp_path)
    search.recover()
    assert not names(tmp_path)
    search.take(2, False, tmp_path)
    with search.publishing(1) as models:
        finish(search, models)
    search.recover()
    assert names(tmp_path) == {"small-1", "small-1-onnx"}


def test_an_earlier_front_and_its_result_go_together(tmp_path: Path) -> None:
    search = places(tmp_path)
    with search.publishing(2) as models:
        finish(search, models)
    search.take(2, False, tmp_path)  # they are its own
    with pytest.raises(KeyboardInterrupt):
        publish_until_killed(search, 1, "")
    assert result.read(search.folder) is None
    search.recover()
    assert not names(tmp_path)


def test_a_model_of_the_user_is_refused_and_never_removed(tmp_path: Path) -> None:
    search = places(tmp_path)
    write(tmp_path / "small-2", "bmc.json")
    with pytest.raises(UsageError, match="small-2 exists"):
        search.take(2, False, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        publish_until_killed(search, 2)
    search.recover()
    assert names(tmp_path) == {"small-2"}
