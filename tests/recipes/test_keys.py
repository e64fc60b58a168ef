"""Keys of steps: they change with what changes the result, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import numpy as np
import pytest

from bmc.errors import UnknownError, UsageError
from bmc.recipes import code_version
from bmc.recipes.content import Hashes, of_code, of_data, of_model
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Step
from bmc.recipes.verbs import VERBS
from bmc.trust import trusting

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
    *("bmc.pipeline", "bmc.predicting", "bmc.raw_rows", "bmc.sessions", "bmc.targets"),
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


def test_word_vectors_that_a_setting_names_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("good 1 2\n")
    step = Step("a", "train", {}, {"model": "lstm", "settings": {"vectors": "words.txt"}})
    before = key_of(step, {})
    (tmp_path / "words.txt").write_text("good 3 4\n")
    assert key_of(step, {}) != before


def test_files_behind_a_link_to_a_class_folder_count_and_a_circle_of_links_ends(
    tmp_path: Path,
) -> None:
    cats = tmp_path / "elsewhere" / "cats"
    cats.mkdir(parents=True)
    (cats / "1.png").write_bytes(b"1")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat").symlink_to(cats)
    (cats / "back").symlink_to(photos)
    before = of_data(f"imagefolder:{photos}", Hashes())
    (cats / "2.png").write_bytes(b"2")
    assert of_data(f"imagefolder:{photos}", Hashes()) != before


def test_a_configuration_or_revision_leaves_a_local_data_set_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n")
    content = of_data(f"hf:{tmp_path}", Hashes())
    assert content is not None
    assert of_data(f"hf:{tmp_path}:small", Hashes()) == content
    assert of_data(f"hf:{tmp_path}@main", Hashes()) == content


def test_the_weights_of_an_onnx_file_count_whatever_the_name_of_their_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weights = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "weights")
    values = [onnx.helper.make_tensor_value_info(name, 1, [None, 4]) for name in ("x", "y")]
    node = onnx.helper.make_node("MatMul", ["x", "weights"], ["y"])
    graph = onnx.helper.make_graph([node], "graph", values[:1], values[1:], [weights])
    path = tmp_path / "network.onnx"
    outside = {"save_as_external_data": True, "location": "numbers.bin", "size_threshold": 0}
    onnx.save(onnx.helper.make_model(graph), str(path), **outside)
    before = of_model(str(path), Hashes())
    (tmp_path / "numbers.bin").write_bytes(bytes(64))
    assert of_model(str(path), Hashes()) != before


def test_own_code_that_builds_a_model_counts_where_it_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "mine"
    model.mkdir()
    (model / "bmc.json").write_text('{"family": "python"}')
    (model / "config.json").write_text('{"code": "net:build"}')
    (tmp_path / "net.py").write_text("width = 1\n")
    step = Step("a", "prune", {}, {"model": "mine"})
    with trusting("net:build"):
        before = key_of(step, {})
        (tmp_path / "net.py").write_text("width = 2\n")
        assert key_of(step, {}) != before


def test_the_code_of_a_plug_in_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "teaching-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: teaching\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bmc.signals]\nlast = teaching\n")
    (tmp_path / "teaching.py").write_text("SIGNAL = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    plain = Step("a", "distill", {"teacher": "t"}, {"student": "tiny"})
    step = Step("a", "distill", {"teacher": "t"}, {"student": "tiny", "signals": "last=1"})
    keys = [key_of(each, {"teacher": "1"}) for each in (plain, step)]
    (tmp_path / "teaching.py").write_text("SIGNAL = 2\n")
    code_version.code_of_package.cache_clear()
    assert key_of(plain, {"teacher": "1"}) == keys[0]
    assert key_of(step, {"teacher": "1"}) != keys[1]


def test_packages_that_read_data_or_build_networks_count_where_they_do() -> None:
    assert "pillow" not in code_version.packages_of("train", references=["resnet18", "digits"])
    assert "pillow" in code_version.packages_of("train", references=["imagefolder:photos"])
    assert "+" not in code_version.packages_of("train")["torch"]


def test_what_an_installed_module_imports_is_no_code_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "installed_network.py").write_text("import large_library\n")
    (site / "large_library.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(site)
    before = of_code("installed_network:build", Hashes())
    (site / "large_library.py").write_text("x = 2\n")
    assert of_code("installed_network:build", Hashes()) == before


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


def test_a_model_counts_by_its_content_also_where_it_has_the_name_of_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "mlp"
    model.mkdir()
    (model / "bmc.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"1")
    step = Step("a", "prune", {}, {"model": "mlp"})
    before = key_of(step, {})
    (model / "model.safetensors").write_bytes(b"2")
    assert key_of(step, {}) != before


def test_own_code_in_folders_without_an_init_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layers = tmp_path / "layers"
    layers.mkdir()
    (tmp_path / "net.py").write_text("from layers.attention import Block\n")
    (layers / "attention.py").write_text("Block = 1\n")
    before = of_code("net:build", Hashes()), of_code("layers.attention:Block", Hashes())
    (layers / "attention.py").write_text("Block = 2\n")
    after = of_code("net:build", Hashes()), of_code("layers.attention:Block", Hashes())
    assert all(old != new for old, new in zip(before, after, strict=True))


def _folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return path


def test_a_folder_that_a_students_setting_names_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start = _folder(tmp_path / "enc", config_json="{}", model_safetensors="1")
    step = Step("s", "distill", {"teacher": "t"}, {"student": "tiny", "settings": {"start": "enc"}})
    before = key_of(step, {})
    (start / "model.safetensors").write_text("2")
    assert key_of(step, {}) != before


def test_a_model_of_the_workspace_counts_also_beside_a_folder_of_its_name(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_folder(tmp_path / "here"))
    _folder(tmp_path / "here" / "mini", config_json="{}")
    model = _folder(workspace / "mini", bmc_json="{}", model_safetensors="1")
    before = of_model("mini", Hashes())
    (model / "model.safetensors").write_text("2")
    assert of_model("mini", Hashes()) != before


def test_an_onnx_file_is_known_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_folder(tmp_path / "here"))
    _folder(tmp_path / "here" / "detector", model_onnx="1")
    assert Step("q", "quantize", {}, {"model": "detector"}).makes_bundle
    assert Step("q", "quantize", {}, {"model": "missing.onnx"}).makes_bundle
    assert not Step("q", "quantize", {"model": "m"}, {}).makes_bundle
    assert not Step("t", "train", {}, {"model": "detector"}).makes_bundle


def test_each_of_several_teachers_counts_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_folder(tmp_path / "here"))
    (tmp_path / "here" / "net.py").write_text("x = 1\n")
    for name in ("a", "b"):
        texts = {"bmc_json": '{"family": "python"}', "config_json": '{"code": "net:build"}'}
        _folder(tmp_path / "here" / name, **texts)
    step = Step("s", "distill", {}, {"teacher": "a,b", "student": "tiny"})
    with trusting("net:build"):
        before = key_of(step, {})
        (tmp_path / "here" / "net.py").write_text("x = 2\n")
        assert key_of(step, {}) != before
