"""examples/cpp, built with sanitizers, predicts, tokenizes and checks as Python does."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

import bmc
from bmc import assets
from bmc import bundle as bundles
from bmc.data import Dataset
from bmc.inputs.text import TextEncoder
from bmc.models import tokens as tokenizers_of_bmc
from tests._exports import exports_of

ROOT = Path(__file__).parents[1]
TARGETS = ("onnx", "openvino")
CLOSE = 1e-3
Run = Callable[..., subprocess.CompletedProcess[bytes]]
BundleOf = Callable[[str], Path]
# First and last characters of scripts and symbols, and of ranges that normalizers change.
BLOCKS = (
    *((0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x80, 0x17F), (0x180, 0x24F), (0x250, 0x36F)),
    *((0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A), (0x591, 0x5F4), (0x600, 0x6FF)),
    *((0x700, 0x74F), (0x900, 0x97F), (0x980, 0x9FB), (0xB80, 0xBFA), (0xE00, 0xE5B)),
    *((0xE80, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF)),
    *((0x1200, 0x139F), (0x1780, 0x17F9), (0x1800, 0x18AA), (0x1B00, 0x1B7C), (0x1DC0, 0x1DFF)),
    *((0x1E00, 0x1FFE), (0x2000, 0x206F), (0x20A0, 0x20FF), (0x2100, 0x23FF), (0x2C60, 0x2DFF)),
    *((0x3000, 0x30FF), (0x3131, 0x318E), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA9FF)),
    *((0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFFFD), (0x10330, 0x1034A)),
    *((0x10400, 0x1044F), (0x11080, 0x110C1), (0x1D100, 0x1D1E8), (0x1D400, 0x1D7FF)),
    *((0x1E900, 0x1E95F), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x2F800, 0x2FA1D)),
    *((0xE0001, 0xE007F), (0x100000, 0x1000FF)),
)
PIECES = (
    *("[SEP]", " [MASK] ", "<mask>", "<UNK>", "[CLS", "<br />", "<BR\t/>", "<br", "##ing"),
    *("don't", "1,000.5", "film", "charm", "café", "cafe\u0301", "İstanbul", "ΣΊΣΥΦΟΣ"),
    *("a\u0323\u0307", "\u0344", "ﬁn", "한국어", "ปี่", "x" * 101, "\x00", "\x85", "\ufeff"),
    *("\u200d", "\u00ad", "\x1c"),
)
GAPS = (" ", " ", " ", "", "\n", "\t", "  ", "\u00a0", "\u3000", "\u2028", ".", "—")


def texts(seed: str, count: int) -> list[str]:
    """Return texts of many scripts, none of them empty."""
    draw = random.Random(seed)

    def word() -> str:
        if draw.random() < 0.2:
            return draw.choice(PIECES)
        block = draw.choice(BLOCKS)
        return "".join(chr(draw.randint(*block)) for _ in range(draw.randint(1, 6)))

    return [
        "a" + "".join(word() + draw.choice(GAPS) for _ in range(draw.choice((1, 4, 12, 60))))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def run() -> Run:
    """Build the programs, and return a function that runs one; a build is kept for later runs."""
    command = [sys.executable, str(ROOT / "tools" / "build_cpp.py"), "--sanitize"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(done.stdout.strip())

    def started(
        target: str, *arguments: object, text: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        words = [word if isinstance(word, bytes) else str(word) for word in arguments]
        command = [str(folder / f"classify_{target}"), *words]
        # OpenVINO's TBB opens a library in a way that sanitizers refuse, but for this variable.
        environment = {**os.environ, "TBB_ENABLE_SANITIZERS": "1"}
        return subprocess.run(
            command, input=text, env=environment, capture_output=True, check=False
        )

    return started


def test_a_build_that_is_not_valid_is_not_taken_for_a_missing_library(tmp_path: Path) -> None:
    for folder in ("tools", "examples/cpp"):
        (tmp_path / folder).mkdir(parents=True)
    tool = tmp_path / "tools" / "build_cpp.py"
    shutil.copy(ROOT / "tools" / tool.name, tool)
    (tmp_path / "examples" / "cpp" / "CMakeLists.txt").write_text("not_a_command(\n")
    done = subprocess.run([sys.executable, str(tool)], capture_output=True, text=True, check=False)
    if done.returncode == 3 and "CMake Error" not in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 1
    assert "CMake Error" in done.stderr


@pytest.fixture(scope="module")
def bundle(
    lively_folder: Path, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BundleOf]:
    """Return a function that exports the lively model to a target, once."""
    with exports_of(lively_folder, reviews, tmp_path_factory.mktemp("cpp")) as export:
        yield export


def changed(
    path: Path,
    folder: Path,
    change: Callable[[Path], None] = lambda _: None,
    **preprocessing: object,
) -> Path:
    """Copy a bundle, change its files and settings, and record the new hashes."""
    shutil.copytree(path, folder)
    manifest = bundles.read(folder).manifest
    change(folder)
    settings = {**manifest.preprocessing, **preprocessing}
    bundles.write(folder, replace(manifest, preprocessing=settings))
    return folder


def lines_of(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parsed(done: subprocess.CompletedProcess[bytes]) -> list[Any]:
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_are_those_of_python(
    run: Run, bundle: BundleOf, reviews: Dataset, target: str
) -> None:
    rows = [text for (text,) in reviews.test.rows[:30]] + texts(target, 10)
    answers = parsed(run(target, bundle(target), "--json", text=lines_of(rows)))
    with bmc.load(bundle(target), threads=1) as classify:
        expected = classify(rows)
    assert len({prediction.label for prediction in expected}) == 2
    for answer, prediction in zip(answers, expected, strict=True):
        assert answer["label"] == prediction.label
        assert answer["score"] == pytest.approx(prediction.score, abs=CLOSE)


def test_a_row_that_the_bundle_rejects_gets_no_label(
    run: Run, bundle: BundleOf, reviews: Dataset, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(bundle("onnx"), tmp_path / "rejecting"))
    manifest = bundles.read(path).manifest
    rows = [text for (text,) in reviews.test.rows[:30]]
    with bmc.load(path, threads=1) as classify:
        scores = sorted(prediction.score for prediction in classify(rows))
    low, high = max(pairwise(scores), key=lambda pair: pair[1] - pair[0])
    bundles.write(path, replace(manifest, reject_below=(low + high) / 2))
    answers = parsed(run("onnx", path, "--json", text=lines_of(rows)))
    with bmc.load(path, threads=1) as classify:
        expected = classify(rows)
    assert {prediction.rejected for prediction in expected} == {False, True}
    for answer, prediction in zip(answers, expected, strict=True):
        assert answer["label"] == prediction.label
        assert answer.get("rejected", False) == prediction.rejected
        assert answer["score"] == pytest.approx(prediction.score, abs=CLOSE)
    bundles.write(path, replace(manifest, reject_below=1 - 1e-9))
    golden = bundles.read(path).golden_rows()
    assert golden
    assert run("onnx", path, golden.rows[0][0]).stdout.startswith(b"rejected\t0.")
    (content,) = parsed(run("onnx", "check", path, "--json", "--calls", 2))
    assert content["ok"] is True


@pytest.mark.parametrize("target", TARGETS)
def test_a_check_compares_golden_rows_and_measures(
    run: Run, bundle: BundleOf, tmp_path: Path, target: str
) -> None:
    (content,) = parsed(run(target, "check", bundle(target), "--json", "--calls", 5))
    assert content["ok"] is True
    assert content["first_difference"] is None
    assert content["digest"] == json.loads((bundle(target) / "manifest.json").read_text())["digest"]
    assert content["rows"] == 4
    assert content["max_error"] <= content["allowed"]
    assert content["p50_ms"] > 0
    assert content["run_p50_ms"] > 0
    assert content["runs"] == 5
    shown = run(target, "check", bundle(target), "--calls", 2)
    assert b": right. " in shown.stdout

    def move_output(folder: Path) -> None:
        with np.load(folder / bundles.GOLDEN) as file:
            arrays = dict(file)
        arrays["output.logits"][1, 0] += 10
        np.savez_compressed(folder / bundles.GOLDEN, **arrays)

    wrong = changed(bundle(target), tmp_path / "wrong", move_output)
    shown = run(target, "check", wrong, "--calls", 2)
    assert shown.returncode == 1
    assert b"golden row 2, logits[0] is " in shown.stdout
    content = json.loads(run(target, "check", wrong, "--calls", 2, "--json").stdout)
    assert content["ok"] is False
    difference = content["first_difference"]
    place = [difference[key] for key in ("what", "name", "row", "index")]
    assert place == ["output", "logits", 1, 0]
    assert difference["expected"] - difference["found"] == pytest.approx(10, abs=CLOSE)


PAIR = {"columns": 2, "type_input": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "bert": {"html_breaks": True},
    "left": {"truncation_side": "left", "max_length": 13, "prompt": "query: "},
    "pairs": {**PAIR, "max_length": 22},
    "pairs-left": {**PAIR, "max_length": 31, "truncation_side": "left"},
    "pairs-bare": {**PAIR, "max_length": 22},
    "joined": {},
    "mpnet": {},
    "trained": {},
    "trained-cased": {},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_are_those_of_python(run: Run, bundle: BundleOf, tmp_path: Path, name: str) -> None:
    settings = SETTINGS[name]
    lines: list[Any] = texts(name, 600)
    lines[:2] = [("ⵢ" * 70 + "\t" + "ⵢ" * 29 + " ") * 60, "a\tb c"]

    def change(folder: Path) -> None:
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        if name == "pairs-bare":
            file.write_text(json.dumps({**content, "post_processor": None}), encoding="utf-8")
        if name == "joined":  # without white space that splits words elsewhere
            control = {"type": "Replace", "pattern": {"Regex": "[\\u0000-\\u001f]"}, "content": ""}
            steps = {"type": "Sequence", "normalizers": [control, content["normalizer"]]}
            file.write_text(json.dumps({**content, "normalizer": steps}), encoding="utf-8")
        if name == "mpnet":
            shutil.copy(assets.fetch("mpnet") / "tokenizer.json", folder)
        if name.startswith("trained"):
            cased = name == "trained-cased"
            rows = [(line,) for line in texts("training", 300)]
            tokenizer = tokenizers_of_bmc.train_tokenizer(rows, 600, not cased, not cased)
            tokenizer.save(str(folder / "tokenizer.json"))

    path = changed(bundle("onnx"), tmp_path / name, change, **settings)
    encoder = bundles.read(path).encoder
    assert isinstance(encoder, TextEncoder)
    rows: list[Any] = [(line,) for line in lines]
    if settings.get("columns") == 2:
        lines = rows = list(zip(lines[::2], lines[1::2], strict=True))
    answers = parsed(run("onnx", path, "--tokens", "--json", text=lines_of(lines)))
    for line, answer, tokens in zip(lines, answers, encoder.encode(rows), strict=True):
        assert answer["tokens"] == list(tokens.ids), ascii(line)
        assert answer["types"] == list(tokens.types), ascii(line)


@pytest.mark.slow
def test_the_tables_of_characters_are_those_of_the_installed_tokenizers() -> None:
    command = [sys.executable, str(ROOT / "tools" / "unicode_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lines_and_arguments_are_texts(run: Run, bundle: BundleOf) -> None:
    path = bundle("onnx")
    by_line = run("onnx", path, text=b"a film\r\na bore\n")
    by_argument = run("onnx", path, "a film", "a bore")
    assert by_line.stdout == by_argument.stdout
    label, score, text = by_line.stdout.decode().splitlines()[1].split("\t")
    assert text == "a bore"
    assert label in ("negative", "positive")
    assert 0 < float(score) < 1
    tokens = run("onnx", path, "--tokens", "--", "a film").stdout.split()
    assert tokens[0] == b"101"
    assert tokens[-1] == b"102"


def test_arrays_are_predicted_as_they_are(run: Run, bundle: BundleOf, tmp_path: Path) -> None:
    path = bundle("onnx")
    inputs, outputs = bundles.read(path).golden()
    words: list[object] = []
    for name, array in inputs.items():
        np.save(tmp_path / name, np.asfortranarray(array))
        words += ["--npy", f"{name}={tmp_path / name}.npy"]
    answers = parsed(run("onnx", path, "--json", *words))
    labels = bundles.read(path).manifest.labels
    best = outputs["logits"].argmax(axis=1)
    assert [answer["label"] for answer in answers] == [labels[index] for index in best]
    missing = run("onnx", path, *words[:2])
    assert missing.returncode == 2
    assert (
        b"the model takes 'attention_mask', int64 (batch, sequence); it is missing"
        in missing.stderr
    )
    np.save(tmp_path / "input_ids", inputs["input_ids"].astype(np.float32))
    wrong = run("onnx", path, *words)
    assert b"this is float32 (4, " in wrong.stderr


def test_a_text_of_4_mb_is_cut_as_in_python(run: Run, bundle: BundleOf) -> None:
    rows = ["a fine film " * 350_000, "x" * 4_000_000]
    answers = parsed(run("onnx", bundle("onnx"), "--json", text=lines_of(rows)))
    with bmc.load(bundle("onnx"), threads=1) as classify:
        expected = classify(rows)
    for answer, prediction in zip(answers, expected, strict=True):
        assert answer["score"] == pytest.approx(prediction.score, abs=CLOSE)


def test_bad_texts_and_options_are_refused_with_their_place(run: Run, bundle: BundleOf) -> None:
    path = bundle("onnx")
    for arguments, text, message in (
        ((path,), b"good\nbad \xff\n", b"row 2: byte 5 is not UTF-8"),
        ((path, b"\xed\xa0\x80"), b"", b"row 1: byte 1 is not UTF-8"),
        ((path,), b"good\n \t\n", b"row 2 is an empty text; leave it out"),
        ((path, "--json"), b"5\n", b"row 1 is neither a JSON text nor a list of texts"),
        ((path, "--json"), b'["a", "b"]\n', b"the model takes 1 text(s) a row; it has 2"),
        ((path, "--json"), b"{\n", b"row 1 is not JSON"),
        ((path, "--threads", "x"), b"", b"--threads is 'x'; it must be a whole number"),
        ((path, "--thread"), b"", b"there is no option '--thread'; --help lists all"),
        ((path, "--npy", "x"), b"", b"--npy takes NAME=FILE"),
        (("check", path, "a"), b"", b"check takes a bundle and no texts"),
        ((), b"", b"name a bundle; --help says how"),
    ):
        done = run("onnx", *arguments, text=text)
        assert done.returncode == 2, (arguments, done.stderr)
        assert message in done.stderr, (arguments, done.stderr)
        assert len(done.stderr.splitlines()) == 1
    helped = run("onnx", "--help")
    assert helped.returncode == 0
    assert b"classify_onnx check BUNDLE" in helped.stdout


def test_bundles_that_do_not_fit_or_were_changed_are_refused(
    run: Run, bundle: BundleOf, tmp_path: Path
) -> None:
    path = bundle("onnx")

    def copied(name: str, change: Callable[[Path], object]) -> Path:
        folder = Path(shutil.copytree(path, tmp_path / name))
        change(folder)
        return folder

    def replaced(file: str, old: bytes, new: bytes) -> Callable[[Path], object]:
        return lambda folder: (folder / file).write_bytes(
            (folder / file).read_bytes().replace(old, new, 1)
        )

    def linked(folder: Path) -> None:
        (folder / "model.onnx").unlink()
        os.symlink(path / "model.onnx", folder / "model.onnx")

    def unlisted(folder: Path) -> None:
        (folder / "logits").write_bytes(b"weights without a hash")

    def other_tokenizer(folder: Path) -> None:
        Tokenizer(BPE({"a": 0}, [])).save(str(folder / "tokenizer.json"))

    def second_template(folder: Path) -> None:
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        steps = [content["post_processor"]] * 2
        content["post_processor"] = {"type": "Sequence", "processors": steps}
        file.write_text(json.dumps(content), encoding="utf-8")

    def second_text(folder: Path) -> None:
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["post_processor"]["single"][1]["Sequence"]["id"] = "B"
        file.write_text(json.dumps(content), encoding="utf-8")

    def refused(folder: Path, message: str) -> None:
        done = run("onnx", folder, "a film")
        assert done.returncode == 2, (folder, done.stderr)
        assert message in done.stderr.decode(), (folder, done.stderr)
        assert len(done.stderr.splitlines()) == 1

    refused(tmp_path / "nothing", "no bundle at")
    refused(path / "model.onnx", "is a file, and this program reads folders: bmc unpack")
    refused(tmp_path, "is not a bundle: it has no manifest.json")
    refused(bundle("openvino"), "is for 'openvino', and this program runs bundles for 'onnx': take")
    refused(bundle("openvino"), "take classify_openvino, or bmc export MODEL --target onnx")
    flipped = replaced("model.onnx", b"logits", b"logitz")
    refused(copied("flipped", flipped), "'model.onnx' was changed (sha256 ")
    cut = copied("cut", lambda folder: os.truncate(folder / "model.onnx", 99))
    refused(cut, "was changed (99 bytes, recorded ")
    other_label = replaced("manifest.json", b"negative", b"Negative")
    refused(copied("digest", other_label), "was changed (its digest differs)")
    undigested = replaced("manifest.json", b'"digest"', b'"DIGEST"')
    refused(copied("undigested", undigested), "digest must be there")
    newer = replaced("manifest.json", b'"schema": 1', b'"schema": 2')
    refused(copied("newer", newer), "has schema 2, and this program reads schema 1")
    twice = replaced("manifest.json", b"{", b'{"name": "a",')
    refused(copied("key", twice), "the key 'name' is repeated")
    no_number = replaced("manifest.json", b'"schema": 1', b'"schema": NaN')
    refused(copied("nan", no_number), "is not JSON")
    refused(copied("unlisted", unlisted), "its model may read 'logits', which has no hash")
    refused(copied("link", linked), "'model.onnx' is a link, and links are not followed; refused")
    bpe = changed(path, tmp_path / "bpe", other_tokenizer)
    refused(bpe, "this program does not know the model 'BPE'; it reads the WordPiece tokenizers")
    two_templates = changed(path, tmp_path / "templates", second_template)
    refused(two_templates, "this program does not know a second post-processor")
    no_second = changed(path, tmp_path / "second", second_text)
    refused(no_second, "this program does not know the text 'B' of its template")
    newer_setting = changed(path, tmp_path / "setting", strips=True)
    refused(newer_setting, "has the setting 'strips', which this program does not know")
    failed = Path(shutil.copytree(path, tmp_path / "failed"))
    bundles.write(failed, replace(bundles.read(failed).manifest, failure="accuracy 0.5"))
    refused(failed, "failed a check when it was exported (accuracy 0.5); export it again")

    def fewer_outputs(folder: Path) -> None:
        arrays = dict(np.load(folder / "golden.npz"))
        arrays["output.logits"] = arrays["output.logits"][:1]
        np.savez(folder / "golden.npz", **arrays)

    one_row = changed(path, tmp_path / "rows", fewer_outputs)
    check = run("onnx", "check", one_row, "--calls", 2)
    assert check.returncode == 2
    assert b"golden.npz has other rows of 'logits' than golden.json" in check.stderr
    arrays = changed(path, tmp_path / "arrays", kind="array", inputs=[])
    refused(arrays, "takes rows of the kind 'array', and this program reads texts alone: pass its")
    for folder in (bpe, arrays):  # their tensors are checked all the same
        check = run("onnx", "check", folder, "--calls", 2)
        assert check.returncode == 0, check.stderr
        assert b"the raw golden rows were not read" in check.stdout
