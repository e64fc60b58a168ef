"""Is bmc's quantized model as fast and as accurate as those of other quantization tools?

    python benchmarks/quantization_peers.py            (bert; twenty minutes)

All tools quantize the same trained model, and are scored on the same held-out rows:

- bmc's static, in ONNX Runtime and in OpenVINO;
- Optimum: `optimum-cli export onnx`, then `optimum-cli onnxruntime quantize --avx512_vnni`,
  which is ONNX Runtime's `quantize_dynamic`;
- NNCF: `nncf.quantize` with its defaults and the documented model type for
  transformers, of bmc's fp32 OpenVINO model, calibrated on training rows;
- ModelOpt: `modelopt.onnx.quantization.quantize` of the same ONNX file that Optimum starts from,
  calibrated on the same rows; the tool is made for TensorRT, but here ONNX Runtime runs the model;
- torch's dynamic quantization of all linear layers, run by PyTorch;
- torchao's PT2E with its quantizer for x86, calibrated on the same rows, compiled by
`torch.compile`.

Bundles of one runtime are timed alternately in one run; PyTorch and bmc's ONNX bundle alternate
launch by launch. Writes benchmarks/results/quantization_peers.json. Exit code 1: bmc is slower
than a peer, or loses more accuracy, by more than the interval.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RUNS, Bar, bmc, finish
from numpy.typing import NDArray
from peers import modelopt, nncf, optimum, pt2e, torch_dynamic
from peers._bundle import wrapped

from bmc import artifact, workspace
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.data import Dataset
from bmc.inputs import Many, ordered_batches
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.measure.statistics import speed_up
from bmc.model import output_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions

BASE, QUANTIZED = "bert-movie-reviews-0", "quantized-bert-0"
DATA = "movie-reviews"
LENGTHS = (32, 128)
SETTINGS = BenchSettings(1, 32, 5, 6)
LAUNCHES = 5
CALIBRATION_ROWS = 300
AGAINST = {
    "Optimum": "onnx",
    "ModelOpt": "onnx",
    "NNCF": "openvino",
    "torch": "onnx",
    "PT2E": "onnx",
}
Launches = list[list[list[int]]]  # samples in nanoseconds, by turn, by launch
Rows = Sequence[Any]
Sampler = Callable[[int, int], list[int]]  # (threads, tokens) -> samples in nanoseconds
FAR = 100.0  # largest accepted error of a peer's logits: any, because its predictions are scored


def main() -> int:
    """Quantize with each tool, score the models, and time them."""
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    root = workspace.root()
    if not (root / QUANTIZED).is_dir():
        bmc("quantize", BASE, "--method", "static", "-o", root / QUANTIZED)
    for name in (BASE, QUANTIZED):
        missing = [t for t in ("onnx", "openvino") if not (root / f"{name}-{t}").is_dir()]
        if missing:
            bmc("export", name, "--target", ",".join(missing))
    data = datasets.load(DATA)
    chosen = np.random.default_rng(0).permutation(len(data.train.rows))[:CALIBRATION_ROWS]
    rows = [data.train.rows[index] for index in chosen.tolist()]
    exported = RUNS / "exports" / "optimum-bert.onnx"
    exported.parent.mkdir(parents=True, exist_ok=True)
    optimum.export(root / BASE, exported)
    bundled = {
        "Optimum": _optimum(root, exported),
        "ModelOpt": _modelopt(root, exported, rows),
        "NNCF": _nncf(root, rows),
    }
    bundle_of = {peer: root / f"{QUANTIZED}-{target}" for peer, target in AGAINST.items()}
    scores = {
        f"bmc, {target}": _scored(_logits(root / f"{QUANTIZED}-{target}", data), data)
        for target in ("onnx", "openvino")
    }
    scores |= {peer: _scored(_logits(path, data), data) for peer, path in bundled.items()}
    module = torch_dynamic.quantized(root / BASE)
    scores["torch"] = _scored(_pytorch_logits(module, root / BASE, data), data)
    ids, work = _ids(root, rows), RUNS / "exports" / "pt2e"
    scores["PT2E"] = _scored(
        pt2e.logits_of(root / BASE, ids, _ids(root, data.test.rows), work), data
    )
    few = ids[:8]  # enough for timing
    timed: dict[str, Sampler] = {
        "torch": lambda threads, length: torch_dynamic.samples(root / BASE, threads, length),
        "PT2E": lambda threads, length: pt2e.samples(root / BASE, few, work, threads, length),
    }
    speed: dict[str, Any] = {}
    for length in LENGTHS:
        for peer, path in bundled.items():
            speed[f"{peer}-{length}"] = _in_turn(bundle_of[peer], path, length)
        for peer, sampler in timed.items():
            speed[f"{peer}-{length}"] = _by_turns(bundle_of[peer], sampler, length)
    parts = {"bmc, onnx": bundle_of["Optimum"], "bmc, openvino": bundle_of["NNCF"], **bundled}
    sizes = {name: bundles.read(path).model_size() for name, path in parts.items()}
    content = {"scores": scores, "speed": speed, "bytes": sizes}
    return finish("quantization_peers", _bars(scores, speed), content)


def _ids(root: Path, rows: Many) -> list[NDArray[np.int64]]:
    """Return the token ids of each row, without padding."""
    encoder = bundles.read(root / f"{BASE}-onnx").encoder
    encoded = encoder.encode(rows)
    return [encoder.batch(encoded, [index])["input_ids"][0] for index in range(len(rows))]


def _optimum(root: Path, exported: Path) -> Path:
    path = exported.with_name("optimum-bert-dynamic.onnx")
    optimum.quantize_dynamic(exported, path)
    return wrapped(
        path, bundles.read(root / f"{BASE}-onnx"), exported.with_name("optimum-int8"), FAR
    )


def _modelopt(root: Path, exported: Path, rows: Rows) -> Path:
    path = exported.with_name("modelopt-bert.onnx")
    names = ("input_ids", "attention_mask", "token_type_ids")
    whole = [
        dict(zip(names, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
        for ids in (ids[None] for ids in _ids(root, rows))
    ]
    modelopt.quantize(exported, whole, path)
    return wrapped(
        path, bundles.read(root / f"{BASE}-onnx"), exported.with_name("modelopt-int8"), FAR
    )


def _nncf(root: Path, rows: Rows) -> Path:
    base_bundle, path = bundles.read(root / f"{BASE}-openvino"), RUNS / "exports" / "nncf-bert.xml"
    encoded = base_bundle.encoder.encode(rows)
    batches = [base_bundle.encoder.batch(encoded, [index]) for index in range(len(rows))]
    nncf.quantize(base_bundle.model_path, batches, path)
    return wrapped(path, base_bundle, path.with_name("nncf-int8"), FAR)


def _logits(folder: Path, data: Dataset) -> NDArray[np.float32]:
    encoder = bundles.read(workspace.root() / f"{BASE}-onnx").encoder
    logits = np.empty((len(data.test.rows), 2), np.float32)
    with Pipeline(bundles.read(folder), RuntimeOptions()) as pipeline:
        names = [info.name for info in pipeline.bundle.manifest.inputs]
        encoded = encoder.encode(data.test.rows)
        for places, arrays in ordered_batches(encoder, encoded, 1):
            zeros = np.zeros_like(arrays["input_ids"])
            all_inputs = {name: arrays.get(name, zeros) for name in names}
            logits[places] = pipeline.session.run(all_inputs)["logits"]
    return logits


@torch.inference_mode()
def _pytorch_logits(module: torch.nn.Module, folder: Path, data: Dataset) -> NDArray[np.float32]:
    encoder = artifact.load(folder).encoder
    encoded = encoder.encode(data.test.rows)
    logits = np.empty((len(data.test.rows), 2), np.float32)
    for places, arrays in ordered_batches(encoder, encoded, 1):
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        logits[places] = output_of(module, inputs).float().numpy()
    return logits


def _scored(logits: NDArray[np.float32], data: Dataset) -> dict[str, Any]:
    """Compare logits with those of the fp32 ONNX bundle on the same rows."""
    base_outputs = np.load(workspace.root() / f"{BASE}-onnx" / bundles.EVALUATION)
    labels = np.asarray(data.test.labels)
    if not np.array_equal(labels, base_outputs["labels"]):
        sys.exit("the bundle was scored on other rows")
    lost = scores.lost("classification", logits, base_outputs["logits"], labels)
    changed = logits.argmax(axis=1) != base_outputs["logits"].argmax(axis=1)
    return {
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "lost": asdict(lost),
        "changed": float(changed.mean()),
    }


def _in_turn(bundle: Path, peer: Path, length: int) -> dict[str, Any]:
    """Time two bundles alternately, and return how many times faster bmc's bundle is."""
    settings = BenchSettings(1, length, SETTINGS.launches, SETTINGS.rounds)
    run = results.measure_bundles([peer, bundle], (1, 2), settings)
    results.save(run, workspace.root() / ".bench" / f"{peer.name}-{length}.json")
    best = [row for row in run.rows if row.best]
    ratio = results.ratio(run, peer.name, bundle.name)
    return {**asdict(ratio), "p50": [row.p50.value if row.p50 else None for row in best]}


def _by_turns(bundle: Path, sampler: Sampler, length: int) -> dict[str, Any]:
    """Time a bundle and a program in alternating launches, each with its better thread count."""
    settings = BenchSettings(1, length, 2, 2)  # the smallest accepted numbers
    bundle_times: dict[int, Launches] = {1: [], 2: []}
    ours: dict[int, Launches] = {1: [], 2: []}
    for _ in range(LAUNCHES):
        run = results.measure_bundles([bundle], tuple(ours), settings)
        for threads, samples in zip(ours, run.samples, strict=True):
            calls = chain.from_iterable(chain.from_iterable(samples.nanoseconds))
            ours[threads].append([list(calls)])
            bundle_times[threads].append([sampler(threads, length)])
    best = [min(launches.values(), key=_median) for launches in (bundle_times, ours)]
    return {**asdict(speed_up(*best)), "p50": [_median(launches) / 1e6 for launches in best]}


def _median(launches: Launches) -> float:
    return float(np.median(np.concatenate([turn for launch in launches for turn in launch])))


def _bars(scores: dict[str, Any], speed: dict[str, Any]) -> list[Bar]:
    bars = []
    for peer, target in AGAINST.items():
        bmc_score, peer_score = scores[f"bmc, {target}"], scores[peer]
        text = f"{bmc_score['accuracy']:.4f} against {peer_score['accuracy']:.4f}"
        met = (
            bmc_score["lost"]["low"] <= peer_score["lost"]["high"]
            and bmc_score["accuracy"] >= peer_score["accuracy"]
        )
        bars.append(Bar(f"bmc is as accurate as {peer}", text, met))
        for length in LENGTHS:
            ratio = speed[f"{peer}-{length}"]
            text = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            must = f"bmc is at least as fast as {peer} at {length} tokens"
            bars.append(Bar(must, text, ratio["high"] >= 1))
    return bars


if __name__ == "__main__":
    sys.exit(main())
