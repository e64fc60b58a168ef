"""Is what `bmc compress` finds behind what the searches and defaults of other tools find?

    python benchmarks/search_peers.py cnn         (resnet18 or lstm; 25 minutes after search.py)

The peers take the same exported model, the same budgets, and as long as bmc's search may take; they
calibrate with 300 training rows and score by the validation rows:

- Olive: its search over the settings of its quantization pass, with its TPE sampler; the fastest
  model whose accuracy falls by no more than the budget. Its ONNX file runs in OpenVINO, as bmc's
  models do, and in ONNX Runtime, for which it is made;
- NNCF: `nncf.quantize` with its defaults, which is also what Optimum Intel calls;
- NNCF: `nncf.quantize_with_accuracy_control`, whose largest drop is the budget.

bmc's models are those of `search.py --row NAME --seed 0`, whose folders must be there. All are
scored on the test rows, and timed in turn with each of bmc's models. Peers run in environments of
their own, which are made first (1.3 GB); nothing else may run on the machine. --keep takes the
files of peers that a stopped run has made. A peer whose file OpenVINO cannot load has no model for
it; Olive's is compared in ONNX Runtime in any case.

Writes benchmarks/results/search_peers/NAME.json. Exit code 1: a peer's model within the budgets of
size and latency has no model of bmc's beside it that is as small, as fast and as accurate, each
within the interval; or a peer failed, so that nothing can be compared with it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _common import RUNS, Bar, bmc, finish
from _search_rows import ROWS, TARGET, Row
from peers import nncf_control, olive
from peers._bundle import replaced
from peers.labeled import Arrays, LabeledRows

from bmc import bundle as bundles
from bmc import data as datasets
from bmc import workspace
from bmc.bundle import Bundle
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.inputs import Many
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.measure.shown import with_interval
from bmc.pipeline import Pipeline
from bmc.search.budgets import Limits, Measured
from bmc.search.result import Found, read
from bmc.targets import RuntimeOptions

CALIBRATION_ROWS = 300
SETTINGS = BenchSettings(launches=5, rounds=6, most_launches=15)
_UNREAD = "OpenVINO cannot read its file"
_NONE = "it finds no model within the budget of the accuracy"
_AS_LARGE = 1.02  # times a peer's size: a file's names and notes take as much


def main() -> int:
    """Let the peers search, and compare what they find with what bmc found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("row", choices=[row.name for row in ROWS if row.data != "movie-reviews"])
    parser.add_argument("--keep", action="store_true", help="take the files of a stopped run")
    options = parser.parse_args()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    row = next(row for row in ROWS if row.name == options.row)
    found = read(workspace.root() / f"{row.name}-search-0-search")
    if found is None:
        sys.exit(f"python benchmarks/search.py --row {row.name} --seed 0 comes first")
    data = datasets.load(row.data)
    bases = {target: _base(row, target) for target in (TARGET, "onnx")}
    rows = _rows(data, bases[TARGET])
    made, failed = _made(row, bases, rows, options.keep)
    reference = _outputs(bases[TARGET].path, data)
    content: dict[str, Any] = {"row": asdict(row), "failed": failed, "peers": {}}
    bars = [
        Bar(f"{row.name}: {name} runs to its end", reason, reason.startswith((_NONE, _UNREAD)))
        for name, reason in failed.items()
    ]
    for name, path in made.items():
        compared = _compared(path, bases, found, data, reference)
        content["peers"][name] = compared
        bars.append(_bar(name, compared, row, found))
    content["bmc"] = found.to_json()["winners"]
    text = json.dumps(content).replace(f"{RUNS.parent.parent}{os.sep}", "")  # no machine's paths
    return finish(f"search_peers/{row.name}", bars, json.loads(text))


def _base(row: Row, target: str) -> Bundle:
    path = workspace.root() / f"{row.model}-{target}"
    if not path.is_dir():
        bmc("export", row.model, "--target", target)
    return bundles.read(path)


def _rows(data: Dataset, base: Bundle) -> LabeledRows:
    chosen = np.random.default_rng(0).permutation(len(data.train.rows))[:CALIBRATION_ROWS]
    calibration = [data.train.rows[int(index)] for index in chosen]
    labels = np.asarray(data.validation.labels, np.int64)
    parts = [_arrays(base, rows) for rows in (calibration, data.validation.rows)]
    return LabeledRows(parts[0], parts[1], labels, len(data.labels))


def _arrays(base: Bundle, rows: Many) -> Arrays:
    """Return the inputs of rows, (rows, ...) by name; all rows have the same size."""
    encoded = base.encoder.encode(rows)
    return dict(base.encoder.batch(encoded, list(range(len(rows)))))


def _made(
    row: Row, bases: dict[str, Bundle], rows: LabeledRows, keep: bool
) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the bundle of each peer by name, and why the others have none."""
    folder = RUNS / "search-peers"
    folder.mkdir(parents=True, exist_ok=True)
    source, onnx = bases[TARGET].model_path, bases["onnx"].model_path
    by_olive = folder / f"{row.name}-olive.onnx"
    by_nncf, controlled = (folder / f"{row.name}-nncf{suffix}.xml" for suffix in ("", "-control"))
    if not keep:
        by_olive.unlink(missing_ok=True)
    runs: dict[str, Callable[[], object]] = {
        "Olive": lambda: olive.search(onnx, rows, by_olive, row.minutes, row.max_drop),
        "NNCF": lambda: nncf_control.quantize(source, rows, by_nncf, None),
        "NNCF with accuracy control": lambda: nncf_control.quantize(
            source, rows, controlled, row.max_drop
        ),
    }
    paths = {"Olive": by_olive, "NNCF": by_nncf, "NNCF with accuracy control": controlled}
    made, failed = {}, {}
    for name, run in runs.items():
        started = time.monotonic()
        try:
            if not (keep and paths[name].is_file()):
                print(f"{name}: {run() or 'done'}", file=sys.stderr)
        except subprocess.CalledProcessError as error:
            failed[name] = (error.stderr or "").strip().splitlines()[-1][:300]
            continue
        if not paths[name].is_file():
            failed[name] = _NONE
            continue
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        try:
            made[name] = replaced(paths[name], bases[TARGET], paths[name].with_suffix(""))
        except RuntimeError as error:
            unread = re.search(r"No conversion rule found for operations: (.*)", str(error))
            if unread is None:
                raise
            failed[name] = f"{_UNREAD}: {unread[1]}"
        except ArtifactError as error:
            if not str(error).startswith("OpenVINO cannot load"):
                raise
            failed[name] = f"{_UNREAD}: {str(error).partition(': ')[2][:200]}"
    if by_olive.is_file():
        in_onnx = by_olive.with_name(f"{row.name}-olive-in-onnx")
        made["Olive, in ONNX Runtime"] = replaced(by_olive, bases["onnx"], in_onnx)
    return made, failed


def _outputs(folder: Path, data: Dataset) -> np.ndarray[Any, np.dtype[np.float32]]:
    with Pipeline(bundles.read(folder), RuntimeOptions()) as pipeline:
        return pipeline.outputs(data.test.rows)


def _compared(
    path: Path, bases: dict[str, Bundle], found: Found, data: Dataset, reference: Any
) -> dict[str, Any]:
    """Score a peer's model on the test rows, and time it in turn with the base and bmc's models."""
    labels = np.asarray(data.test.labels)
    outputs = _outputs(path, data)
    ours = [winner.bundle for winner in found.winners]
    base = bases[TARGET].path
    run = results.measure_bundles([base, path, *ours], (1, 2), SETTINGS)
    results.save(run, workspace.root() / ".bench" / f"{path.name}.json")
    latencies = {row.name: row.p50.value for row in run.rows if row.best and row.p50}
    beside = [
        {
            "bundle": str(bundle),
            "bytes": bundles.read(bundle).model_size(),
            "faster": asdict(results.ratio(run, path.name, bundle.name)),
            "lost": asdict(scores.lost("classification", _outputs(bundle, data), outputs, labels)),
        }
        for bundle in ours
    ]
    return {
        "bytes": bundles.read(path).model_size(),
        "milliseconds": latencies[path.name],
        "base_milliseconds": latencies[base.name],
        "lost": asdict(scores.lost("classification", outputs, reference, labels)),
        "bmc": beside,
    }


def _bar(name: str, compared: dict[str, Any], row: Row, found: Found) -> Bar:
    """Judge whether one of bmc's models is as small, as fast and as accurate as a peer's."""
    base = Measured(0.0, found.base.bytes, compared["base_milliseconds"])
    limits = found.budgets.limits(base)
    measured = Measured(
        100 * compared["lost"]["value"], compared["bytes"], compared["milliseconds"]
    )
    must = f"{row.name}: a model of bmc's is as small, fast and accurate as {name}'s"
    lost = with_interval(scores.Interval(**compared["lost"]), 100)
    shown = f"{measured.bytes / 1e6:.3g} MB, {measured.milliseconds:.3g} ms, {lost} points lost"
    if missed := _missed(limits, measured):
        return Bar(must, f"{shown}: misses the budget of {missed}", True)
    is_met = any(
        each["bytes"] <= _AS_LARGE * measured.bytes
        and each["faster"]["high"] >= 1
        and each["lost"]["low"] <= 0
        for each in compared["bmc"]
    )
    return Bar(must, f"{shown}; bmc's: {_shown(compared['bmc'])}", is_met)


def _missed(limits: Limits, measured: Measured) -> str:
    names = [name for name in ("size", "latency") if limits.excess(measured, (name,))]
    return " and ".join(names)


def _shown(beside: Sequence[dict[str, Any]]) -> str:
    parts = []
    for each in beside:
        faster = with_interval(scores.Interval(**each["faster"]))
        lost = with_interval(scores.Interval(**each["lost"]), 100)
        parts.append(f"{each['bytes'] / 1e6:.3g} MB, {faster} times as fast, {lost} points less")
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
