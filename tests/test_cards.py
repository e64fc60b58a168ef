"""The README.md of a bundle: what the manifest says, the same each time, safe to render."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import bmc
from bmc import bundle as bundles
from bmc import cards
from bmc.errors import ArtifactError
from bmc.manifest import Manifest, StandIn

BundleOf = Callable[[str], Path]
HOSTILE = (
    "# x\n\n<script>alert(1)</script> [a](http://b.c) ![i](j) <http://d.e> `code` ``` ~~~ | a | b |"
    "\r\n***\x1b[2J\u202e&lt; \\"
)


@pytest.fixture(scope="module")
def manifest(bundle_of: BundleOf) -> Manifest:
    return bundles.read(bundle_of("onnx")).manifest


def test_every_export_writes_a_card_that_is_covered_by_the_checksums(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of("onnx"), folder)
    bundle = bundles.read(folder)
    text = (folder / bundles.CARD).read_text(encoding="utf-8")
    assert text == cards.readme(bundle.manifest, bundle.model_size())
    assert len(text) < 5_000
    score = bundle.manifest.scores["accuracy"]["value"]
    for words in (
        "ONNX Runtime on the CPU",
        "[..] is the 95 % interval",
        f"`accuracy`: {score:.3f} [",
        "`negative`, `positive`",
        "- input `input_ids`: `int64 (batch, sequence)`",
        'print(predict("a text"))',
        "pip install 'bmc-toolkit[onnx]'",
        "license: not recorded",
        "Compared with the model in PyTorch",
        bundle.manifest.lineage["weights_sha256"],
    ):
        assert words in text
    (folder / bundles.CARD).write_text(text + "better than it is\n")
    with pytest.raises(ArtifactError, match=r"'README\.md' was changed"):
        bmc.load(folder)


def test_a_bundle_is_written_again_with_the_same_card(bundle_of: BundleOf, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of("openvino"), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    bundles.write(folder, bundles.read(folder).manifest)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_bundle_without_a_card_loads_and_gets_none_when_its_own_files_are_listed_again(
    bundle_of: BundleOf, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of("onnx"), folder)
    (folder / bundles.CARD).unlink()
    names = sorted(path.name for path in folder.iterdir() if path.name != bundles.MANIFEST)
    bundles.write(folder, bundles.read(bundle_of("onnx")).manifest, names)
    assert not (folder / bundles.CARD).exists()
    with bmc.load(folder) as classify:
        assert classify("what a film").label in ("negative", "positive")


def test_untrusted_names_are_shown_and_never_rendered(manifest: Manifest) -> None:
    hostile = replace(
        manifest,
        name=HOSTILE,
        labels=(HOSTILE, "`"),
        inputs=(replace(manifest.inputs[0], name=HOSTILE),),
        failure=HOSTILE,
        scores={
            HOSTILE: {"value": 1.0, "low": 0.5, "high": 1.0},
            "by_class": {HOSTILE: [1.0, 0.5]},
        },
        lineage={
            "commands": [f"bmc train {HOSTILE}", "````"],
            "data": {"reference": HOSTILE, "fingerprint": HOSTILE, "rows": {"train": 1}},
            "data_license": HOSTILE,
            "steps": [HOSTILE],
            "teacher": {"name": HOSTILE},
            "weights_sha256": HOSTILE,
        },
        build={
            "versions": {HOSTILE: HOSTILE},
            "p50_ms": 0.25,
            "machine": {"processor": HOSTILE, "cores": 2},
        },
    )
    text = cards.readme(hostile, 17_400_000)
    assert "\x1b" not in text
    assert "\u202e" not in text
    parsed = MarkdownIt("commonmark").enable("table").parse(text)
    tokens = [inner for token in parsed for inner in (token, *(token.children or ()))]
    kinds = {token.type for token in tokens}
    unwanted = ("html_block", "html_inline", "link_open", "image", "table_open", "hr")
    assert not kinds.intersection(unwanted)
    headings = [token for token in tokens if token.type == "heading_open"]
    assert [token.tag for token in headings] == ["h1", *["h2"] * 6]
    spans = [token.content for token in tokens if token.type == "code_inline"]
    assert sum("<script>alert(1)</script>" in span for span in spans) >= 10
    assert "17.4 MB" in text
    assert "0.250 ms" in text


def test_whatever_a_manifest_holds_a_card_is_written(manifest: Manifest) -> None:
    values: tuple[Any, ...] = (
        None,
        True,
        10**30,
        1e308,
        "x",
        [],
        [1],
        {},
        {"value": "x"},
        {"a": {"b": 1}},
    )
    for value in values:
        odd = dict.fromkeys(("accuracy", "by_class", "rows"), value)
        lineage = dict.fromkeys(("parameters", "data", "steps", "teacher", "commands"), value)
        build = dict.fromkeys(("over_fp32", "p50_ms", "machine", "versions"), value)
        parity = dict.fromkeys(("rows", "max_error", "agreement"), value)
        broken = replace(manifest, scores=odd, lineage=lineage, build=build, parity=parity)
        assert cards.readme(broken, 1).startswith("# `")


def test_the_score_of_an_engine_that_did_not_run_is_said_to_be_another_targets(
    manifest: Manifest,
) -> None:
    built = replace(manifest, stand_in=StandIn("onnx", manifest.scores), scores={})
    assert "Of its ONNX file in `onnx`; the engine was not run" in cards.readme(built, 1)
    assert "None were computed" in cards.readme(replace(manifest, scores={}), 1)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a `b`", "`` a `b` ``"),
        ("two\nlines", "`two lines`"),
        ("", "(empty)"),
        ("x" * 300, f"`{'x' * 200}…`"),
    ],
)
def test_a_text_becomes_a_code_span_of_one_line(text: str, span: str) -> None:
    assert cards.code(text) == span
