"""Bundles and model directories from a stranger: within bounds, and nothing but listed files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bmc
from bmc import arrays, artifact, checking, isolation, onnx_files, untrusted, weights_header
from bmc import bundle as bundles
from bmc.errors import ArtifactError, BmcError, GateError
from bmc.isolation import Limits
from bmc.manifest import DIGEST
from bmc.targets import RuntimeOptions
from tests.fuzz import _cases, _edits

ONE = RuntimeOptions(threads=1)


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Return a folder of small bundles and model directories of every kind of input."""
    _edits.unpack(tmp_path / "seeds")
    return tmp_path / "seeds"


def edit(folder: Path, change: Callable[[dict[str, Any]], object], fix: bool = True) -> None:
    """Change a manifest, and let its hashes fit: whoever writes the folder can."""
    path = folder / bundles.MANIFEST
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    if fix:
        _edits.fix(folder, bundles.MANIFEST)


def list_file(folder: Path, name: str) -> None:
    def add(content: dict[str, Any]) -> None:
        content["files"][name], content["sizes"][name] = "", 0

    edit(folder, add)


# Row 4: bundles that answer otherwise.


@pytest.mark.parametrize("seed", ["text-onnx", "image-openvino", "series-onnx", "text-pytorch"])
def test_a_bundle_is_checked_with_raw_rows_and_tensors(seeds: Path, seed: str) -> None:
    checked = checking.check(seeds / seed, ONE)
    assert checked.rows == 4
    assert checked.uncovered == ()


def test_one_digit_of_a_mean_is_found_by_the_hash_and_without_it_by_the_golden_rows(
    seeds: Path,
) -> None:
    created = seeds / "image-onnx"
    mean = json.loads((created / bundles.MANIFEST).read_text())["preprocessing"]["mean"][0]
    other = float(f"{mean:.3f}"[:-1] + str((int(f"{mean:.3f}"[-1]) + 1) % 10))
    edit(created, lambda content: content["preprocessing"].update(mean=[other]), fix=False)
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed"):
        bundles.read(created)
    edit(created, lambda content: None)
    with pytest.raises(GateError, match="preprocessing differs on this device: pixels"):
        checking.check(created, ONE)


def test_labels_in_another_order_are_found_by_the_golden_rows(seeds: Path) -> None:
    created = seeds / "text-onnx"
    edit(created, lambda content: content["labels"].reverse())
    with pytest.raises(GateError, match="for golden row"):
        checking.check(created, ONE)


def test_a_tokenizer_that_gives_other_ids_is_found(seeds: Path) -> None:
    created = seeds / "text-onnx"
    text = (created / "tokenizer.json").read_text()
    content = json.loads(text)
    vocabulary = content["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.get)[5:]
    ids = [vocabulary[word] for word in words]
    vocabulary.update(zip(words, [*ids[1:], ids[0]], strict=True))
    (created / "tokenizer.json").write_text(json.dumps(content))
    _edits.fix(created, bundles.MANIFEST)
    with pytest.raises(GateError, match="preprocessing differs on this device: input_ids"):
        checking.check(created, ONE)


def test_a_tokenizer_whose_token_types_no_model_has_is_refused(seeds: Path) -> None:
    created = seeds / "bert"
    content = json.loads((created / "tokenizer.json").read_text())
    for part in content["post_processor"]["single"]:
        next(iter(part.values()))["type_id"] = 2**20
    (created / "tokenizer.json").write_text(json.dumps(content))
    _edits.fix(created, artifact.MANIFEST)
    encoder = artifact.load(created).encoder
    with pytest.raises(ArtifactError, match="token types that no model has"):
        encoder.batch(encoder.encode([("good film",)]), [0])


def test_an_older_bundle_loads_and_the_check_says_what_it_lacks(seeds: Path) -> None:
    created = seeds / "text-onnx"

    def age(content: dict[str, Any]) -> None:
        del content["sizes"], content[DIGEST], content["files"]["golden.json"]

    edit(created, age)
    checked = checking.check(created, ONE)
    assert checked.rows == 0
    assert len(checked.uncovered) == 2


def test_who_stood_in_for_an_engine_is_read_from_older_bundles_too(seeds: Path) -> None:
    created = seeds / "text-onnx"
    scores = bundles.read(created).manifest.scores

    def age(content: dict[str, Any]) -> None:
        content.pop("stand_in", None)
        content.pop("failure", None)
        content["build"] |= {"scores_of_the_onnx_file": scores, "ran_here": False}
        content["scores"] = {}

    edit(created, age)
    manifest = bundles.read(created).manifest
    assert manifest.stand_in is not None
    assert manifest.stand_in.scores == scores
    assert manifest.failure is None


@pytest.mark.parametrize("entry", [3, {"target": "onnx"}, {"target": 3, "scores": {}}])
def test_a_stand_in_that_makes_no_sense_is_refused(seeds: Path, entry: object) -> None:
    created = seeds / "text-onnx"
    edit(created, lambda content: content.update(stand_in=entry))
    with pytest.raises(ArtifactError):
        bundles.read(created)


def test_a_bundle_that_failed_a_check_at_its_export_fails_every_check(seeds: Path) -> None:
    created = seeds / "text-onnx"
    edit(created, lambda content: content.update(parity={"failed": "outputs change by up to 3"}))
    with pytest.raises(GateError, match="failed a check when it was exported"):
        checking.check(created, ONE)


# Rows 5 and 21: the files that a runtime opens.


def test_weights_beside_a_model_in_a_folder_must_be_listed(seeds: Path, tmp_path: Path) -> None:
    created = seeds / "text-openvino"
    (created / "sub").mkdir()
    (created / "model.xml").rename(created / "sub" / "model.xml")
    (tmp_path / "model.bin").write_bytes((created / "model.bin").read_bytes())
    (created / "sub" / "model.bin").symlink_to(tmp_path / "model.bin")

    def move(content: dict[str, Any]) -> None:
        content["model"] = "sub/model.xml"
        for kind in ("files", "sizes"):
            content[kind]["sub/model.xml"] = content[kind].pop("model.xml")

    edit(created, move)
    with pytest.raises(ArtifactError, match=r"opens 'sub/model\.bin', which the manifest does not"):
        bundles.read(created)
    list_file(created, "sub/model.bin")
    with pytest.raises(ArtifactError, match=r"'sub/model\.bin'.*leaves its folder"):
        bundles.read(created)


def test_external_data_of_an_onnx_file_must_be_listed(seeds: Path) -> None:
    created = seeds / "text-onnx"
    model = onnx.load(created / "model.onnx")
    onnx.save(
        model,
        created / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=200,
    )
    _edits.fix(created, bundles.MANIFEST)
    with pytest.raises(ArtifactError, match=r"opens 'weights\.bin', which the manifest does not"):
        bundles.read(created)
    list_file(created, "weights.bin")
    assert checking.check(created, ONE).rows == 4


def test_external_data_is_found_in_constants_of_subgraphs() -> None:
    tensor = onnx.TensorProto(name="w", data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="deep.bin")
    constant = onnx.helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    branch = onnx.helper.make_graph([constant], "branch", [], [])
    node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch)
    graph = onnx.helper.make_graph([node], "graph", [], [])
    model = onnx.helper.make_model(graph).SerializeToString()
    assert onnx_files.external_files(model) == {"deep.bin"}


def test_an_ir_that_reads_beyond_its_weights_or_needs_an_extension_is_refused(seeds: Path) -> None:
    created = seeds / "text-openvino"
    path = created / "model.xml"
    text = path.read_text()
    for old, new, message in (
        ('offset="0"', 'offset="99999999"', "reads bytes 99999999"),
        ('version="opset1"', 'version="extension"', "operators of 'extension'"),
        ("<?xml", "<!DOCTYPE net [<!ENTITY a 'b'>]><?xml", "cannot load"),
    ):
        path.write_text(text.replace(old, new, 1))
        _edits.fix(created, bundles.MANIFEST)
        with pytest.raises(ArtifactError, match=message):
            bundles.read(created)


def test_a_model_of_another_format_than_its_targets_is_refused(seeds: Path) -> None:
    for seed, name in (("text-onnx", "golden.npz"), ("text-openvino", "tokenizer.json")):
        edit(seeds / seed, lambda content, name=name: content.update(model=name))  # type: ignore[misc]
        with pytest.raises(ArtifactError, match="is no"):
            bundles.read(seeds / seed)


# Row 6: numbers out of range.


@pytest.mark.parametrize("value", [-1, 0, "x", None, True, 2.5, 2**40, [], {}])
@pytest.mark.parametrize("path", ["max_batch", "limits"])
def test_a_number_of_a_manifest_out_of_its_range_is_refused(
    seeds: Path, path: str, value: Any
) -> None:
    created = seeds / "image-onnx"
    put = value if path == "max_batch" else {"batch": value}
    edit(created, lambda content: content["build"].update({path: put}))
    with pytest.raises(ArtifactError, match=rf"build\.{path}"):
        bundles.read(created)


# Row 8: checks in a child process.


def test_an_isolated_check_answers_as_the_check_does(seeds: Path) -> None:
    for seed in ("image-onnx", "series-openvino"):
        checked = isolation.check(seeds / seed, 0, Limits(seconds=120))
        assert checked.rows == 4
        assert checked.max_error < 1e-4


def test_an_isolated_check_tells_errors_apart(seeds: Path) -> None:
    created = seeds / "text-onnx"
    edit(created, lambda content: content["labels"].reverse())
    with pytest.raises(GateError, match="for golden row"):
        isolation.check(created, 0, Limits(seconds=120))
    (created / bundles.GOLDEN).unlink()
    with pytest.raises(ArtifactError, match=r"lacks its file 'golden\.npz'"):
        isolation.check(created, 0, Limits(seconds=120))


@pytest.mark.parametrize(
    ("code", "words"), [(-11, "ended in SIGSEGV"), (-14, "within 20 s"), (3, "no result")]
)
def test_a_crash_of_an_isolated_check_is_one_line(code: int, words: str) -> None:
    done = subprocess.CompletedProcess([], code, stdout=b"")
    with pytest.raises(ArtifactError, match=words) as caught:
        isolation.result_of(Path("a-bundle"), done, Limits())
    assert "a-bundle" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_isolated_check_survives_what_crashed_a_run_time(seeds: Path) -> None:
    """Whether it crashes here depends on the processor and the runtime's version."""
    for kept in _cases.corpus_of("bundles"):
        if kept.outcome != "crash in a runtime":
            continue
        created = seeds / kept.case["seed"]
        for edit_of in kept.case["edits"]:
            _edits.apply(edit_of, created, seeds)
        _edits.fix(created, bundles.MANIFEST)
        with pytest.raises(BmcError) as caught:
            isolation.check(created, 0, Limits(seconds=120))
        assert "\n" not in str(caught.value)


# Row 12: model directories whose config asks for more than was stored.


@pytest.mark.parametrize(
    ("seed", "key", "value"),
    [
        ("text", "layers", 10**9),
        ("text", "hidden", 2**20),
        ("text", "max_length", 2**40),
        ("text", "heads", 3),
        ("text", "vocabulary", 2**31),
        ("image", "width", 2**20),
        ("image", "depth", 10**9),
        ("series", "hidden", 2**20),
        ("bert", "num_hidden_layers", 10**9),
        ("bert", "hidden_size", 2**20),
        ("bert", "num_attention_heads", 16),
        ("bert", "intermediate_size", 2**30),
        ("bert", "max_position_embeddings", 2**40),
        ("bert", "num_labels", 10**9),
    ],
)
def test_a_config_that_asks_for_more_than_was_stored_is_refused_at_once(
    seeds: Path, seed: str, key: str, value: int
) -> None:
    folder = seeds / seed
    config = json.loads((folder / "config.json").read_text())
    assert key in config or seed == "bert"
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    _edits.fix(folder, artifact.MANIFEST)
    start = time.process_time()
    with pytest.raises(BmcError) as caught:
        artifact.load(folder)
    assert time.process_time() - start < 10
    assert "\n" not in str(caught.value)


def test_every_model_directory_written_before_loads(seeds: Path) -> None:
    for seed in _edits.seeds(artifact.MANIFEST):
        artifact.load(seeds / seed)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        (10**6).to_bytes(8, "little") + b"{}",
        b"{}",
    ],
)
def test_a_header_of_weights_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(header)
    with pytest.raises(ArtifactError):
        weights_header.read_header(tmp_path / "model.safetensors", "model directory")


# Rows 17 and 18: files that are not regular, or far larger than it looks.


@pytest.mark.parametrize("name", ["manifest.json", "golden.npz", "model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["fifo", "zero", "folder", "sparse", "loop", "gone"])
def test_a_file_that_is_not_regular_is_refused_at_once(seeds: Path, name: str, kind: str) -> None:
    created = seeds / "text-onnx"
    path = created / name
    if kind == "sparse":
        with path.open("r+b") as file:
            file.truncate(2**40)
    else:
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "folder":
            path.mkdir()
    start = time.process_time()
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")) as caught:
        bmc.load(created)
    assert time.process_time() - start < 5
    assert "\n" not in str(caught.value)


def test_arrays_that_unpack_to_hundreds_of_megabytes_are_refused_before_they_do(
    tmp_path: Path,
) -> None:
    size = arrays.MAX_BYTES + 2**24
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    )
    with (
        zipfile.ZipFile(tmp_path / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("input.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for _ in range(size // 2**24):
            file.write(bytes(2**24))
    assert (tmp_path / "golden.npz").stat().st_size < 1e6
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="unpacked it would take more"):
        bundles.read_arrays(tmp_path / "golden.npz")
    assert tracemalloc.get_traced_memory()[1] < 32e6
    tracemalloc.stop()


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    created = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.ones((3, 2), np.int64))}
    created["c"], created["d"] = np.array(3, np.uint8), np.zeros((0, 4), np.float32)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "made.npz", **created)  # type: ignore[arg-type]
        read = arrays.parse_arrays((tmp_path / "made.npz").read_bytes(), tmp_path / "made.npz")
        for name, array in created.items():
            np.testing.assert_array_equal(read[name], array, strict=True)


def test_a_file_that_changes_after_it_was_hashed_is_not_parsed(seeds: Path) -> None:
    bundle = bundles.read(seeds / "text-onnx")
    content = bytearray((bundle.path / bundles.GOLDEN).read_bytes())
    content[100] ^= 1
    (bundle.path / bundles.GOLDEN).write_bytes(content)
    with pytest.raises(ArtifactError, match="was changed while it was read"):
        bundle.golden()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' is repeated"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large for a float"),
        ('{"a": ' + "9" * 41 + "}", "41 digits"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "more than 64 levels"),
        ('{"a": ' + "[" * 99_999 + "]" * 99_999 + "}", "readable JSON"),
        ('{"a": "\\ud800"}', "surrogates"),
        ("[1]", "not hold a JSON object"),
    ],
)
def test_json_on_which_readers_disagree_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=words):
        untrusted.parse_json(text.encode(), tmp_path / "a.json")


# What is no bundle says what it is.


def test_what_is_no_bundle_says_what_it_is(seeds: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is a model directory; bmc export .* makes a bundle"):
        bmc.load(seeds / "text")
    with pytest.raises(ArtifactError, match="is a file; a bundle is the folder"):
        bmc.load(seeds / "text-onnx" / "model.onnx")
    with pytest.raises(BmcError, match="no bundle at"):
        bmc.load(seeds / "nothing")


def test_a_manifest_is_written_anew_over_its_own_files_alone(seeds: Path) -> None:
    bundle = bundles.read(seeds / "text-onnx")
    (bundle.path / "somebody-else.txt").write_text("not the bundle's")
    bundles.write(bundle.path, bundle.manifest, bundle.files)
    assert bundles.read(bundle.path).files == bundle.files
