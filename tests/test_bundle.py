"""Bundles: read back as written, and no hostile or damaged one gets further than a clear error."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bmc
from bmc import bundle as bundles
from bmc import files, untrusted
from bmc import manifest as manifests
from bmc.errors import ArtifactError
from bmc.manifest import DIGEST

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2.5,
    10**30,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "/etc/passwd",
    "../../outside",
    "a\0b",
    "\ud800",
    "n" * 5000,
    [],
    [[[[1]]]],
    [None],
    ["twice", "twice"],
    [{"name": "a"}],
    {},
    {"a": {"b": 1}},
)
FREE_TEXT = ("name", "failure")
OPTIONAL = ("stand_in", "failure")  # bundles of version 0.1 have neither, and null is none
FREE_OBJECT = ("lineage", "parity", "scores", "build")


@pytest.fixture(scope="module")
def shared_bundle(
    bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a copy of the ONNX bundle, whose manifest the tests of this file overwrite."""
    folder = tmp_path_factory.mktemp("bundle") / "small-onnx"
    shutil.copytree(bundle_of("onnx"), folder)
    return folder


@pytest.fixture
def bundle(shared_bundle: Path) -> Iterator[Path]:
    """Return that copy, and put its manifest and its README.md back afterwards."""
    paths = [shared_bundle / name for name in (bundles.MANIFEST, bundles.CARD)]
    before = [path.read_bytes() for path in paths]
    yield shared_bundle
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content)
    (shared_bundle / "link").unlink(missing_ok=True)


def content_of(bundle: Path) -> dict[str, Any]:
    return untrusted.read_json(bundle / bundles.MANIFEST, "bundle")


def put(bundle: Path, content: dict[str, Any]) -> None:
    """Write a manifest, with a digest that fits it: whoever writes the folder can make one."""
    digest = {}
    if DIGEST in content:
        with contextlib.suppress(ValueError):  # NaN and infinity have no JSON
            digest = {DIGEST: manifests.digest_of(content)}
    (bundle / bundles.MANIFEST).write_text(json.dumps({**content, **digest}))


def changed(content: dict[str, Any], index: tuple[str | int, ...], value: object) -> dict[str, Any]:
    content = copy.deepcopy(content)
    parent: Any = content
    for key in index[:-1]:
        parent = parent[key]
    parent[index[-1]] = value
    return content


def refusal(bundle: Path) -> str:
    """Load a bundle to the end, as an application does; return why it was refused."""
    try:
        with bmc.load(bundle) as classify:
            classify("what a film")
        bundles.read(bundle).golden()
    except ArtifactError as error:
        return str(error)
    return ""


def test_a_bundle_is_read_back_as_written(bundle: Path) -> None:
    exported_bundle = bundles.read(bundle)
    assert exported_bundle.manifest.labels == ("negative", "positive")
    assert [info.name for info in exported_bundle.manifest.inputs] == [
        "input_ids",
        "attention_mask",
    ]
    assert exported_bundle.manifest.outputs[0].shape == ("batch", 2)
    before = content_of(bundle)
    bundles.write(bundle, exported_bundle.manifest)
    assert content_of(bundle) == before
    assert bundles.read(bundle).manifest == exported_bundle.manifest


def test_golden_holds_the_tensors_that_the_manifest_names(bundle: Path) -> None:
    inputs, outputs = bundles.read(bundle).golden()
    assert set(inputs) == {"input_ids", "attention_mask"}
    assert outputs["logits"].shape == (len(inputs["input_ids"]), 2)


def test_the_size_is_that_of_the_model_alone(
    bundle: Path, bundle_of: Callable[[str], Path]
) -> None:
    assert bundles.read(bundle).model_size() == (bundle / "model.onnx").stat().st_size
    openvino = bundles.read(bundle_of("openvino"))
    weights = openvino.model_path.with_suffix(".bin").stat().st_size
    assert openvino.model_size() == openvino.model_path.stat().st_size + weights


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_no_wrong_value_at_any_place_gets_past_the_reader(bundle: Path, value: Any) -> None:
    content = content_of(bundle)
    places: list[tuple[str | int, ...]] = [(key,) for key in content if key != DIGEST]
    places += [(kind, 0) for kind in ("inputs", "outputs", "labels")]
    places += [("inputs", 0, key) for key in ("name", "dtype", "shape")]
    places += [("outputs", 0, key) for key in ("name", "dtype", "shape")]
    places += [("preprocessing", key) for key in content["preprocessing"]]
    places += [(kind, name) for kind in ("files", "sizes") for name in content["files"]]
    for index in places:
        if isinstance(value, str) and (index[0] in FREE_TEXT or index == ("labels", 0)):
            continue
        if isinstance(value, dict) and index[0] in FREE_OBJECT:
            continue
        if value is None and index[0] in OPTIONAL:
            continue
        if index == ("inputs", 0, "shape") and value in ([], ["twice", "twice"]):
            continue
        if index[-1] in ("pad_id", "vocabulary") and type(value) is int and value == 0:
            continue
        if index[-1] in ("pair_types", "html_breaks", "type_input") and value is True:
            continue
        put(bundle, changed(content, index, value))
        assert refusal(bundle), f"{index} may be {value!r:.60}"


def test_no_key_can_be_left_out(bundle: Path) -> None:
    content = content_of(bundle)
    for key in (key for key in content if key not in OPTIONAL):
        rest = {name: value for name, value in content.items() if name != key}
        put(bundle, rest)
        assert refusal(bundle), f"{key} may be missing"
    for key in content["preprocessing"].keys() - {"type_input"}:  # earlier bundles lack it
        rest = {name: value for name, value in content["preprocessing"].items() if name != key}
        put(bundle, {**content, "preprocessing": rest})
        assert refusal(bundle), f"preprocessing.{key} may be missing"
    for key in ("model.onnx", "tokenizer.json", "golden.npz"):
        files, sizes = (
            {name: value for name, value in content[kind].items() if name != key}
            for kind in ("files", "sizes")
        )
        put(bundle, {**content, "files": files, "sizes": sizes})
        assert key in refusal(bundle)


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.onnx", "link", "C:\\model", "a\0b"])
def test_a_path_that_leaves_the_bundle_is_refused(bundle: Path, name: str) -> None:
    content = content_of(bundle)
    (bundle / "link").symlink_to("/etc/passwd")
    put(bundle, {**content, "model": name})
    assert "refused" in refusal(bundle)
    listed = {**content["files"], name: "0" * 64}
    put(bundle, {**content, "files": listed, "sizes": {**content["sizes"], name: 1}})
    assert "refused" in refusal(bundle)


def test_a_manifest_of_a_newer_bmc_says_how_to_upgrade(bundle: Path) -> None:
    put(bundle, {**content_of(bundle), "schema": bundles.SCHEMA + 1})
    assert "pip install --upgrade bmc-toolkit" in refusal(bundle)
    put(bundle, {**content_of(bundle), "schema": 1, "target": "quantum"})
    assert "'quantum'; this bmc knows onnx, openvino" in refusal(bundle)


def test_a_changed_file_is_named_with_both_hashes(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of("onnx"), folder)
    recorded = content_of(folder)["files"]["tokenizer.json"]
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text + " ")
    assert f"'tokenizer.json' was changed ({len(text.encode()) + 1:,} bytes" in refusal(folder)
    (folder / "tokenizer.json").write_text(text.replace("a", "b", 1))
    message = refusal(folder)
    assert "'tokenizer.json' was changed" in message
    assert recorded[:16] in message
    assert files.sha256(folder / "tokenizer.json")[:16] in message


def test_a_manifest_that_does_not_fit_its_model_is_refused(bundle: Path) -> None:
    exported_bundle = bundles.read(bundle).manifest
    info = exported_bundle.outputs[0]
    three = replace(exported_bundle, labels=("a", "b", "c"))
    wrong = {
        "output for a row should have shape (3,)": replace(
            three, outputs=(replace(info, shape=("batch", 3)),)
        ),
        "3 labels for outputs": three,
        "names scores": replace(exported_bundle, outputs=(replace(info, name="scores"),)),
        "tensors attention_mask, input_ids": replace(
            exported_bundle, inputs=exported_bundle.inputs[:1]
        ),
    }
    for message, manifest in wrong.items():
        bundles.write(bundle, manifest)
        assert message in refusal(bundle)
    pairs = {**exported_bundle.preprocessing, "columns": 2}
    bundles.write(bundle, replace(exported_bundle, preprocessing=pairs))
    with bmc.load(bundle) as classify, pytest.raises(ArtifactError, match="cannot compute"):
        classify(("what a film", "indeed"))


def test_a_text_longer_than_the_model_can_read_is_an_error_of_the_bundle(bundle: Path) -> None:
    exported_bundle = bundles.read(bundle).manifest
    longer = {**exported_bundle.preprocessing, "max_length": 8000}
    bundles.write(bundle, replace(exported_bundle, preprocessing=longer))
    with bmc.load(bundle) as classify, pytest.raises(ArtifactError, match="cannot compute"):
        classify("film " * 500)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_model_that_is_no_model_is_refused_in_one_line(
    bundle_of: Callable[[str], Path], tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of(target), folder)
    manifest = bundles.read(folder).manifest
    for content in (b"", b"\0" * 100, b"<net>", b"\xff" * 1000):
        (folder / manifest.model).write_bytes(content)
        bundles.write(folder, manifest)
        message = refusal(folder)
        assert "cannot load" in message
        assert "\n" not in message


def test_golden_that_is_damaged_pickled_or_incomplete_is_refused(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    exported_bundle = bundles.read(bundle_of("onnx"))
    broken = replace(exported_bundle, path=tmp_path)
    path = tmp_path / bundles.GOLDEN
    whole = (exported_bundle.path / bundles.GOLDEN).read_bytes()
    bent = bytearray(whole)
    bent[60:90] = b"\xaa" * 30
    np.savez(tmp_path / "pickled.npz", **{"input.input_ids": np.array([{}], dtype=object)})  # type: ignore[arg-type]
    np.savez(tmp_path / "other.npz", other=np.zeros(1))
    np.save(tmp_path / "single.npy", np.zeros(1))
    contents = [b"", b"PK\x03\x04", whole[: len(whole) // 2], bytes(bent)]
    contents += [
        (tmp_path / name).read_bytes() for name in ("pickled.npz", "other.npz", "single.npy")
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"golden\.npz"):
            broken.golden()
    path.unlink()
    with pytest.raises(ArtifactError, match=r"golden\.npz"):
        broken.golden()


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not a bundle: it has no manifest\.json"):
        bundles.read(tmp_path)
