"""Is an ONNX file of another tool quantized as well as ONNX Runtime's own tool does it?

    python benchmarks/onnx_files.py minilm                       (6 minutes on two quiet cores)
    python benchmarks/onnx_files.py MODEL --data fashion-mnist   (likewise)

`minilm` is paraphrase-MiniLM-L3 as its authors exported it, whose last output is the vector of
a text; MODEL is a model directory of bmc, which a plain `torch.onnx.export` makes a file
of. The file is quantized on 256 training rows by `bmc quantize FILE --samples`, and by
`quantize_static` of ONNX Runtime with its advice: pre-processing, per-channel weights, uint8
activations, int8 weights. On 200 validation rows the answers are compared with those of the fp32
file: mean cosine similarity and the share of equal classes. All bundles are timed in turn in one
run, each at the better of one and two threads.

Writes benchmarks/results/onnx_files/NAME.json. Exit code 1: bmc's file is further from fp32, or
slower, or less than 1.8 times as fast as fp32.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RUNS, Bar, bmc, finish
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tokenizers import Tokenizer

import bmc as api
from bmc import artifact, assets, workspace
from bmc import data as datasets
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.shown import with_interval

SAMPLES, ROWS, LENGTH = 256, 200, 64
FASTER = 1.8
Tensors = dict[str, NDArray[Any]]


def main() -> int:
    """Make the file, quantize it both ways, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--data", default="movie-reviews")
    options = parser.parse_args()
    os.environ.setdefault("BMC_HOME", str(RUNS / "onnx_files"))
    home = workspace.root()
    home.mkdir(parents=True, exist_ok=True)
    name = options.model if options.model == "minilm" else Path(options.model).name
    file = home / f"{name}.onnx"
    data = datasets.load(options.data)
    train, validation = list(data.train.rows[:SAMPLES]), list(data.validation.rows[:ROWS])
    if options.model == "minilm":
        folder = assets.fetch("minilm-l3")
        file.write_bytes((folder / "paraphrase-MiniLM-L3-v2.onnx").read_bytes())
        words = assets.fetch("minilm") / "tokenizer.json"
        samples, rows = (_tokens(words, part) for part in (train, validation))
    else:
        samples, rows = _plain_export(options.model, file, train, validation)
    arrays: dict[str, Any] = {key: np.stack([s[key] for s in samples]) for key in samples[0]}
    np.savez(home / f"{name}.npz", **arrays)
    peer = home / f"{name}-peer.onnx"
    _quantize_static(file, peer, samples)
    bundles = _bundles(home, name, file, peer)
    reference = _answers(bundles["fp32"], rows)
    agreement = {way: _agreement(_answers(path, rows), reference) for way, path in bundles.items()}
    run = results.measure_bundles(list(bundles.values()), (1, 2), BenchSettings(length=LENGTH))
    best = {row.name: row for row in run.rows if row.best}
    times = {way: best[path.name].p50 for way, path in bundles.items()}
    faster = results.ratio(run, bundles["fp32"].name, bundles["bmc"].name)
    over_peer = results.ratio(run, bundles["quantize_static"].name, bundles["bmc"].name)
    ours, theirs = (agreement[way]["cosine"] for way in ("bmc", "quantize_static"))
    bars = [
        Bar("as near to fp32 as quantize_static", f"{ours:.4f}, {theirs:.4f}", ours >= theirs),
        Bar("as fast as quantize_static", with_interval(over_peer), over_peer.high >= 1),
        Bar("1.8 times as fast as fp32", with_interval(faster), faster.value >= FASTER),
    ]
    content = {
        "agreement": agreement,
        "p50": {way: asdict(p50) if p50 else None for way, p50 in times.items()},
        "bytes": {
            way: sum(f.stat().st_size for f in path.iterdir()) for way, path in bundles.items()
        },
    }
    return finish(f"onnx_files/{name}", bars, content)


def _tokens(words: Path, rows: Sequence[Sequence[str]]) -> list[Tensors]:
    """Return the inputs of each text, int64 (1, LENGTH)."""
    tokenizer = Tokenizer.from_file(str(words))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    encoded = tokenizer.encode_batch([text for (text,) in rows])
    return [
        {
            "input_ids": np.array([text.ids], np.int64),
            "attention_mask": np.array([text.attention_mask], np.int64),
        }
        for text in encoded
    ]


def _plain_export(
    reference: str, file: Path, train: Sequence[Any], validation: Sequence[Any]
) -> tuple[list[Tensors], list[Tensors]]:
    """Export a model as torch does by itself; return the inputs of both parts' rows."""
    model = artifact.load(workspace.find(reference, "model"))
    parts = []
    for part in (train, validation):
        encoded = model.encoder.encode(part)
        batches = [model.encoder.batch(encoded, [index]) for index in range(len(part))]
        parts.append([{key: np.asarray(values) for key, values in b.items()} for b in batches])
    example = {key: torch.from_numpy(values) for key, values in parts[0][0].items()}
    torch.onnx.export(
        model.module.eval(),
        kwargs=example,
        f=file,
        dynamo=True,
        opset_version=18,
        input_names=list(example),
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )
    return parts[0], parts[1]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """What `quantize_static` takes samples from."""

    def __init__(self, samples: Sequence[Tensors]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Tensors | None:
        """Return the next sample; None after the last."""
        return next(self._samples, None)


def _quantize_static(file: Path, output: Path, samples: Sequence[Tensors]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)  # fails on MiniLM
        quantize_static(
            str(prepared),
            str(output),
            _Reader(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _bundles(home: Path, name: str, file: Path, peer: Path) -> dict[str, Path]:
    """Return the bundles for ONNX Runtime: fp32, bmc's 8 bits, and those of `quantize_static`."""
    samples = ("--samples", home / f"{name}.npz", "--force", "--target", "onnx")
    bmc("export", file, *samples)
    bmc("quantize", file, *samples, "--allow-slower")
    bmc("export", peer, *samples)
    return {
        "fp32": home / f"{name}-onnx",
        "bmc": home / f"{name}-int8-onnx",
        "quantize_static": home / f"{name}-peer-onnx",
    }


def _answers(bundle: Path, rows: Sequence[Tensors]) -> list[NDArray[Any]]:
    """Return the last output of each row, which is MiniLM's vector of a text."""
    with api.load(bundle) as model:
        return [list(model(row).values())[-1] for row in rows]


def _agreement(
    answers: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]
) -> dict[str, float]:
    pairs = [(a.ravel(), b.ravel()) for a, b in zip(answers, reference, strict=True)]
    cosines = [float(a @ b / np.sqrt((a @ a) * (b @ b))) for a, b in pairs]
    equal = [float(a.argmax() == b.argmax()) for a, b in pairs]
    return {"cosine": float(np.mean(cosines)), "same_largest": float(np.mean(equal))}


if __name__ == "__main__":
    sys.exit(main())
