"""The page's library computes what bmc computes: tokens, pixels, clips, and a manifest's digest."""

from __future__ import annotations

import base64
import io
import json
import random
import string
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from bmc.data import Dataset
from bmc.inputs.audio import RATE, read_clip
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.models.tokens import add_special_tokens, normalizer, train_tokenizer
from bmc.predictions import Prediction, predictions_of
from tests._tokenizers import built_in_tokenizer
from tests.browser import _site

Run = Callable[..., list[dict[str, Any]]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
BPE = {"type": "BPE", "vocab": {}, "merges": []}
LETTERS = 30  # the fewest characters that count as a script
SPECIAL_CASES = (
    *("it doesn't IT'S I'M N'T naïve", "ΟΔΟΣ ΣΑΣ", "İstanbul ẞ ſ's", "..... -- '' ...a"),
    *("[MASK] a [CLS]b <mask> <UNK>", "\x85a\ufeffb \u200b", "\tx\n y", "x" * 200, "e\u0301\u0323"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs the library on cases, in one process."""
    folder = _site.copied(tmp_path_factory.mktemp("reader") / "browser")

    def run_cases(*cases: dict[str, Any]) -> list[dict[str, Any]]:
        command = ["node", str(Path(__file__).with_name("reader.mjs")), str(folder)]
        text = json.dumps(cases)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        results: list[dict[str, Any]] = json.loads(done.stdout)
        return results

    return run_cases


def random_texts(count: int) -> list[str]:
    """Return texts, each mostly of one script or kind of sign, as many of one as of another."""
    generator = random.Random(0)
    scripts: dict[str, list[str]] = {}
    for char in map(chr, range(0x32000)):  # above are private characters, and some without a glyph
        if unicodedata.category(char) not in ("Cn", "Co", "Cs"):
            scripts.setdefault(unicodedata.name(char, "").split(" ")[0], []).append(char)
    letters = [script for script in scripts.values() if len(script) >= LETTERS]
    others = [*string.printable, *(char for script in letters for char in script)]

    def text() -> str:
        script, length = generator.choice(letters), generator.randint(1, 60)
        mixed = generator.choices([script, others, [" "]], (75, 10, 15), k=length)
        return "".join(map(generator.choice, mixed))

    return [text() for _ in range(count)]


def tokenizers_of(reviews: Dataset) -> dict[str, Tokenizer]:
    """Return a tokenizer of each kind of bundles that a page reads."""
    rows = [*reviews.train.rows, *((text,) for text in random_texts(200))]
    texts = [text for (text,) in rows]
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizer(lowercase=False, strip_accents=True)
    ends = r"(?i)n't(?!\w)|'(?:s|re|ve|ll|d|m)(?!\w)|\.\.\.|--|[^\w\s]"  # as word_vectors.py splits
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(ends), "isolated")]
    )
    trainer = WordPieceTrainer(vocab_size=1000, special_tokens=SPECIAL, show_progress=False)
    words.train_from_iterator(texts, trainer)
    add_special_tokens(words)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options: dict[str, Any] = {"vocab_size": 800, "initial_alphabet": alphabet}
    options["show_progress"] = False
    roberta = Tokenizer(models.BPE())
    roberta.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    roberta.train_from_iterator(texts, BpeTrainer(special_tokens=["<s>", "</s>"], **options))
    roberta.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    modern = Tokenizer(models.BPE())
    modern.normalizer = normalizers.NFC()
    modern.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    modern.train_from_iterator(texts, BpeTrainer(special_tokens=SPECIAL, **options))
    modern.add_tokens([AddedToken("   ", normalized=True), "  "])
    add_special_tokens(modern)
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.train_from_iterator(texts, BpeTrainer(special_tokens=[], **options))
    plain.post_processor = processors.ByteLevel(trim_offsets=False)
    parted = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    parted.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split("-", "removed"),
            pre_tokenizers.Split(Regex("(?i)(n't|'s)"), "removed"),
        ]
    )
    parted.train_from_iterator(texts, trainer)
    trained = train_tokenizer(rows, 1000, lowercase=True)
    minilm = built_in_tokenizer("minilm")
    named = {"bert": minilm, "own": trained, "words": words, "roberta": roberta, "modern": modern}
    named |= {"plain": plain, "parted": parted}
    return {name: Tokenizer.from_str(tokenizer.to_str()) for name, tokenizer in named.items()}


def compare_tokens(run: Run, reviews: Dataset, count: int) -> None:
    """Compare `count` rows of each tokenizer: whole, cut at either end, and as pairs."""
    whole = [[text] for (text,) in reviews.test.rows] + [[text] for text in SPECIAL_CASES]
    whole += [[text] for text in random_texts(count - len(whole))]
    short = whole[: count // 10]
    pairs = [[first, second] for (first,), (second,) in zip(short, reversed(whole), strict=False)]
    plans = [(whole, 10_000, "right"), (short, 17, "left"), (pairs, 17, "right")]
    for name, tokenizer in tokenizers_of(reviews).items():
        tokenizer.no_truncation()
        content = json.loads(tokenizer.to_str())
        cases = [
            {"action": "tokens", "content": content, "rows": rows, "length": length, "side": side}
            for rows, length, side in plans
        ]
        for (rows, length, side), found in zip(plans, run(*cases), strict=True):
            tokenizer.enable_truncation(length, direction=side)
            expected = tokenizer.encode_batch_fast(
                [tuple(row) if row[1:] else row[0] for row in rows]
            )
            for row, tokens, encoding in zip(rows, found["result"], expected, strict=True):
                assert tokens["ids"] == encoding.ids, (name, row)
                assert tokens["types"] == encoding.type_ids, (name, row)


def test_tokens_are_those_of_python_in_many_scripts(run: Run, reviews: Dataset) -> None:
    compare_tokens(run, reviews, 600)


@pytest.mark.slow
def test_tokens_of_ten_thousand_texts_are_those_of_python(run: Run, reviews: Dataset) -> None:
    compare_tokens(run, reviews, 10_000)


@pytest.mark.parametrize(
    "settings",
    [
        TextSettings(12, columns=2, html_breaks=True),
        TextSettings(12, columns=2, type_input=False, pad_id=3),
        TextSettings(9, columns=2, pair_types=False),
        TextSettings(9, truncation_side="left", prompt="query: "),
    ],
)
def test_tensors_of_texts_are_those_of_python(run: Run, settings: TextSettings) -> None:
    encoder = TextEncoder(built_in_tokenizer("minilm"), settings)
    texts = ["a film<br />of wit", "", "it goes on and on and on for ever", "电影 naïve"]
    texts += ["\ufeff", "a<br\x1c/>b<br\ufeff>c"]
    rows = [(text, other)[: settings.columns] for text in texts for other in texts if text or other]
    rows = [row for row in rows if any(row)]
    content = json.loads(encoder.tokenizer.to_str())
    case = {"action": "tensors", "settings": encoder.to_json(), "content": content, "rows": rows}
    white = {**case, "rows": [["\x1c \x85"] * settings.columns]}
    found, refused = run(case, white)
    assert "the text is empty" in refused["error"]
    expected = encoder.batch(encoder.encode(rows), range(len(rows)))
    assert {name for name, *_ in found["result"]} == expected.keys()
    for name, dims, values in found["result"]:
        assert np.array_equal(np.reshape(values, dims), expected[name]), name


@pytest.mark.parametrize(
    ("part", "step", "name"),
    [
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": ""}, "Precompiled"),
        ("pre_tokenizer", {"type": "Metaspace"}, "Metaspace"),
        ("model", {"type": "Unigram", "vocab": []}, "Unigram"),
        ("model", {**BPE, "fuse_unk": True}, "BPE with fuse_unk"),
        ("model", {**BPE, "continuing_subword_prefix": "##"}, "BPE with continuing_subword_prefix"),
    ],
)
def test_a_tokenizer_that_was_not_compared_is_refused_by_name(
    run: Run, part: str, step: dict[str, Any], name: str
) -> None:
    content = json.loads(built_in_tokenizer("minilm").to_str())
    content["model"]["vocab"] = {"[UNK]": 0}
    content[part] = step
    case = {"action": "tokens", "content": content, "rows": [["a"]], "length": 9, "side": "right"}
    (refused,) = run(case)
    assert f"the step {name}," in refused["error"]
    assert "bmc serve" in refused["error"]


def _random(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def test_pixels_are_those_of_python(run: Run) -> None:
    color = ImageSettings(24, 24, 3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    gray = ImageSettings(16, 31, 1, (0.5,), (0.2,))
    shapes = ((37, 53, 3), (60, 20, 3), (9, 5, 1), (24, 24, 4), (50, 33, 3), (16, 31, 1))
    images = [_random(*shape) for shape in shapes]
    cases, expected = [], []
    for image in images:
        height, width, channels = image.shape
        data = base64.b64encode(image.tobytes()).decode()
        row = {"height": height, "width": width, "channels": channels, "data": data}
        for encoder in map(ImageEncoder, (color, gray)):
            cases.append({"action": "pixels", "settings": encoder.to_json(), "image": row})
            expected.append(encoder.batch(encoder.encode([image]), [0])["pixels"])
    for found, pixels in zip(run(*cases), expected, strict=True):
        assert np.array_equal(np.float32(found["result"]), pixels.ravel())


def test_clips_of_wav_files_are_those_of_python(run: Run) -> None:
    times = np.arange(4410) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * times)
    stereo = np.stack([tone, tone[::-1]], axis=1).astype(np.float32)
    files = []
    for rate, kind in ((RATE, "PCM_16"), (RATE, "PCM_24"), (RATE, "FLOAT"), (44_100, "PCM_16")):
        buffer = io.BytesIO()
        soundfile.write(buffer, stereo, rate, format="WAV", subtype=kind)
        files.append((rate, buffer.getvalue()))
    cases = [
        {"action": "clip", "file": base64.b64encode(file).decode(), "rate": RATE}
        for _, file in files
    ]
    for (rate, file), found in zip(files, run(*cases), strict=True):
        clip, expected = np.float32(found["result"]), read_clip(file)
        assert clip.shape == expected.shape
        inner = slice(100, -100)  # at its ends a resampled clip depends on the filter's length
        assert np.abs(clip - expected)[inner].max() <= (0 if rate == RATE else 1e-3)


def test_a_clip_is_passed_on_once_a_whole_one_was_heard_and_then_ten_times_a_second(
    run: Run,
) -> None:
    tenth = RATE // 10
    (found,) = run({"action": "clips", "samples": 2 * tenth, "pieces": [tenth // 2] * 7})
    ends = [clip[1] for clip in found["result"]]
    assert ends == [2 * tenth, 3 * tenth]
    assert [last - first + 1 for first, last, _ in found["result"]] == [2 * tenth] * 2
    (long,) = run({"action": "clips", "samples": 10, "pieces": [RATE]})
    assert long["result"] == [[RATE - 9, RATE, 10]]


def test_calls_of_a_model_run_one_after_another_and_closing_waits_for_them(run: Run) -> None:
    (found,) = run({"action": "calls", "count": 3})
    *calls, events = found["result"]
    assert calls == ["done", "Error: the second call fails", "done"]
    assert events == [1, 1, 1, "released"]


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("classification", {}),
        ("classification", {"reject_below": 0.7}),
        ("multilabel", {"thresholds": [0.5, 0.2, 0.9]}),
    ],
)
def test_predictions_are_those_of_python(run: Run, task: str, settings: dict[str, Any]) -> None:
    labels = ["a", "b", "c"]
    rows = np.random.default_rng(0).normal(0, 1.5, (40, 3)).astype(np.float32)
    manifest = {"task": task, "labels": labels, **settings}
    (found,) = run({"action": "predictions", "manifest": manifest, "rows": rows.tolist()})
    below = settings.get("reject_below", 0)
    rejected = 0
    expected = predictions_of(rows, task, labels, settings.get("thresholds", ()))
    for value, prediction in zip(found["result"], expected, strict=True):
        each = prediction if isinstance(prediction, tuple) else (prediction,)
        values = value if isinstance(value, list) else [value]
        for scored, of_python in zip(values, each, strict=True):
            assert isinstance(of_python, Prediction)
            is_rejected = of_python.score < below
            rejected += is_rejected
            assert scored["label"] == (None if is_rejected else of_python.label)
            assert scored.get("rejected", False) is is_rejected
            assert scored["score"] == pytest.approx(of_python.score, abs=1e-6)
    assert (rejected > 0) == (below > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reject_below": "0.5"}, 'reject_below is "0.5"; export it again'),
        ({"reject_below": 1.5}, "reject_below is 1.5"),
        ({"reject_below": 0.5, "task": "regression"}, "reject_below is 0.5"),
        ({"labels": ["a", "b", "c"]}, "has not one value for each label"),
        ({"sizes": {}}, "manifest.json was changed"),  # its digest was left out
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    run: Run, change: dict[str, Any], message: str
) -> None:
    texts = ("name", "precision", "model")
    objects = ("preprocessing", "lineage", "parity", "scores", "build", "files")
    tensor = {"name": "logits", "dtype": "float32", "shape": ["batch", 2]}
    content: dict[str, Any] = {"schema": 1, "target": "onnx", "task": "classification"}
    content |= {"labels": ["a", "b"], "inputs": [tensor], "outputs": [tensor]}
    content.update(dict.fromkeys(texts, "x"))
    content.update((key, {}) for key in objects)
    cases = (
        {"action": "manifest", "text": json.dumps(each)}
        for each in (content, {**content, **change})
    )
    whole, changed = run(*cases)
    assert whole["result"]["labels"] == ["a", "b"]
    assert message in changed["error"]


def test_the_form_of_a_manifest_that_has_the_digest_is_that_of_python(run: Run) -> None:
    content = {"b": [1.0, 1e-05, 1e16, 0.0001, -3, 10**20, 1e22], "ä😀": 'a\n"\\\u007fé😀\x00'}
    text = json.dumps({**content, "digest": "", "a": {"z": None, "y": [True, False], "x": {}}})
    refused = ['{"a": 1, "a": 2}', '{"a": NaN}', "[1]", '{"a": "\\ud800"}', '{"a": 1e400}']
    cases = [{"action": "written", "text": each, "without": "digest"} for each in (text, *refused)]
    first, *others = run(*cases)
    rest = {key: value for key, value in json.loads(text).items() if key != "digest"}
    assert first["result"] == json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert all("error" in other for other in others)


def test_the_output_is_no_file_and_does_not_hold_the_bundle(tmp_path: Path) -> None:
    site = _site.copied(tmp_path / "browser")
    bundle, file = tmp_path / "page" / "bundle", tmp_path / "notes.txt"
    bundle.mkdir(parents=True)
    for name in ("page.js", "worker.js", "ort"):
        (bundle.parent / name).touch()
    (bundle / "manifest.json").write_text('{"target": "onnx"}')
    file.write_text("kept")
    for source, output, problem in (
        (bundle, file, "cannot be written"),
        (bundle, bundle.parent, "holds the bundle"),
        (tmp_path / "none.bmc", bundle.parent, "none.bmc cannot be read"),
    ):
        command = ["node", "build.mjs", str(source), "--out", str(output)]
        done = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert problem in done.stderr
    assert file.read_text() == "kept"
    assert (bundle / "manifest.json").exists()


def test_the_library_has_the_types_that_it_says(tmp_path: Path) -> None:
    folder = _site.copied(tmp_path / "browser")
    done = subprocess.run(["npm", "run", "types"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_settings_that_the_page_does_not_know_are_refused(run: Run) -> None:
    image = ImageEncoder(ImageSettings(4, 4, 1, (0.0,), (1.0,))).to_json()
    clip = {"kind": "audio", "rate": RATE, "samples": 16_000}
    cases = [image, clip, {**image, "gamma": 2}, {**clip, "pad": "end"}, {"kind": "constructor"}]
    found = run(*({"action": "kind", "settings": settings} for settings in cases))
    assert [each.get("result") for each in found] == ["image", "audio", None, None, None]
    for each, name in zip(found[2:4], ("gamma", "pad"), strict=True):
        assert f'has the setting "{name}" of preprocessing' in each["error"]
    assert "this page reads text, image and audio" in found[4]["error"]
