"""bmc inspect: the table, the page, the JSON, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bmc.inspect import kept as kept_results
from bmc.workflows.lineage import data_of

Run = Callable[..., tuple[int, str, str]]


class Page(HTMLParser):
    """Collects what a page would load from outside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.loaded.append(value)


def test_a_model_is_inspected_and_its_page_opens_offline(
    bmc: Run, lively_folder: Path, workspace: Path
) -> None:
    code, out, _ = bmc("inspect", lively_folder, "--rows", 20, "--examples", 2)
    assert code == 0
    page = workspace / ".inspect" / "lively.html"
    assert str(page) in "".join(out.split("\n"))
    for output in ("bert.encoder.layer.0.attention.self", "MMACs", "total", "eager PyTorch"):
        assert output in out
    text = page.read_text(encoding="utf-8")
    assert "Feature importance" in text
    assert "<h2>Sensitivity" not in text
    assert Page(text).loaded == []
    assert not re.search(r"url\(|@import|<script", text)


def test_sensitivity_is_measured_when_asked_for_and_kept(
    bmc: Run, lively_folder: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    options = ("--rows", 12, "--examples", 0, "--sensitivity", "--json", "-o", page)
    code, out, _ = bmc("inspect", lively_folder, *options)
    assert code == 0
    content = json.loads(out)
    data = data_of(lively_folder, None)
    rows = data.validation.rows
    drawn = [rows[place] for place in kept_results.drawn(len(rows), 12)]
    kept = kept_results.read(lively_folder, kept_results.key_of(data.fingerprint, drawn))
    assert kept is not None
    assert kept.rows == content["sensitivity"]["rows"] == 12
    assert {loss["change"] for loss in content["sensitivity"]["losses"]} == {
        "prune-half",
        "int8",
        "int4",
    }
    assert content["importance"] == []
    assert "<h2>Sensitivity" in page.read_text(encoding="utf-8")
    code, _, err = bmc("inspect", lively_folder, "-o", page)
    assert code == 2
    assert "--force" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "0"], "rows is 0"),
        (["--length", "0"], "length is 0"),
        (["--examples", "-1"], "examples is -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    bmc: Run, lively_folder: Path, options: list[str], message: str
) -> None:
    code, _, err = bmc("inspect", lively_folder, *options)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    "options", [["-o", "page.html"], ["--sensitivity"], ["--data", "x.csv"], ["--rows", "9"]]
)
def test_what_is_for_models_alone_is_refused_for_a_bundle(
    bmc: Run, bundle_of: Callable[[str], Path], options: list[str]
) -> None:
    code, _, err = bmc("inspect", bundle_of("onnx"), *options)
    assert code == 2
    assert "is a bundle" in err
    assert "or name the model directory" in " ".join(err.split())
