"""Calibrate an ONNX graph: the ranges of its activations, with one sample in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bmc import console
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Calls
from bmc.quantization.observers import HistogramObserver, QuantizationRange, not_finite

Arrays = Mapping[str, NDArray[Any]]
_PERCENTILE = 99.99
_MAX_VALUES = 1 << 16  # of a tensor that are counted in each sample


@dataclass(frozen=True)
class ActivationRange:
    """The range of an activation.

    Args:
        symmetric: scale for a zero point of 0.
        fitted: scale and zero point that suit values on one side of zero.
        error: squared error of the fitted integers over the values' squares, with uniform noise.
        is_known: whether there was a value other than 0; any later value would be cut to 0 else.
    """

    symmetric: QuantizationRange
    fitted: QuantizationRange
    error: float
    is_known: bool = True


@dataclass(frozen=True)
class Calibrated:
    """What samples show of the tensors of a graph.

    Args:
        ranges: range of each tensor.
        largest: largest absolute value of each channel, float32 (channels), of some tensors.
    """

    ranges: dict[str, ActivationRange]
    largest: dict[str, NDArray[np.float32]]


def calibrate(
    path: Path,
    tensors: Collection[str],
    calls: Calls,
    calibrator: str,
    by_channel: Collection[str] = (),
) -> Calibrated:
    """Run samples, and return the range of each tensor.

    Args:
        path: file of the graph.
        tensors: names of float tensors of the main graph.
        calls: the samples.
        calibrator: one of `bmc.quantization.observers.CALIBRATORS`.
        by_channel: names of the tensors whose channels, along the last axis, are measured as well.

    Raises:
        DataError: a tensor becomes NaN or infinite.
    """
    observers = {name: HistogramObserver() for name in tensors}
    largest: dict[str, NDArray[np.float32]] = {}
    squares = dict.fromkeys(tensors, 0.0)
    counts = dict.fromkeys(tensors, 0)
    with console.progress("calibrating", len(calls)) as advance:
        session = Reference(_with_outputs(path, tensors), optimized=False)
        for call in calls:
            outputs = {**call, **session.run(call)}
            for name, observer in observers.items():
                values = torch.from_numpy(outputs[name]).flatten()
                observer.observe(_sampled(values))
                squares[name] += float(values @ values)
                counts[name] += values.numel()
            for name in by_channel:
                channels = np.abs(outputs[name]).reshape(-1, outputs[name].shape[-1])
                of_call = channels.max(axis=0, initial=0)
                largest[name] = np.maximum(largest.get(name, of_call), of_call)
            advance(1)
    ranges = {}
    for name, observer in observers.items():
        if observer.largest != observer.largest:
            raise not_finite(name)
        mean_square = squares[name] / max(counts[name], 1)
        ranges[name] = _range_of(observer, calibrator, mean_square)
    return Calibrated(ranges, largest)


def _sampled(values: torch.Tensor) -> torch.Tensor:
    """Return values of a large tensor at equal distances, and its smallest and largest value.

    A histogram of all values of a feature map takes longer than the convolution that computes it.

    Args:
        values: values (count).
    """
    if values.numel() <= _MAX_VALUES:
        return values
    step = values.numel() // _MAX_VALUES + 1
    # A step that divides no axis meets all of its entries: with 3, an image (height, width, 3)
    # would be seen in red alone.
    while math.gcd(step, values.numel()) > 1:
        step += 1
    return torch.cat([values[::step], values.min()[None], values.max()[None]])


def _range_of(observer: HistogramObserver, calibrator: str, mean_square: float) -> ActivationRange:
    symmetric, fitted = (
        observer.range_up_to(observer.limit(calibrator, _PERCENTILE, alike), alike)
        for alike in (True, False)
    )
    error = fitted.scale**2 / 12 / mean_square if mean_square else 0.0
    return ActivationRange(symmetric, fitted, error, is_known=observer.largest > 0)


def _with_outputs(path: Path, tensors: Collection[str]) -> Path:
    """Write a copy of a graph, beside it, that returns further tensors."""
    model = onnx.load(str(path), load_external_data=False)
    returned = {output.name for output in model.graph.output}
    for name in tensors:
        if name not in returned:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    copy = path.with_name(f"{path.stem}-observed.onnx")
    onnx.save_model(model, str(copy))
    return copy
