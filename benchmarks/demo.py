"""How long does `make demo` take, and what does it show?

    python benchmarks/demo.py           (20 minutes; nothing else may run)
    python benchmarks/demo.py --table   (README.md's table, from the result)

Runs the commands that stand in the Makefile under `demo`, one after the other, in a workspace that
is emptied first. Cached answers of the teacher are not used either: a new user has none.

Writes benchmarks/results/demo.json, and docs/report.svg. Exit code 1: they take more than 12
minutes, or `tiny` keeps less than 98.5 % of its teacher's accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _common import HERE, RUNS, Bar, finish, put_table, result

ROOT = HERE.parent
HOME = RUNS / "demo"
_MINUTES = 12
_KEPT = 0.985
_SHOWN = (
    *("name", "model", "target", "rows", "accuracy", "kept", "model_bytes"),
    *("p50", "speed_up", "speed_up_same_target"),
)
_NAMES = {"pytorch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
TEACHER, STUDENT = "bert-movie-reviews", "tiny-movie-reviews"


def main() -> int:
    """Run the demo, or write its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", action="store_true", help="write the table of README.md")
    options = parser.parse_args()
    if options.table:
        put_table("demo", _table(result("demo")), ROOT / "README.md")
        return 0
    shutil.rmtree(HOME, ignore_errors=True)
    commands = {command: _seconds(command) for command in _commands()}
    report = json.loads((HOME / "report" / "report.json").read_text(encoding="utf-8"))
    shutil.copyfile(HOME / "report" / "report.svg", ROOT / "docs" / "report.svg")
    lines = [{name: line.get(name) for name in _SHOWN} for line in report["lines"]]
    student = _line(lines, STUDENT, "onnx")
    kept, minutes = student["kept"], sum(commands.values()) / 60
    shown = f"{100 * kept['value']:.1f} % [{100 * kept['low']:.1f}, {100 * kept['high']:.1f}]"
    bars = [
        Bar(f"at most {_MINUTES} minutes", f"{minutes:.1f} minutes", minutes <= _MINUTES),
        Bar("tiny keeps 98.5 % of its teacher's accuracy", shown, kept["value"] >= _KEPT),
    ]
    return finish("demo", bars, {"seconds": commands, "lines": lines, "answer": report["answer"]})


def _commands() -> list[str]:
    """Return the commands of bmc that `make demo` runs."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    if recipe is None:
        sys.exit("the Makefile has no target demo")
    return re.findall(r"\t\$\(BIN\)/(bmc .*)\n", recipe[1])


def _seconds(command: str) -> float:
    """Run a command, and return how long it took."""
    words = [str(Path(sys.executable).with_name("bmc")), *shlex.split(command)[1:]]
    started = time.monotonic()
    if subprocess.run(words, env={**os.environ, "BMC_HOME": str(HOME)}, check=False).returncode:
        sys.exit(f"{command} failed")
    return round(time.monotonic() - started, 1)


def _line(lines: list[dict[str, Any]], model: str, target: str) -> dict[str, Any]:
    return next(line for line in lines if (line["model"], line["target"]) == (model, target))


def _table(content: Mapping[str, Any]) -> list[str]:
    lines = content["lines"]
    student = _line(lines, STUDENT, "onnx")
    rows = [
        "| model | target | accuracy % | file MB | p50 ms | times faster than the first |",
        "|---|---|---|---|---|---|",
    ]
    for model, target in (
        *((TEACHER, target) for target in _NAMES),
        *((STUDENT, target) for target in ("onnx", "openvino", "tensorrt")),
    ):
        line = _line(lines, model, target)
        name = "**`tiny`**" if model == STUDENT else "teacher (`bert`)"
        accuracy = _with_interval(line["accuracy"], 100)
        size = f"{line['model_bytes'] / 1e6:.3g}"
        if target in _NAMES:
            times = f"{line['p50']['value']:.3g} | {_with_interval(line['speed_up'], 1)}"
            rows.append(f"| {name} | {_NAMES[target]} | {accuracy} | {size} | {times} |")
        else:
            where = "TensorRT: not run, no GPU (its ONNX file is scored)"
            rows.append(f"| {name} | {where} | {accuracy} | {size} | | |")
    machine = content["machine"]
    minutes = sum(content["seconds"].values()) / 60
    return [
        *rows,
        "",
        f"`tiny` keeps {_with_interval(student['kept'], 100)} % of its teacher's accuracy, and is "
        f"{_with_interval(student['speed_up_same_target'], 1)} times as fast within ONNX Runtime",
        f"({student['rows']:,} held-out rows; [..] is the 95 % interval; fp32, batch 1, 32 tokens; "
        f"{machine['processor']}, {machine['cores']} cores, where the demo took {minutes:.0f} "
        "minutes).",
    ]


def _with_interval(interval: Mapping[str, float] | None, factor: float) -> str:
    if interval is None:
        return ""
    shown = "{:.1f}" if factor > 1 else "{:.3g}"
    value, low, high = (shown.format(factor * interval[part]) for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
