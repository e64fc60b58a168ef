"""Is an ONNX file of another tool quantized as well as other quantization tools do it?

    python benchmarks/onnx_files.py minilm                       (10 minutes on two quiet cores)
    python benchmarks/onnx_files.py resnet18                     (or mobilenet-v2-224, lstm)
    python benchmarks/onnx_files.py MODEL --data fashion-mnist   (any model directory)
    python benchmarks/onnx_files.py resnet18 --trial             (a minute; its numbers say nothing)

`minilm` is paraphrase-MiniLM-L3 as its authors exported it, whose last output is the vector of a
text. The others are models of bmc (those of baselines.py; trained first if they are missing), which
a plain `torch.onnx.export` makes files of. Each file is quantized on 256 training rows, for ONNX
Runtime and OpenVINO:

- `bmc quantize FILE --samples`;
- `quantize_static` of ONNX Runtime with its advice: pre-processing, per-channel weights, uint8
  activations, int8 weights (7 bits on x86 processors without VNNI, as it advises, and bmc's too);
- `nncf.quantize` of the ONNX file with its defaults, and its settings for transformers;
- `modelopt.onnx.quantization.quantize`, made for TensorRT;
- Optimum's ORTQuantizer, static, for AVX-512 VNNI.

The last three run in environments of their own. Those that exist are used, in this folder's `peers`
or in the one of --environments; --peers names others, whose environments are made (1 GB each).

On 200 validation rows the answers are compared with those of the fp32 file, and scored where there
are labels. All bundles of a runtime are timed in turn in one run, each at the better of one and two
threads. A peer's file that fails is in the result with the reason.

Writes benchmarks/results/onnx_files/NAME.json. Exit code 1: bmc's file is further from fp32 than a
peer's or less accurate, slower, or, where the processor has VNNI, less than 1.8 times as fast as
fp32.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _common import RUNS, Bar, finish
from _onnx_rows import LENGTH, NAMES, ExportedFile, Tensors, minilm, plain_export, trained
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from peers import onnx_static

import bmc as api
from bmc import processor, workspace
from bmc.bundle import read
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.measure.shown import with_interval

SAMPLES, ROWS = 256, 200
TRIAL_SAMPLES, TRIAL_ROWS = 16, 20
FASTER = 1.8
FP32, OURS, STATIC = "fp32", "bmc", "quantize_static"
_DEVIATIONS = 1.96  # standard errors of a 95 % interval
Bundles = dict[str, Path]
Answers = Sequence[NDArray[Any]]


def main() -> int:
    """Make the file, quantize it in each way, and compare."""
    options = _options()
    os.environ.setdefault(
        "BMC_HOME", str(RUNS / ("onnx_trials" if options.trial else "onnx_files"))
    )
    home = workspace.root()
    home.mkdir(parents=True, exist_ok=True)
    name = options.model if options.model in NAMES else Path(options.model).name
    file = _file(options, home / f"{name}.onnx")
    peers, failures = _peers(file, options.peers)
    content: dict[str, Any] = {"samples": len(file.samples), "rows": len(file.rows)}
    bars: list[Bar] = []
    for target in options.targets.split(","):
        bundles, refused = _bundles(file, peers, target)
        figures, target_bars = _compared(file, bundles, target, options.trial)
        content[target] = {**figures, "refused": refused}
        bars += target_bars
    content["failed"] = failures
    return finish(f"onnx_files/{name}{'-trial' if options.trial else ''}", bars, content)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help=f"{', '.join(NAMES)}, or a model directory")
    parser.add_argument("--data", default="movie-reviews", help="data of a model directory")
    parser.add_argument("--targets", default="onnx,openvino")
    parser.add_argument("--peers", help=f"of {', '.join(onnx_static.PEERS)}; 'none' for none")
    parser.add_argument("--environments", help="folder of the peers' environments")
    parser.add_argument("--trial", action="store_true", help="few rows, an untrained model")
    options = parser.parse_args()
    if options.environments:
        os.environ["BMC_PEERS"] = str(Path(options.environments).absolute())
    if options.peers is None:
        options.peers = onnx_static.made_peers()
    else:
        options.peers = [peer for peer in options.peers.split(",") if peer != "none"]
    return options


def _file(options: argparse.Namespace, path: Path) -> ExportedFile:
    counts = (TRIAL_SAMPLES, TRIAL_ROWS) if options.trial else (SAMPLES, ROWS)
    if options.model == "minilm":
        return minilm(path, *counts)
    if options.model in NAMES:
        model, data = trained(options.model, options.trial)
    else:
        model, data = workspace.find(options.model, "model"), options.data
    return plain_export(model, data, path, *counts)


def _peers(file: ExportedFile, names: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Quantize a file with each peer; return the files, and the reasons of failures."""
    makers: dict[str, Callable[[Path], None]] = {STATIC: partial(_quantize_static, file)}
    makers |= {name: partial(_quantize_by, name, file) for name in names}
    files: dict[str, Path] = {}
    failures: dict[str, str] = {}
    for name, make in makers.items():
        path = file.path.with_name(f"{file.path.stem}-{name}.onnx")
        print(f"{name}: quantizing", flush=True)
        try:
            make(path)
            files[name] = path
        except subprocess.CalledProcessError as error:
            failures[name] = _last_line(str(error.stderr))
        except Exception as error:  # noqa: BLE001  a peer may raise any error
            failures[name] = f"{type(error).__name__}: {error}"
    return files, failures


def _last_line(text: str) -> str:
    """Return the last line of a traceback, which holds no paths of this machine."""
    return text.strip().rpartition("\n")[2][-500:]


def _quantize_by(peer: str, file: ExportedFile, output: Path) -> None:
    onnx_static.quantize(peer, file.path, file.samples, output, file.is_transformer)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """What `quantize_static` takes samples from."""

    def __init__(self, samples: Sequence[Tensors]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Tensors | None:
        """Return the next sample; None after the last."""
        return next(self._samples, None)


def _quantize_static(file: ExportedFile, output: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic shape inference fails on MiniLM.
        quant_pre_process(str(file.path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(output),
            _Reader(file.samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=processor.saturates_int8(),
        )


def _bundles(
    file: ExportedFile, peers: dict[str, Path], target: str
) -> tuple[Bundles, dict[str, str]]:
    """Return a target's bundles of the file in fp32, of bmc's and of the peers', and refusals."""
    bundles: Bundles = {}
    refused: dict[str, str] = {}
    for way, path in {FP32: file.path, OURS: file.path, **peers}.items():
        output = workspace.root() / f"{file.path.stem}-{way}-{target}"
        model = api.open(path)
        if not isinstance(model, api.OnnxHandle):
            raise TypeError(f"{path} is not an ONNX file")
        try:
            if way == OURS:
                model.quantize(
                    target,
                    samples=file.samples,
                    weight_bits=7 if processor.saturates_int8() else 8,
                    output=output,
                    force=True,
                    allow_slower=True,
                )
            else:
                model.to(target, samples=file.samples, output=output, force=True)
            bundles[way] = output
        except api.BmcError as error:
            if way in (FP32, OURS):
                raise
            refused[way] = str(error).replace(f"{workspace.root()}{os.sep}", "")
    return bundles, refused


def _compared(
    file: ExportedFile, bundles: Bundles, target: str, trial: bool
) -> tuple[dict[str, Any], list[Bar]]:
    """Return the figures of a target's bundles, and what bmc's must reach."""
    answers = {way: _answers(path, file.rows) for way, path in bundles.items()}
    agreement = {way: _agreement(each, answers[FP32]) for way, each in answers.items()}
    settings = BenchSettings(1, LENGTH, 2, 2) if trial else BenchSettings(length=LENGTH)
    run = results.measure_bundles(list(bundles.values()), (1, 2), settings)
    best = {row.name: row.p50 for row in run.rows if row.best}
    names = {way: path.name for way, path in bundles.items()}
    faster = {way: results.ratio(run, names[way], names[OURS]) for way in bundles if way != OURS}
    right = {way: _right(each, file.labels) for way, each in answers.items()}
    figures = {
        "agreement": agreement,
        "accuracy": {
            way: each if each is None else float(each.mean()) for way, each in right.items()
        },
        "p50": {way: asdict(p50) if (p50 := best[name]) else None for way, name in names.items()},
        "bmc_over": {way: asdict(ratio) for way, ratio in faster.items()},
        "bytes": {way: read(path).model_size() for way, path in bundles.items()},
    }
    bars = []
    for peer in [way for way in bundles if way not in (FP32, OURS)]:
        must, found, met = _accuracy_bar(agreement, right, peer)
        bars.append(Bar(f"{target}: {must}", found, met))
        ratio = faster[peer]
        bars.append(Bar(f"{target}: as fast as {peer}", with_interval(ratio), ratio.high >= 1))
    over_fp32 = faster[FP32]
    must = f"{target}: {FASTER} times as fast as fp32"
    if not processor.saturates_int8():
        bars.append(Bar(must, with_interval(over_fp32), over_fp32.value >= FASTER))
    return figures, bars


def _accuracy_bar(
    agreement: dict[str, dict[str, float]], right: dict[str, NDArray[np.bool_] | None], peer: str
) -> tuple[str, str, bool]:
    """Return what is required against a peer, what was found, and whether it is enough."""
    ours, theirs = right[OURS], right[peer]
    if ours is None or theirs is None:
        cosines = [agreement[way]["cosine"] for way in (OURS, peer)]
        found = f"cosine {cosines[0]:.4f}, {cosines[1]:.4f}"
        return f"as near to fp32 as {peer}", found, cosines[0] >= cosines[1]
    won = _mean_of(100 * (ours.astype(np.float64) - theirs))
    return f"as accurate as {peer}", f"{with_interval(won)} points more", won.high >= 0


def _mean_of(values: NDArray[np.float64]) -> Interval:
    mean, error = float(values.mean()), float(values.std() / np.sqrt(len(values)))
    return Interval(mean, mean - _DEVIATIONS * error, mean + _DEVIATIONS * error)


def _answers(bundle: Path, rows: Sequence[Tensors]) -> list[NDArray[Any]]:
    """Return the last output of each row, which is MiniLM's vector of a text."""
    with api.load(bundle) as model:
        return [list(model(row).values())[-1] for row in rows]


def _right(answers: Answers, labels: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
    """Tell for each row whether its largest logit is that of its class."""
    if labels is None:
        return None
    return np.array(
        [int(each.argmax()) == label for each, label in zip(answers, labels, strict=True)]
    )


def _agreement(answers: Answers, reference: Answers) -> dict[str, float]:
    pairs = [(a.ravel(), b.ravel()) for a, b in zip(answers, reference, strict=True)]
    cosines = [float(a @ b / np.sqrt((a @ a) * (b @ b))) for a, b in pairs]
    equal = [float(a.argmax() == b.argmax()) for a, b in pairs]
    return {"cosine": float(np.mean(cosines)), "same_largest": float(np.mean(equal))}


if __name__ == "__main__":
    sys.exit(main())
