"""Keys of steps: they change with what changes the result, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from bmc.errors import UnknownError, UsageError
from bmc.recipes import code_version
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Step
from bmc.recipes.verbs import VERBS

# Modules that verbs import and that change no number of a result: messages, files, reports.
WITHOUT_EFFECT = {
    *("bmc", "bmc.cards", "bmc.checksums", "bmc.choices"),
    *("bmc.console", "bmc.curves", "bmc.deviation", "bmc.disk", "bmc.docstrings", "bmc.errors"),
    "bmc.figures",
    *("bmc.files", "bmc.listening", "bmc.locks", "bmc.packed", "bmc.plugin_modules"),
    *("bmc.plugins", "bmc.printable", "bmc.processor", "bmc.provenance"),
    *("bmc.settings", "bmc.streams"),
    *("bmc.synonyms", "bmc.terminal", "bmc.trust", "bmc.typed", "bmc.untrusted", "bmc.user_code"),
    *("bmc.workspace", "bmc.writing", "bmc.report.gates", "bmc.measure.shown"),
    *("bmc.measure.latency", "bmc.measure.machine", "bmc.measure.results"),  # time, not change
    *("bmc.workflows.options", "bmc.workflows.outputs", "bmc.workflows.results"),
    *("bmc.workflows.calls", "bmc.workflows.sizes"),  # records, and what is printed
}
OF_BUNDLES = {  # a training imports them, and reads no bundle
    *("bmc.batching", "bmc.bundle", "bmc.golden", "bmc.manifest", "bmc.model_outputs"),
    *("bmc.pipeline", "bmc.sessions", "bmc.targets"),
}


def _train(**settings: object) -> Step:
    return Step("small", "train", settings={"model": "mlp", "data": "digits", **settings})


def _modules(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        folders = {name: code_version.folder_of(name) for name in ("compress", "export", "targets")}
        package = next((name for name, at in folders.items() if path.is_relative_to(at)), "")
        root = folders[package] if package else code_version.folder_of("")
        parts = [*path.relative_to(root).with_suffix("").parts]
        names = ["bmc", *filter(None, [package]), *parts]
        yield ".".join(names[:-1] if names[-1] == "__init__" else names)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("bmc", cache_dir=None, exclude_type_checking_imports=True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_module_that_changes_a_result_counts(verb: str, graph: grimp.ImportGraph) -> None:
    imported = graph.find_upstream_modules(f"bmc.workflows.{verb}") | {f"bmc.workflows.{verb}"}
    of_files = verb in ("prune", "share", "quantize")
    counted = set(_modules(code_version.sources_of(verb, of_files)))
    ignored = WITHOUT_EFFECT | (OF_BUNDLES if verb == "train" else set())
    imported = {name for name in imported if ".models._" in name or "._" not in name}
    assert imported - counted - ignored == set()
    assert not {name for name in counted if name.startswith(("bmc.report", "bmc.cli"))}


def test_an_edit_of_the_code_makes_another_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = code_version.code_of("train")
    edited = tmp_path / "loop.py"
    edited.write_text("x = 1\n")
    code_version.code_of.cache_clear()
    monkeypatch.setattr(code_version, "sources_of", lambda verb, exports: [edited])
    assert code_version.code_of("train") != before
    code_version.code_of.cache_clear()


def test_settings_count_with_their_defaults_and_however_they_are_typed() -> None:
    key = key_of(_train(epochs=2), {})
    assert key_of(_train(epochs="2"), {}) == key
    assert key_of(_train(epochs=2, label_column="label"), {}) == key
    assert key_of(_train(epochs=2, **{"label-column": "label"}), {}) == key
    assert key_of(_train(epochs=3), {}) != key
    assert key_of(_train(epochs=2, width=8), {}) == key_of(_train(epochs=2, width="8"), {})


def test_the_name_of_a_step_does_not_count_and_its_inputs_do() -> None:
    exported = Step("a", "export", {"model": "m"}, {"target": "onnx"})
    renamed = Step("b", "export", {"model": "n"}, {"target": "onnx"})
    assert key_of(exported, {"model": "1"}) == key_of(renamed, {"model": "1"})
    assert key_of(exported, {"model": "1"}) != key_of(exported, {"model": "2"})


def test_the_content_of_data_models_and_own_code_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    (tmp_path / "rows.txt").write_text("a\n")
    model = tmp_path / "big"
    model.mkdir()
    (model / "bmc.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"1")
    (tmp_path / "net.py").write_text("import parts\n")
    (tmp_path / "parts.py").write_text("x = 1\n")
    steps = (
        (_train(data="rows.csv"), tmp_path / "rows.csv"),
        (Step("a", "distill", {"teacher": "t"}, {"transfer": "rows.txt"}), tmp_path / "rows.txt"),
        (Step("a", "prune", {}, {"model": "big"}), model / "model.safetensors"),
        (Step("a", "train", {}, {"model": "python:net:build"}), tmp_path / "parts.py"),
        (Step("a", "prune", {"model": "m"}, {"code": "net:build"}), tmp_path / "net.py"),
    )
    for step, path in steps:
        before = key_of(step, {})
        assert key_of(step, {}) == before
        path.write_text(path.read_text() + "\n")
        assert key_of(step, {}) != before


def test_what_would_depend_on_the_workspace_is_refused() -> None:
    with pytest.raises(UsageError, match="add a step that trains it"):
        key_of(Step("a", "distill", {}, {"teacher": "bert", "student": "tiny"}), {})
    with pytest.raises(UnknownError, match="no model named"):
        key_of(Step("a", "prune", {}, {"model": "no-such-model"}), {})


def test_a_key_is_made_without_torch() -> None:
    code = (
        "import sys; from bmc.recipes.plan import Step; from bmc.recipes.keys import key_of; "
        "key_of(Step('a', 'prune', {'model': 'm'}, {'criterion': 'l1'}), {'model': '1'}); "
        "key_of(Step('a', 'export', {'model': 'm'}, {'target': 'onnx'}), {'model': '1'}); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
