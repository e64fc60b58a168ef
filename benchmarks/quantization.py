"""What does quantization win, and what does it lose, in the files that are deployed?

    python benchmarks/quantization.py                  (every row that has no result yet)
    python benchmarks/quantization.py --row bert       (one row; make bench-quantization ROW=bert)
    python benchmarks/quantization.py --row bert --no-speed   (leave latencies as they were)
    python benchmarks/quantization.py --row bert --machine xeon-amx   (latencies alone, of seed 0)
    python benchmarks/quantization.py --table          (docs/results.md's table, from the results)

A row takes a trained baseline (those of baselines.py), quantizes it, exports it, and holds each
bundle against bmc's own fp32 export in the same runtime: points lost and answers changed are
paired on the held-out rows, latencies are measured in turn in one run on a machine where nothing
else runs, each at its better number of threads; sizes are those of the model file. The rival in
bf16 is the baseline's OpenVINO bundle in bf16, against the quantized one as it runs by default.
mobilenet-v2 at 224x224 is trained on 8,000 images of fashion-mnist, a fifth of them held out.
Settings were chosen on validation rows. A row's result is written to
results/quantization/ROW.json, another machine's latencies to results/quantization-MACHINE/ROW.json.
Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _common import HERE, RUNS, Bar, bmc, finish, put_table
from _quantization_rows import ROWS, SUBSET, SUBSET_ROWS, Row
from peers import plain
from peers._bundle import wrapped

from bmc import bundle as bundles
from bmc import workspace
from bmc.data import fashion_mnist
from bmc.measure import scores
from bmc.measure.latency import BenchSettings, Candidate, Measured, measure
from bmc.measure.statistics import speed_up
from bmc.workflows.bundle_lines import scores_of

LAUNCHES, ROUNDS = 5, 6
MOST_CHANGED = 0.02
FAR = 1.0  # the plain export's logits may be so far off bmc's: it is only timed
_FOUR_BITS = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)


def main() -> int:
    """Run the selected rows, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--row", help="such as bert")
    parser.add_argument("--again", action="store_true", help="measure rows that have a result too")
    parser.add_argument("--no-speed", action="store_true", help="leave latencies as they were")
    parser.add_argument("--machine", help="measure latencies alone, and keep them by this name")
    parser.add_argument("--table", action="store_true", help="write docs/results.md's table")
    options = parser.parse_args()
    if options.table:
        return _write_table()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    selected = [row for row in ROWS if options.row in (None, row.name)]
    if not selected:
        sys.exit(f"no row {options.row}; there are {', '.join(row.name for row in ROWS)}")
    if options.machine:
        return max(_on_machine(row, options.machine) for row in selected)
    again = options.again or options.no_speed
    codes = [
        _measure(row, not options.no_speed)
        for row in selected
        if again or not _result(row).is_file()
    ]
    return max(codes, default=0)


def _measure(row: Row, timed: bool) -> int:
    seeds = [_seed(row, seed) for seed in range(row.seeds)]
    anew = timed or not _result(row).is_file()
    times = {"speed": _speed(row)} if anew else _kept_times(row)
    content = {"row": asdict(row), "seeds": seeds, **times}
    return finish(f"quantization/{row.name}", list(_bars(row, seeds, times["speed"])), content)


def _on_machine(row: Row, machine: str) -> int:
    """Measure the latencies of seed 0's bundles on another machine than the results'."""
    row = replace(row, targets=tuple(target for target in row.targets if target != "tensorrt"))
    _prepared(row, 0)
    speed = _speed(row)
    content = {"row": asdict(row), "speed": speed}
    return finish(f"quantization-{machine}/{row.name}", list(_speed_bars(row, speed)), content)


def _seed(row: Row, seed: int) -> dict[str, Any]:
    """Train, quantize, export and compare both models; existing models are reused."""
    base, quantized = _prepared(row, seed)
    return {target: _compared(base, quantized, target) for target in row.targets}


def _prepared(row: Row, seed: int) -> tuple[str, str]:
    """Prepare the models of a seed, and return the names of the fp32 and the quantized model."""
    base, quantized = _names(row, seed)
    if SUBSET in row.made_by:
        _write_subset(Path(SUBSET))
    prepare(row, base, quantized, ("--seed", str(seed)))
    return base, quantized


def prepare(row: Row, base: str, quantized: str, options: tuple[str, ...]) -> None:
    """Train a row's model, quantize it and export both; existing models are reused."""
    root = workspace.root()
    if not (root / base).is_dir():
        bmc(*row.made_by, *options, "-o", root / base)
    if not (root / quantized).is_dir():
        bmc("quantize", base, *row.options, "-o", root / quantized)
    for name in (base, quantized):
        missing = [target for target in row.targets if not (root / f"{name}-{target}").is_dir()]
        if missing:
            slow = ("--allow-slower",) if name == quantized else ()
            bmc("export", name, "--target", ",".join(missing), *slow)


def _write_subset(path: Path) -> None:
    """Write the first rows of fashion-mnist's training part as a smaller data set."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        table = fashion_mnist.table()
        labels = np.asarray(table.labels[:SUBSET_ROWS])
        np.savez(path, images=np.asarray(table.rows[:SUBSET_ROWS]), labels=labels)


def _names(row: Row, seed: int) -> tuple[str, str]:
    return f"{row.base}-{seed}", f"quantized-{row.name}-{seed}"


def _compared(base: str, quantized: str, target: str) -> dict[str, Any]:
    before, after = (
        bundles.read(workspace.root() / f"{name}-{target}") for name in (base, quantized)
    )
    base_outputs, quantized_outputs = (
        np.load(bundle.path / bundles.EVALUATION) for bundle in (before, after)
    )
    lost = scores.lost(
        "classification",
        quantized_outputs["logits"],
        base_outputs["logits"],
        quantized_outputs["labels"],
    )
    changed = quantized_outputs["logits"].argmax(axis=1) != base_outputs["logits"].argmax(axis=1)
    scored = scores_of(after)
    return {
        "bytes": after.model_size(),
        "bytes_fp32": before.model_size(),
        "accuracy": scored["accuracy"],
        "lost": asdict(lost),
        "changed": float(changed.mean()),
        "executed": after.manifest.build["executed"],
        **({"linears": _share_of_linears(after.model_path)} if target == "onnx" else {}),
    }


def _share_of_linears(path: Path) -> float | None:
    """Return what linear layers' 4 bits take in a file, with their scales, of their fp32 size.

    None where there are none.
    """
    graph = onnx.load(path).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    weights = {
        node.input[0]: node.input[1]
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in held
        and held[node.input[0]].data_type in _FOUR_BITS
    }
    if not weights:
        return None
    weight_bytes = sum(len(held[name].raw_data) for pair in weights.items() for name in pair)
    return weight_bytes / sum(4 * int(np.prod(held[name].dims)) for name in weights)


def _speed(row: Row) -> dict[str, Any]:
    """Measure seed 0's bundles alternately in each runtime, and against the row's rivals."""
    root, (base, quantized) = workspace.root(), _names(row, 0)
    measures: dict[str, Any] = {}
    for length in row.lengths:
        settings = BenchSettings(1, length, LAUNCHES, ROUNDS)
        for target in [target for target in ("onnx", "openvino") if target in row.targets]:
            pair = [root / f"{name}-{target}" for name in (base, quantized)]
            measures[f"{target}-{length}"] = _in_turn(row, pair, settings)
        if row.over_bf16 is not None:
            pair = [root / f"{name}-openvino" for name in (base, quantized)]
            measures[f"bf16-{length}"] = _in_turn(row, pair, settings, rival="bf16")
        if row.over_plain is not None:
            file = RUNS / "exports" / f"plain-{row.name}.onnx"
            file.parent.mkdir(parents=True, exist_ok=True)
            plain.export(root / base, file)
            peer = wrapped(file, bundles.read(root / f"{base}-onnx"), file.with_suffix(""), FAR)
            measures[f"plain-{length}"] = _in_turn(
                row, [peer, root / f"{quantized}-onnx"], settings
            )
    return measures


def _in_turn(
    row: Row, pair: list[Path], settings: BenchSettings, rival: str = "f32"
) -> dict[str, Any]:
    """Measure two bundles alternately; the first computes in the rival's precision."""
    candidates = [
        Candidate(folder, threads, precision)
        for folder, precision in zip(pair, (rival, "f32"), strict=True)
        for threads in row.threads
    ]
    samples = measure(candidates, settings)
    half = len(row.threads)
    best = [min(part, key=_median) for part in (samples[:half], samples[half:])]
    ratio = speed_up(*(sample.nanoseconds for sample in best))
    speed = {
        **asdict(ratio),
        "p50": [_median(sample) / 1e6 for sample in best],
        "threads": [sample.candidate.threads for sample in best],
    }
    print(f"{row.name}, {pair[0].name} ({rival}), {settings.length} tokens: {speed}", flush=True)
    return speed


def _median(sample: Measured) -> float:
    return float(
        np.median([call for launch in sample.nanoseconds for turn in launch for call in turn])
    )


def _bars(row: Row, seeds: list[dict[str, Any]], speed: dict[str, Any]) -> Iterator[Bar]:
    over = f", mean of {row.seeds} seeds" if row.seeds > 1 else ""
    for target in row.targets:
        of_target = [seed[target] for seed in seeds]
        lost = 100 * _mean(seed["lost"]["value"] for seed in of_target)
        must = f"{row.name}, {target}: at most {row.most_lost} points lost{over}"
        yield Bar(must, f"{lost:.2f}", lost <= row.most_lost)
        changed = _mean(seed["changed"] for seed in of_target)
        must = f"{row.name}, {target}: at most {MOST_CHANGED:.0%} of the answers changed{over}"
        yield Bar(must, f"{changed:.2%}", changed <= MOST_CHANGED)
        if row.smaller is not None and target != "tensorrt":
            share = of_target[0]["bytes"] / of_target[0]["bytes_fp32"]
            must = f"{row.name}, {target}: the file is at most {row.smaller}x"
            yield Bar(must, f"{share:.3f}", share <= row.smaller)
    if row.smaller_linears is not None:
        share = seeds[0]["onnx"]["linears"]
        must = f"{row.name}: linears of 4 bits, with scales, at most {row.smaller_linears}x"
        yield Bar(must, f"{share:.3f}", share <= row.smaller_linears)
    yield from _speed_bars(row, speed)


def _speed_bars(row: Row, speed: dict[str, Any]) -> Iterator[Bar]:
    least = {**row.faster, "bf16": row.over_bf16, "plain": row.over_plain}
    for key, ratio in speed.items():
        rival, length = key.rsplit("-", 1)
        text = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        least_ratio = least.get(rival)
        against = {"bf16": "OpenVINO in bf16", "plain": "the plain export"}.get(rival)
        where = f"over {against}" if against else f"{rival}, over its own fp32"
        if least_ratio is not None:
            must = f"{row.name}, {length} tokens, {where}: >= {least_ratio}x"
            yield Bar(must, text, ratio["value"] >= least_ratio)
        if row.surely is not None and rival == "onnx":
            must = f"{row.name}, {length} tokens, {where}: interval above {row.surely}"
            yield Bar(must, text, ratio["low"] > row.surely)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _write_table() -> int:
    """Put the table of all results between its markers in docs/results.md."""
    lines = [
        "| model | method | target | points lost [95 %] | answers changed | file | "
        "faster than fp32 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in [candidate for candidate in ROWS if _result(candidate).is_file()]:
        result = json.loads(_result(row).read_text(encoding="utf-8"))
        for target in row.targets:
            lines.append(_line(row, target, [seed[target] for seed in result["seeds"]], result))
    put_table("quantization", lines)
    return 0


def _line(row: Row, target: str, seeds: list[dict[str, Any]], result: dict[str, Any]) -> str:
    first = seeds[0]["lost"]
    lost = f"{_points(first['value'])} [{_points(first['low'])}, {_points(first['high'])}]"
    if len(seeds) > 1:
        mean = _mean(seed["lost"]["value"] for seed in seeds)
        lost += f"; mean of {len(seeds)} seeds {_points(mean)}"
    ratio = result["speed"].get(f"{target}-{row.lengths[0]}")
    times = f"{ratio['value']:.1f}x [{ratio['low']:.1f}, {ratio['high']:.1f}]" if ratio else ""
    share = seeds[0]["bytes"] / seeds[0]["bytes_fp32"]
    changed = _mean(seed["changed"] for seed in seeds)
    method = " ".join(row.options[1::2])
    model = row.base.rsplit("-", 2)[0]
    return f"| `{model}` | {method} | {target} | {lost} | {changed:.1%} | {share:.2f}x | {times} |"


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:.1f}"  # adding 0 takes the sign from -0.0


def _kept_times(row: Row) -> dict[str, Any]:
    """Return the latencies of a result, and what they were measured on."""
    content = json.loads(_result(row).read_text(encoding="utf-8"))
    made_on = {key: content[key] for key in ("machine", "load_average_at_start", "versions")}
    return {
        "speed": content["speed"],
        "speed_measured_on": content.get("speed_measured_on", made_on),
    }


def _result(row: Row) -> Path:
    return HERE / "results" / "quantization" / f"{row.name}.json"


if __name__ == "__main__":
    sys.exit(main())
