"""How accurate, small and fast is `ds-cnn` on spoken words, and how exact are its features?

    python benchmarks/sound.py                                      (half an hour of one core)
    python benchmarks/sound.py --epochs 1 --launches 2 --rounds 2   (a try-out, a few minutes)
    python benchmarks/sound.py --features                           (the features alone, a minute)

`ds-cnn` is trained on `spoken-words` by its recipe, quantized by `bmc quantize`, and exported to
ONNX Runtime and OpenVINO in fp32 and in 8 bits. Accuracies are of the held-out clips, whose voices
no training clip has; a difference is paired by clip. A second test are 38 clips that a woman
recorded for telephones: the twelve words, and the phonetic alphabet. The features are compared, on
held-out clips, with a Fourier transform in float64, and with librosa where it is installed. They
are timed without a network in two forms: by two factors of the transform, as bmc computes them,
and by one product with its whole matrix.

What is missing is made in the workspace (BMC_HOME, else benchmarks/runs/sound), what is there is
kept. Writes benchmarks/results/sound.json. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from _common import RUNS, Bar, finish
from _students import exported, is_correct, made, paired
from numpy.typing import NDArray
from torch import Tensor, nn

import bmc as api
from bmc import artifact, bundle, workspace
from bmc.data import spoken_words
from bmc.inference.quantized_form import stored_bytes
from bmc.inputs.audio import INT16_RANGE, RATE
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.models.log_mel import FLOOR, HOP, WINDOW, LogMel, mel_filters

MELS, MAX_FREQUENCY = 40, 4000
CLIPS = 200
ACCURACY, DROP, WEIGHTS, MILLISECONDS, EXACT = 0.93, 0.5, 52_000, 1.0, 1e-4


def main() -> int:
    """Train, quantize, export and measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, help="the recipe's by default")
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--features", action="store_true", help="measure the features alone")
    options = parser.parse_args()
    differences, forms = errors(), timed_forms()
    features = {"error": differences, "forms": forms}
    bars = [
        Bar(f"features within {EXACT:g} of {peer}", f"{error:.2g}", error <= EXACT)
        for peer, error in differences.items()
    ]
    for name, form in forms.items():
        print(f"features by {name}: {form['bytes'] / 1e3:.0f} kB, {form['milliseconds']:.3f} ms")
    if options.features:
        for bar in bars:
            print(f"{'met' if bar.met else 'NOT MET':8}{bar.must}: {bar.found}")
        return 0 if all(bar.met for bar in bars) else 1
    os.environ.setdefault("BMC_HOME", str(RUNS / "sound"))
    home = workspace.root()
    epochs = ("--epochs", options.epochs) if options.epochs else ()
    train = ("train", "ds-cnn", "--data", "spoken-words", *epochs)
    model = made(home / "ds-cnn-spoken-words", *train)
    quantized = made(home / "ds-cnn-spoken-words-int8", "quantize", model)
    bundles = {
        f"{precision}-{target}": exported(folder, target)
        for precision, folder in (("fp32", model), ("int8", quantized))
        for target in ("onnx", "openvino")
    }
    rows = {name: row_of(path) for name, path in bundles.items()}
    settings = BenchSettings(launches=options.launches, rounds=options.rounds)
    latencies = timed(list(bundles.values()), settings)
    for name, path in bundles.items():
        rows[name]["milliseconds"] = latencies[path.name]
        lost = paired([is_correct(path) - is_correct(bundles["fp32-onnx"])])
        rows[name]["points"] = asdict(lost)
    weights = stored_bytes(artifact.load(quantized).module)
    accuracy = rows["fp32-onnx"]["accuracy"]
    bars += [
        Bar(
            f"accuracy {ACCURACY} on unseen voices",
            _interval(accuracy),
            _value(accuracy) >= ACCURACY,
        ),
        *(
            Bar(
                f"{name} loses {DROP} points at most",
                _interval(rows[name]["points"]),
                _value(rows[name]["points"]) >= -DROP,
            )
            for name in ("int8-onnx", "int8-openvino")
        ),
        Bar(f"weights of {WEIGHTS:,} bytes in 8 bits", f"{weights:,}", weights <= WEIGHTS),
        *(
            Bar(
                f"a second of sound in {MILLISECONDS:g} ms, {name}",
                f"{rows[name]['milliseconds']:.3f} ms",
                rows[name]["milliseconds"] <= MILLISECONDS,
            )
            for name in ("fp32-onnx", "int8-onnx")
        ),
    ]
    recorded = {name: of_recorded(path) for name, path in bundles.items()}
    print("recorded clips that are right:", recorded)
    content = {
        "epochs": options.epochs or "the recipe's",
        "parameters": sum(value.numel() for value in artifact.load(model).module.parameters()),
        "int8_weight_bytes": weights,
        "rows": rows,
        "recorded": recorded,
        "features": features,
    }
    return finish("sound", bars, content)


def row_of(path: Path) -> dict[str, Any]:
    """Return the accuracy of a bundle on the held-out clips, and the size of its model."""
    arrays = bundle.read_arrays(path / bundle.EVALUATION)
    return {
        "accuracy": asdict(scores.accuracy(arrays["logits"], arrays["labels"])),
        "model_bytes": bundle.read(path).model_size(),
    }


def timed(paths: list[Path], settings: BenchSettings) -> dict[str, float]:
    """Return the median milliseconds of each bundle, batch 1, the better of one and two threads."""
    run = results.measure_bundles(paths, (1, 2), settings)
    best = {row.name: row.p50 for row in run.rows if row.best}
    return {name: p50.value for name, p50 in best.items() if p50 is not None}


def of_recorded(path: Path) -> dict[str, int]:
    """Return how many of the recorded clips a bundle classifies correctly, words and others."""
    files, labels = spoken_words.recorded()
    with api.load(path) as spot:
        answers = [prediction.label for prediction in spot(list(files))]
    pairs = list(zip(answers, labels, strict=True))
    words = [answer == label for answer, label in pairs if label in spoken_words.WORDS]
    others = [answer == label for answer, label in pairs if label not in spoken_words.WORDS]
    return {
        "words": sum(words),
        "of_words": len(words),
        "others": sum(others),
        "of_others": len(others),
    }


def errors() -> dict[str, float]:
    """Return the largest difference of a log-mel energy from other implementations."""
    test = spoken_words.table().official_test
    assert test is not None  # noqa: S101  for the type checker
    step = len(test.rows) // CLIPS
    clips = np.asarray(test.rows)[::step].astype(np.float32) / np.float32(INT16_RANGE)
    energies = LogMel(MELS, MAX_FREQUENCY).energies(torch.from_numpy(clips)).numpy()
    found = {"a Fourier transform in float64": _difference(energies, _by_numpy(clips))}
    try:
        librosa = importlib.import_module("librosa")
    except ModuleNotFoundError:
        print("librosa is not installed; the features are not compared with it")
        return found
    return {**found, "librosa": _difference(energies, _by_librosa(librosa, clips))}


def _by_numpy(clips: NDArray[Any]) -> NDArray[np.float64]:
    frames = np.lib.stride_tricks.sliding_window_view(clips, WINDOW, axis=1)[:, ::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * window, axis=2)) ** 2
    energies: NDArray[np.float64] = np.log(
        np.maximum(power @ mel_filters(MELS, MAX_FREQUENCY), FLOOR)
    )
    return energies


def _by_librosa(librosa: Any, clips: NDArray[Any]) -> NDArray[np.float32]:
    power = librosa.feature.melspectrogram(
        y=clips, sr=RATE, n_fft=WINDOW, hop_length=HOP, center=False, n_mels=MELS, fmin=20,
        fmax=MAX_FREQUENCY, htk=True, norm=None,
    )  # fmt: skip
    energies: NDArray[np.float32] = np.log(np.maximum(power, FLOOR)).transpose(0, 2, 1)
    return energies


def _difference(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float(np.abs(first - second).max())


class WholeMatrix(nn.Module):
    """The same energies by one product with the whole matrix of the Fourier transform."""

    matrix: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filters(MELS, MAX_FREQUENCY)
        used = int(np.flatnonzero(filters.any(axis=1)).max()) + 1
        angles = 2 * np.pi * np.outer(np.arange(WINDOW), np.arange(used)) / WINDOW
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        matrix = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * window[:, None]
        self.used = used
        self.register_buffer("matrix", torch.from_numpy(matrix.astype(np.float32)))
        self.register_buffer("filters", torch.from_numpy(filters[:used].astype(np.float32)))

    def forward(self, samples: Tensor) -> Tensor:
        """Return log-mel energies (rows, frames, mels) of samples (rows, samples)."""
        pieces = samples.reshape(len(samples), -1, HOP)
        frames = torch.cat([pieces[:, :-1], pieces[:, 1:]], dim=2)
        spectrum = torch.matmul(frames, self.matrix)
        power = spectrum[..., : self.used].square() + spectrum[..., self.used :].square()
        return torch.matmul(power, self.filters).clamp(min=FLOOR).log()


def timed_forms() -> dict[str, dict[str, float]]:
    """Return the size and the median time on one thread of the features of one second."""
    forms = {"two factors": LogMel(MELS, MAX_FREQUENCY), "the whole matrix": WholeMatrix()}
    return {name: _timed_form(form) for name, form in forms.items()}


def _timed_form(form: nn.Module) -> dict[str, float]:
    samples = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "features.onnx"
        torch.onnx.export(
            form.eval(), (samples,), path, dynamo=True, external_data=False, verbose=False
        )
        size = path.stat().st_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    feed = {session.get_inputs()[0].name: samples.numpy()}
    times = []
    for _ in range(300):
        started = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - started)
    return {"bytes": size, "milliseconds": 1e3 * statistics.median(times)}


def _value(interval: dict[str, Any]) -> float:
    return float(interval["value"])


def _interval(interval: dict[str, Any]) -> str:
    return f"{interval['value']:.4g} [{interval['low']:.4g}, {interval['high']:.4g}]"


if __name__ == "__main__":
    raise SystemExit(main())
