"""The page of a report: what stands on it, what it never loads, and how it behaves in a browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from bmc.inspect import recorded_costs
from bmc.inspect.recorded_costs import LayerCost, LayerCosts
from bmc.report import page
from bmc.report.collect import collect
from bmc.report.device import Device, DeviceTimes
from bmc.report.gates import read_gates
from bmc.report.judging import judge
from bmc.report.line import Report
from bmc.report.spreadsheet import comma_separated
from tests.report._bundles import Copy
from tests.report._html import Page
from tests.report._lines import around, line, report, timed_line
from tests.report._runs import timed

HOSTILE = "=a|b<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
HISTORY = [{"epoch": 1.0, "training_loss": 0.9}, {"epoch": 2.0, "training_loss": 0.4}]
COMMANDS = ["bmc distill --teacher bert --student tiny", "bmc export tiny --target onnx"]


@pytest.fixture
def full(put: Copy, workspace: Path) -> Report:
    """Return a report of a teacher, a student and its quantized copy, with everything recorded."""
    weights = {name: name * 64 for name in "abc"}
    put("bert-onnx", model="bert", weights_sha256=weights["a"], parameters=10**6)
    student = {
        "teacher": {"name": "bert", "sha256": weights["a"]},
        "steps": ["distill/logits"],
        "history": HISTORY,
        "commands": COMMANDS,
    }
    put("tiny-onnx", model="tiny", noise=2.0, weights_sha256=weights["b"], **student)
    int8 = {**student, "steps": ["distill/logits", "quantize/static"], "from": "tiny"}
    put("int8-onnx", noise=2.0, seed=1, weights_sha256=weights["c"], **int8)
    costs = LayerCosts(
        "a processor", 1, {"image": (1, 64)}, (LayerCost("body", "Linear", 9, 36, 9, 0.1),)
    )
    recorded_costs.write(weights["b"], costs)
    run = timed(workspace, {"bert-onnx": 900.0, "tiny-onnx": 90.0, "int8-onnx": 60.0})
    found = collect(run)
    return replace(found, gates=judge(found, read_gates(["accuracy>=0.5 size<=1B"])))


def test_every_recorded_thing_stands_in_a_section_of_a_page_that_loads_nothing(
    full: Report,
) -> None:
    written = page.html(full)
    parsed = Page(written)
    sections = {"gates", "bundles", "tradeoffs", "latency", "classes", "disagreements"}
    assert parsed.ids >= {*sections, "layers", "training", "lineage", "circumstances", "notes"}
    anchors = {load for load in parsed.loads if load.startswith("#")}
    assert {anchor[1:] for anchor in anchors} <= parsed.ids
    assert set(parsed.loads) - anchors == {"data:,"}
    assert not re.search(r"https?:|//[a-z]|@import", written)
    assert "prefers-color-scheme: dark" in written
    assert "@media print" in written
    for text in (*COMMANDS, "a processor", "size&lt;=1B failed", "int8-onnx", "answered as"):
        assert text in written


def test_the_policy_of_a_page_allows_its_script_alone(full: Report) -> None:
    written = page.html(full)
    (script,) = Page(written).scripts
    assert script == files("bmc.report").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in written


def test_every_point_is_named_and_labels_do_not_overlap(full: Report) -> None:
    lines = [timed_line(f"a-bundle-{n}-onnx", 1.0 + n, data="x") for n in range(30)]
    written = page.html(replace(full, lines=(*full.lines, *lines)))
    for each in (*full.lines, *lines):
        assert f"<span>{each.name}</span>" in written, "a numbered legend"
    assert '<text class="label best"' in written


def test_what_was_not_recorded_is_left_out_or_named_with_its_command() -> None:
    written = page.html(report(line("only-onnx")))
    ids = Page(written).ids
    assert not ids & {"gates", "latency", "classes", "disagreements", "layers", "training"}
    assert "without <code>--no-bench</code> measures them" in written
    assert "there is nothing" not in written
    assert Page(page.html(replace(report(line("only-onnx")), lines=()))).ids >= {"notes"}


def test_a_page_shows_hostile_names_and_obeys_none(full: Report) -> None:
    names = tuple(f"{HOSTILE}{number}" for number in range(10))
    lines = []
    for each in full.lines:
        rows = each.disagreements
        if rows:
            changed = tuple(
                replace(row, label=HOSTILE, student=HOSTILE, text=HOSTILE) for row in rows.rows
            )
            rows = replace(rows, rows=changed, teacher=HOSTILE, why_no_text=HOSTILE)
        lineage = replace(each.lineage, commands=(HOSTILE,), steps=(HOSTILE,), made_from=HOSTILE)
        lines.append(
            replace(
                each,
                name=f"{each.name}{HOSTILE}",
                model=HOSTILE,
                data=HOSTILE,
                labels=names,
                target=HOSTILE,
                precision=HOSTILE,
                lineage=lineage,
                remarks=(HOSTILE,),
                disagreements=rows,
                history=({HOSTILE: 1.0},),
            )
        )
    names_of_data = {HOSTILE: HOSTILE}
    hostile = replace(full, lines=tuple(lines), notes=(HOSTILE,), broken=names_of_data)
    hostile = replace(hostile, references=names_of_data)
    written = page.html(replace(hostile, command=HOSTILE))
    parsed = Page(written)
    assert not parsed.handlers
    assert not parsed.tags & {"img", "iframe", "object", "form"}
    assert len(parsed.scripts) == 1
    assert "{{ 7 * 7 }}" in written


def test_no_cell_of_the_csv_is_a_formula() -> None:
    (row,) = csv.DictReader(comma_separated(report(line(HOSTILE))).splitlines())
    assert row["name"].startswith("'=a|b<script>")
    assert row["accuracy"] == "0.9"
    assert row["p50_ms"] == ""


def test_a_page_of_many_classes_stays_small(full: Report) -> None:
    count = 90
    scored = {
        "by_class": {key: [0.5] * count for key in ("precision", "recall", "f1")},
        **{"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
        **dict.fromkeys(("macro_precision", "macro_recall", "macro_f1"), 0.5),
    }
    labels = tuple(f"class {number}" for number in range(count))
    lines = [
        line(
            f"n{number}-onnx",
            labels=labels,
            scores={**scored, "confusion": [[number + at for at in range(count)]] * count},
        )
        for number in range(20)
    ]
    written = page.html(replace(full, lines=tuple(lines)))
    assert "Confused most" in written, "of the models for which there is no room"
    assert len(written) < 3_000_000


def test_another_device_has_a_group_of_columns_and_no_ratio_to_this_machine(full: Report) -> None:
    first, _, last = full.lines
    there = {
        first.name: DeviceTimes(1, around(40.0), around(44.0), None, 1.0, 90.0, None),
        last.name: DeviceTimes(1, around(2.0), around(2.2), around(20.0), 0.9, 60.0, around(3.0)),
    }
    machine = {"processor": "Cortex-A76", "cores": 4}
    board = Device("pi@board", "20260101-000000", machine, {}, 5, {}, there, {"int8-onnx": "no"})
    written = page.html(replace(full, devices=(board,)))
    assert '<th colspan="5" scope="colgroup">pi@board</th>' in written
    assert written.count('data-title="pi@board: times faster" data-value="20"') == 1
    assert "not run there" in written
    assert "Cortex-A76, 4 cores" in written
    rows = list(csv.DictReader(comma_separated(replace(full, devices=(board,))).splitlines()))
    assert [row["pi@board p50_ms"] for row in rows] == ["40.0", "", "2.0"]


def test_columns_stand_below_the_device_that_measured_them() -> None:
    times = DeviceTimes(1, around(2.0), around(2.2), around(20.0), 0.9, 60.0, None)
    lines = timed_line("first-onnx", 9.0), timed_line("second-onnx", 1.0)
    boards = tuple(
        Device(name, "", {"processor": "", "cores": 4}, {}, 5, {}, {"second-onnx": times})
        for name in ("pi@board", "nano@jetson")
    )
    skipped = replace(boards[0], skipped={"first-onnx": "it runs in PyTorch"})
    written = page.html(replace(report(*lines), devices=(skipped, boards[1])))
    groups = re.findall(r'<th colspan="(\d+)" scope="colgroup">([^<]*)</th>', written)
    (heads,) = re.findall(r"<th>#</th><th>bundle</th>(.*?)</tr></thead>", written)
    titles = re.findall(r'data-title="([^"]*)"', heads)
    for count, device in groups:
        below, titles = titles[: int(count)], titles[int(count) :]
        owners = {title.rpartition(": ")[0] or "this machine" for title in below}
        assert owners == {device}
    assert [device for _, device in groups] == ["this machine", "pi@board", "nano@jetson"]
    assert titles == []


def test_the_command_that_measures_again_has_the_settings_of_the_bench(tmp_path: Path) -> None:
    run = timed(tmp_path, {"fast-onnx": 90.0})
    fast = report(timed_line("fast-onnx", 0.09))
    assert "\nbmc bench fast-onnx --threads 1\n" in page.html(replace(fast, run=run)).replace(
        "<pre>", "\n"
    )
    settings = replace(run.settings, length=64, launches=9)
    there = replace(run, settings=settings, device="pi@board")
    written = page.html(replace(fast, run=there))
    assert "bmc bench fast-onnx --on pi@board --length 64 --launches 9 --threads 1" in written
    assert "2026-01-01 00:00 UTC on pi@board" in written


# In a browser

CLICK = """
<script>
const heads = [...document.querySelectorAll("table.bundles thead button")];
const names = () => [...document.querySelectorAll("table.bundles tbody")]
  .filter((each) => !each.hidden).map((each) => each.querySelector(".name").firstChild.textContent);
const show = (id, texts) => {
  document.body.insertAdjacentHTML("beforeend", `<p id="${id}">${texts.join(" ")}</p>`);
};
heads.find((head) => head.textContent === "p50 ms").click();
show("fastest-first", names());
heads.find((head) => head.textContent === "p50 ms").click();
show("slowest-first", names());
const input = document.querySelector("input[type=search]");
input.value = "INT8 pytorch";
input.dispatchEvent(new Event("input"));
show("filtered", names());
</script>
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_table_is_sorted_and_filtered_in_a_browser(full: Report, tmp_path: Path) -> None:
    written = page.html(full)
    # The test's own script runs in a copy without the policy.
    copy = re.sub(r"<meta http-equiv=[^>]*>", "", written).replace("</body>", f"{CLICK}</body>")
    (tmp_path / "copy.html").write_text(copy, encoding="utf-8")
    (tmp_path / "page.html").write_text(written, encoding="utf-8")

    def dumped(name: str) -> subprocess.CompletedProcess[str]:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        options = ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
        return subprocess.run(
            [*command, *options, (tmp_path / name).as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    done = dumped("copy.html")
    found = dict(re.findall(r'<p id="([\w-]+)">([^<]*)</p>', done.stdout))
    assert found == {
        "fastest-first": "int8-onnx tiny-onnx bert-onnx",
        "slowest-first": "bert-onnx tiny-onnx int8-onnx",
        "filtered": "int8-onnx",
    }, done.stderr
    done = dumped("page.html")
    assert 'placeholder="filter' in done.stdout, "the policy lets the page's script run"
    assert "CONSOLE" not in done.stderr
