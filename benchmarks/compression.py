"""How much size and latency do pruning and sharing save, and how much accuracy do they cost?

    python benchmarks/compression.py                   (every row that has no result yet; hours)
    python benchmarks/compression.py --row lstm        (one row; make bench-compression ROW=lstm)
    python benchmarks/compression.py --row bert-5x --no-speed   (leave latencies as they were)
    python benchmarks/compression.py --row bert-layers --more   (the seeds its result lacks)
    python benchmarks/compression.py --table           (docs/results.md's table, from the results)

A row takes a baseline (of baselines.py; trained first if missing), runs a chain of `bmc prune` and
`bmc share` on it, exports the baseline and the final model to ONNX and OpenVINO, and compares the
predictions of the bundles on the held-out rows. Points lost are a difference on the same rows; the
images of generators are compared by Fréchet distance, as in gan.py. Latencies are measured
alternately in one run, on a machine where nothing else runs. Settings were chosen on validation
rows. A row's result is written to results/compression/ROW.json. Exit code 1: a requirement is not
met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, RUNS, Bar, bmc, finish, put_table, short
from _compression_rows import ROWS, TEACHER, Row
from gan import drawn, features

from bmc import artifact, workspace
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.inspect.collect import costs_at
from bmc.measure import results, scores
from bmc.measure.frechet import frechet_distance
from bmc.measure.latency import BenchSettings

TARGETS = ("onnx", "openvino")
LAUNCHES, ROUNDS = 5, 6
JUDGE = "cnn-fashion-mnist-0"


def main() -> int:
    """Run the selected rows, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--row", help="such as lstm")
    parser.add_argument("--again", action="store_true", help="measure rows that have a result too")
    parser.add_argument("--no-speed", action="store_true", help="leave latencies as they were")
    parser.add_argument("--more", action="store_true", help="measure the seeds a result lacks")
    parser.add_argument("--table", action="store_true", help="write docs/results.md's table")
    options = parser.parse_args()
    if options.table:
        return _write_table()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    selected = [row for row in ROWS if options.row in (None, row.name)]
    if not selected:
        sys.exit(f"no row {options.row}; there are {', '.join(row.name for row in ROWS)}")
    again = options.again or options.no_speed or options.more
    timed = not (options.no_speed or options.more)
    codes = [
        _measure(row, timed, options.more)
        for row in selected
        if again or not _result(row).is_file()
    ]
    return max(codes, default=0)


def _measure(row: Row, timed: bool, more: bool) -> int:
    seed_results = list(_read_result(row)["seeds"]) if more and _result(row).is_file() else []
    seed_results += [_seed(row, seed) for seed in range(len(seed_results), row.seeds)]
    if _result(row).is_file() and not timed:
        speed = _read_result(row)["speed"]
    else:
        speed = _speed(row) if row.faster else None
    seeds = f", mean of {row.seeds} seeds" if row.seeds > 1 else ""
    means, bars = {}, []
    if row.most_lost is not None:
        lost = means["mean_lost_points"] = 100 * _mean(
            seed_result["lost"]["onnx"]["value"] for seed_result in seed_results
        )
        requirement = f"{row.name}: at most {row.most_lost:.3g} points lost{seeds}"
        bars.append(Bar(requirement, f"{lost:.2f}", lost <= row.most_lost))
    if row.farther is not None:
        far = means["mean_farther"] = _mean(seed_result["farther"] for seed_result in seed_results)
        requirement = f"{row.name}: images at most {row.farther:g}x as far from real ones{seeds}"
        bars.append(Bar(requirement, f"{far:.3f}", far <= row.farther))
    first = seed_results[0]
    for measure, least in row.fewer:
        ratio = first["before"][measure] / first["after"][measure]
        requirement = f"{row.name}: >= {least:g}x fewer {measure.replace('_', ' ')}"
        bars.append(Bar(requirement, f"{ratio:.2f}", ratio >= least))
    if row.faster and speed:
        for target in TARGETS:
            ratio = speed[target]["value"]
            low, high = speed[target]["low"], speed[target]["high"]
            requirement = f"{row.name}: p50 in {target} >= {row.faster}x lower"
            bars.append(
                Bar(requirement, f"{ratio:.2f} [{low:.2f}, {high:.2f}]", ratio >= row.faster)
            )
    content = {"row": asdict(row), **means, "speed": speed, "seeds": seed_results}
    return finish(f"compression/{row.name}", bars, content)


def _seed(row: Row, seed: int) -> dict[str, Any]:
    """Train, compress, export and compare both models; existing models are reused."""
    base = f"{row.model}-{row.data}-{seed}"
    if not (workspace.root() / base).is_dir():
        bmc("train", row.model, "--data", row.data, "--seed", seed, "-o", workspace.root() / base)
    arguments = [argument for step in row.steps for argument in step]
    if TEACHER in arguments and not (workspace.root() / TEACHER).is_dir():
        bmc("train", "mpnet", "--data", row.data, "-o", workspace.root() / TEACHER)
    names = [base]
    for number, (verb, *options) in enumerate(row.steps, start=1):
        names.append(f"{row.name}-{seed}-step{number}")
        if not (workspace.root() / names[-1]).is_dir():
            output = workspace.root() / names[-1]
            bmc(verb, names[-2], *options, "--seed", seed, "-o", output)
    for name in (base, names[-1]):
        missing = [
            target for target in TARGETS if not (workspace.root() / f"{name}-{target}").is_dir()
        ]
        if missing:
            bmc("export", name, "--target", ",".join(missing))
    before, after = (_size(name, row.tokens) for name in (base, names[-1]))
    compared = _accuracies(base, names[-1]) if row.farther is None else _images(base, names[-1])
    return {
        "seed": seed,
        "before": before,
        "after": after,
        **compared,
        "steps": [asdict(step) for step in artifact.load(workspace.root() / names[-1]).steps],
    }


def _size(name: str, tokens: int) -> dict[str, float]:
    """Return the parameters, MACs and file sizes of a model and its bundles."""
    folder = workspace.root() / name
    costs = costs_at(artifact.load(folder), tokens, runs=1)
    in_encoder = [layer.parameters for layer in costs.layers if ".encoder." in f".{layer.path}."]
    return {
        "parameters": costs.parameters,
        "encoder_parameters": sum(in_encoder),
        "macs": costs.macs,
        "weights_bytes": (folder / "model.safetensors").stat().st_size,
        **{
            f"{'model' if target == 'onnx' else target}_bytes": _bundle(name, target).model_size()
            for target in TARGETS
        },
    }


def _accuracies(base: str, name: str) -> dict[str, Any]:
    """Compare the accuracies of two classifiers' bundles on the held-out rows."""
    return {
        "accuracy": {target: _accuracy(name, target) for target in TARGETS},
        "accuracy_before": _accuracy(base, "onnx"),
        "lost": {target: _lost(base, name, target) for target in TARGETS},
    }


def _images(base: str, name: str) -> dict[str, Any]:
    """Compare the distances of two generators' images from the held-out images."""
    if not (workspace.root() / JUDGE).is_dir():
        bmc("train", "cnn", "--data", "fashion-mnist", "-o", workspace.root() / JUDGE)
    judge = artifact.load(workspace.root() / JUDGE)
    real = features(judge, np.asarray(datasets.load("fashion-mnist").test.rows))
    before, after = (
        frechet_distance(features(judge, drawn(_bundle(bundle_name, "onnx"))), real)
        for bundle_name in (base, name)
    )
    return {"distance_before": before, "distance": after, "farther": after / before}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _bundle(name: str, target: str) -> bundles.Bundle:
    return bundles.read(workspace.root() / f"{name}-{target}")


def _accuracy(name: str, target: str) -> Any:
    return _bundle(name, target).manifest.scores["accuracy"]


def _lost(base: str, name: str, target: str) -> dict[str, float]:
    """Return the accuracy lost against the baseline's ONNX bundle, on the same rows."""
    base_logits, pruned_logits = (
        np.load(workspace.root() / folder / bundles.EVALUATION)
        for folder in (f"{base}-onnx", f"{name}-{target}")
    )
    return asdict(
        scores.lost(
            "classification",
            pruned_logits["logits"],
            base_logits["logits"],
            pruned_logits["labels"],
        )
    )


def _speed(row: Row) -> dict[str, Any]:
    """Measure both bundles of seed 0 alternately in one run, in each target."""
    measures = {}
    for target in TARGETS:
        names = (f"{row.model}-{row.data}-0", f"{row.name}-0-step{len(row.steps)}")
        folders = [workspace.root() / f"{name}-{target}" for name in names]
        settings = BenchSettings(1, row.tokens, LAUNCHES, ROUNDS)
        run = results.measure_bundles(folders, (1, 2), settings)
        results.save(run, workspace.root() / ".bench" / f"{row.name}-{target}.json")
        best = [candidate for candidate in run.rows if candidate.best]
        measures[target] = {
            **(asdict(best[1].speed_up) if best[1].speed_up else {}),
            "p50": [candidate.p50.value if candidate.p50 else None for candidate in best],
            "threads": [candidate.threads for candidate in best],
        }
    return measures


def _write_table() -> int:
    """Put the table of all results between its markers in docs/results.md."""
    lines = [
        "| model | what was done | points lost [95 %] | parameters | MACs | ONNX file | "
        "faster: ONNX Runtime, OpenVINO |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if _result(row).is_file():
            lines.append(_line(json.loads(_result(row).read_text(encoding="utf-8"))))
    put_table("compression", lines)
    return 0


def _line(result: dict[str, Any]) -> str:
    row, first = result["row"], result["seeds"][0]
    if row.get("farther") is None:
        lost = first["lost"]["onnx"]
        text = f"{100 * lost['value']:.1f} [{100 * lost['low']:.1f}, {100 * lost['high']:.1f}]"
        if row["seeds"] > 1:
            text += f"; mean of {row['seeds']} seeds {result['mean_lost_points']:.1f}"
    else:
        text = f"Fréchet distance {result['mean_farther']:.2f}x"
    speed = result["speed"]
    times = ", ".join(f"{speed[target]['value']:.1f}x" for target in TARGETS) if speed else ""
    sizes = [
        f"{short(first['before'][key])} -> {short(first['after'][key])}"
        for key in ("parameters", "macs", "model_bytes")
    ]
    done = " + ".join(step["method"].partition("/")[2] for step in first["steps"])
    if "cluster" in done:  # its parameters are codebook values, so their number is not comparable
        sizes[0] = "codebooks"
    return f"| `{row['model']}` | {done} | {text} | {' | '.join(sizes)} | {times} |"


def _read_result(row: Row) -> dict[str, Any]:
    return dict(json.loads(_result(row).read_text(encoding="utf-8")))


def _result(row: Row) -> Path:
    return HERE / "results" / "compression" / f"{row.name}.json"


if __name__ == "__main__":
    sys.exit(main())
