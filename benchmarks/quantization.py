"""What does quantization win, and what does it lose, in the files that are deployed?

    python benchmarks/quantization.py                  (every row that has no result yet)
    python benchmarks/quantization.py --row bert       (one row)
    python benchmarks/quantization.py --row bert --speed    (measure its latencies again)
    python benchmarks/quantization.py --table          (the table, from the results)

A row takes a trained baseline (those of baselines.py), quantizes it, exports it, and holds each
bundle against bmc's own fp32 export in the same run time: points lost and answers changed are
paired on the held-out rows, latencies are measured in turn in one run on a machine where nothing
else runs, sizes are those of the model file. Settings were chosen on validation rows. A row's
result is written to results/quantization/ROW.json. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, RUNS, Bar, bmc, finish

from bmc import bundle as bundles
from bmc import workspace
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings

LAUNCHES, ROUNDS = 5, 6
MOST_CHANGED = 0.02


@dataclass(frozen=True)
class Row:
    """A baseline, how it is quantized, and what must come of it.

    Args:
        name: of the row.
        model: the baseline.
        data: its data.
        options: of `bmc quantize`.
        most_lost: held-out points that may be lost, in every target.
        faster: how many times faster than fp32 each target must be.
        over_bf16: how many times faster than its own bf16 OpenVINO must be.
        smaller: how large the file may be, as a share of the fp32 file.
        targets: that the row is exported to.
        lengths: tokens that latencies are measured at.
    """

    name: str
    model: str
    data: str
    options: tuple[str, ...]
    most_lost: float
    faster: dict[str, float] = field(default_factory=dict)
    over_bf16: float | None = None
    smaller: float | None = None
    targets: tuple[str, ...] = ("onnx", "openvino", "tensorrt")
    lengths: tuple[int, ...] = (32,)


ROWS = (
    Row(
        "bert",
        "bert",
        "movie-reviews",
        ("--method", "static"),
        most_lost=0.5,
        faster={"onnx": 2.0, "openvino": 1.9},
        over_bf16=1.3,
        smaller=0.26,
        lengths=(32, 128),
    ),
    Row(
        "resnet18",
        "resnet18",
        "fashion-mnist",
        ("--method", "static"),
        most_lost=0.3,
        faster={"onnx": 3.0, "openvino": 3.0},
        over_bf16=1.5,
    ),
    Row(
        "mpnet",
        "mpnet",
        "movie-reviews",
        ("--method", "static"),
        most_lost=0.5,
        faster={"openvino": 2.8},
        lengths=(32, 128),
    ),
    Row("mobilenet-v2", "mobilenet-v2", "fashion-mnist", ("--method", "static"), most_lost=0.5),
    Row("cnn", "cnn", "fashion-mnist", ("--method", "static"), most_lost=0.5),
    Row("lstm", "lstm", "japanese-vowels", ("--method", "weights"), most_lost=0.5),
    Row("gru", "gru", "japanese-vowels", ("--method", "weights"), most_lost=0.5),
    Row(
        "bert-int4", "bert", "movie-reviews", ("--method", "weights", "--bits", "4"), most_lost=1.0
    ),
    Row("bert-dynamic", "bert", "movie-reviews", ("--method", "dynamic"), 0.5, targets=("onnx",)),
    Row("bert-fp16", "bert", "movie-reviews", ("--method", "fp16"), most_lost=0.5),
)


def main() -> int:
    """Run the rows that were asked for, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--row", help="such as bert")
    parser.add_argument("--again", action="store_true", help="measure rows that have a result too")
    parser.add_argument("--speed", action="store_true", help="measure latencies again")
    parser.add_argument("--no-speed", action="store_true", help="leave latencies out")
    parser.add_argument("--table", action="store_true", help="print the table and leave")
    options = parser.parse_args()
    if options.table:
        return _print_table()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    wanted = [row for row in ROWS if options.row in (None, row.name)]
    if not wanted:
        sys.exit(f"no row {options.row}; there are {', '.join(row.name for row in ROWS)}")
    again = options.again or options.speed or options.no_speed
    codes = [
        _measure(row, not options.no_speed) for row in wanted if again or not _result(row).is_file()
    ]
    return max(codes, default=0)


def _measure(row: Row, timed: bool) -> int:
    base, made = f"{row.model}-{row.data}-0", f"quantized-{row.name}"
    root = workspace.root()
    if not (root / base).is_dir():
        bmc("train", row.model, "--data", row.data, "-o", root / base)
    if not (root / made).is_dir():
        bmc("quantize", base, *row.options, "-o", root / made)
    for name in (base, made):
        missing = [one for one in row.targets if not (root / f"{name}-{one}").is_dir()]
        if missing:
            slow = ("--allow-slower",) if name == made else ()
            bmc("export", name, "--target", ",".join(missing), *slow)
    found = {target: _compared(base, made, target) for target in row.targets}
    speed = _speed(row, base, made) if timed else {}
    content = {"row": asdict(row), "targets": found, "speed": speed}
    return finish(f"quantization/{row.name}", _bars(row, found, speed), content)


def _compared(base: str, made: str, target: str) -> dict[str, Any]:
    before, after = (bundles.read(workspace.root() / f"{name}-{target}") for name in (base, made))
    its, own = (np.load(one.path / bundles.EVALUATION) for one in (before, after))
    lost = scores.lost("classification", own["logits"], its["logits"], own["labels"])
    changed = own["logits"].argmax(axis=1) != its["logits"].argmax(axis=1)
    scored = after.manifest.scores or after.manifest.build["scores_of_the_onnx_file"]
    return {
        "bytes": after.model_size(),
        "bytes_fp32": before.model_size(),
        "accuracy": scored["accuracy"],
        "lost": asdict(lost),
        "changed": float(changed.mean()),
        "executed": after.manifest.build["executed"],
    }


def _speed(row: Row, base: str, made: str) -> dict[str, Any]:
    """Measure both bundles in turn in each run time; OpenVINO's bf16 too where it is judged."""
    found: dict[str, Any] = {}
    for target in ("onnx", "openvino"):
        if target not in row.targets:
            continue
        folders = [workspace.root() / f"{name}-{target}" for name in (base, made)]
        for length in row.lengths:
            settings = BenchSettings(1, length, LAUNCHES, ROUNDS)
            for precision in ("f32", "bf16") if target == "openvino" else ("f32",):
                if precision == "bf16" and row.over_bf16 is None:
                    continue
                run = results.measure_bundles(folders, (1, 2), settings, precision)
                key = f"{target}-{length}-{precision}"
                results.save(run, workspace.root() / ".bench" / f"quantized-{row.name}-{key}.json")
                best = [one for one in run.rows if one.best]
                ratio = best[1].speed_up
                found[key] = {
                    **(asdict(ratio) if ratio else {}),
                    "p50": [one.p50.value if one.p50 else None for one in best],
                    "threads": [one.threads for one in best],
                }
                print(f"{row.name}, {key}: {found[key]}", flush=True)
    return found


def _bars(row: Row, found: dict[str, Any], speed: dict[str, Any]) -> list[Bar]:
    bars = []
    for target, own in found.items():
        lost = 100 * own["lost"]["value"]
        must = f"{row.name}, {target}: at most {row.most_lost} points lost"
        bars.append(Bar(must, f"{lost:.2f}", lost <= row.most_lost))
        must = f"{row.name}, {target}: at most {MOST_CHANGED:.0%} of the answers changed"
        bars.append(Bar(must, f"{own['changed']:.2%}", own["changed"] <= MOST_CHANGED))
        if row.smaller is not None and target != "tensorrt":
            share = own["bytes"] / own["bytes_fp32"]
            must = f"{row.name}, {target}: the file is at most {row.smaller}x"
            bars.append(Bar(must, f"{share:.3f}", share <= row.smaller))
    for key, ratio in speed.items():
        target, length, precision = key.split("-")
        least = row.faster.get(target) if precision == "f32" else row.over_bf16
        if least is not None and "value" in ratio:
            shown = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            must = f"{row.name}, {target}, {length} tokens: >= {least}x faster than {precision}"
            bars.append(Bar(must, shown, ratio["value"] >= least))
    return bars


def _print_table() -> int:
    """Print a line for each row and target that has a result."""
    print("| model | method | target | points lost | answers changed | file | faster than fp32 |")
    print("|---|---|---|---|---|---|---|")
    for row in ROWS:
        if not _result(row).is_file():
            continue
        result = json.loads(_result(row).read_text(encoding="utf-8"))
        for target, own in result["targets"].items():
            lost = own["lost"]
            shown = f"{100 * lost['value']:.1f} [{100 * lost['low']:.1f}, {100 * lost['high']:.1f}]"
            ratio = result["speed"].get(f"{target}-{row.lengths[0]}-f32")
            speed = (
                f"{ratio['value']:.1f}x [{ratio['low']:.1f}, {ratio['high']:.1f}]" if ratio else ""
            )
            share = own["bytes"] / own["bytes_fp32"]
            method = " ".join(row.options[1::2])
            print(
                f"| `{row.model}` | {method} | {target} | {shown} | {own['changed']:.1%} "
                f"| {share:.2f}x | {speed} |"
            )
    return 0


def _result(row: Row) -> Path:
    return HERE / "results" / "quantization" / f"{row.name}.json"


if __name__ == "__main__":
    sys.exit(main())
