"""Observe the inputs of layers while a network runs on calibration samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.errors import DataError, UsageError
from bmc.inference.run import batches_of
from bmc.inputs import Encoder
from bmc.model import output_of

CALIBRATORS = ("minmax", "percentile", "mse")
_BATCH = 16
_BINS = 2048
_SIGNED_STEPS = 127
_UNSIGNED_STEPS = 255
_MAX_NEGATIVE_PART = 0.5  # of the limit: up to this, unsigned integers with a zero point are finer
_CANDIDATES = 100
_SMALLEST_RANGE = 1e-8
SMALLEST_SCALE = _SMALLEST_RANGE / _SIGNED_STEPS
"""Largest scale of a tensor whose values are all zero; other tensors have larger scales."""


@torch.inference_mode()
def observe_inputs(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    observe: Callable[[str, Tensor], None],
    title: str,
) -> None:
    """Run a network on calibration samples, and pass the inputs of layers to a function.

    Args:
        form: network in evaluation mode.
        layers: layers to observe, by path.
        encoder: encoder of the rows.
        rows: calibration samples: raw rows of the training split.
        observe: function that is called with a layer's path and first input, at each call of the
            layer.
        title: title of the progress bar.
    """

    def hook_of(path: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> None:
            observe(path, inputs[0] if inputs else next(iter(keywords.values())))

        return hook

    hooks = [
        layer.register_forward_pre_hook(hook_of(path), with_kwargs=True)
        for path, layer in layers.items()
    ]
    try:
        with console.progress(title, len(rows)) as advance:
            for indices, tensors in batches_of(encoder, rows, _BATCH):
                output_of(form, tensors)
                advance(len(indices))
    finally:
        for hook in hooks:
            hook.remove()


def check_samples(rows: Sequence[Any]) -> None:
    """Refuse too few calibration samples.

    Raises:
        UsageError: there are fewer than two.
    """
    if len(rows) < 2:
        raise UsageError(
            f"{len(rows)} calibration sample(s) do not determine a range; use at least 2, "
            "better 200 or more: --samples 256"
        )


def not_finite(path: str) -> DataError:
    """Return the error for a layer with NaN or infinite inputs."""
    return DataError(
        f"layer {path!r} reads NaN or infinity from the calibration samples, so nothing can be "
        "fitted to them: bmc inspect MODEL shows where values leave the range"
    )


@dataclass(frozen=True)
class QuantizationRange:
    """Scale and zero point of 8-bit integers.

    Args:
        scale: distance between two quantized values.
        zero_point: integer that represents 0.
        unsigned: whether the integers are 0..255 rather than -128..127.
    """

    scale: float
    zero_point: int = 0
    unsigned: bool = False


@dataclass
class HistogramObserver:
    """A histogram of fixed size of the absolute values of a tensor, and the tensor's range.

    Where a value exceeds the last bin, bins are merged in pairs and the range of the bins doubles.

    Args:
        top: upper end of the last bin.
        counts: number of values in each bin, float64 (bins).
        largest: largest absolute value so far; NaN once a value was NaN or infinite.
        smallest: smallest value so far, at most 0.
    """

    top: float = 0.0
    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))
    largest: float = 0.0
    smallest: float = 0.0

    def observe(self, values: Tensor) -> None:
        """Count values of any shape."""
        if values.numel():
            self.smallest = min(self.smallest, float(values.min()))
        sizes = values.detach().abs().flatten().float()
        largest = float(sizes.max()) if sizes.numel() else 0.0
        self.largest = max(self.largest, largest) if largest == largest else largest
        if largest != largest or largest == float("inf"):
            self.largest = float("nan")
            return
        if not self.top:
            self.top = largest
        if not self.top:
            return
        while largest > self.top:
            pairs = self.counts.view(-1, 2).sum(dim=1)
            self.counts = torch.cat([pairs, torch.zeros_like(pairs)])
            self.top *= 2
        self.counts += torch.histc(sizes, _BINS, 0.0, self.top).double()

    def limit(self, calibrator: str, percentile: float, symmetric: bool = False) -> float:
        """Return the largest absolute value that the integers should represent.

        Args:
            calibrator: one of CALIBRATORS.
            percentile: percentile of the absolute values, for the calibrator "percentile".
            symmetric: whether the zero point must be 0.
        """
        if calibrator == "minmax" or not self.top or self.largest != self.largest:
            return self.largest
        if calibrator == "percentile":
            cumulative = self.counts.cumsum(0) / self.counts.sum()
            last_bin = int((cumulative < percentile / 100).sum())
            return min((last_bin + 1) * self.top / _BINS, self.largest)
        return self._limit_with_least_error(symmetric)

    def range_up_to(self, limit: float, symmetric: bool = False) -> QuantizationRange:
        """Return scale and zero point for values up to a limit.

        The integers are unsigned where the smallest value is no further below 0 than half of the
        limit: signed integers would leave many negative steps unused.

        Args:
            limit: largest absolute value to represent.
            symmetric: whether the zero point must be 0.
        """
        if not symmetric and -self.smallest <= _MAX_NEGATIVE_PART * limit:
            scale = max(limit - self.smallest, _SMALLEST_RANGE) / _UNSIGNED_STEPS
            return QuantizationRange(scale, round(-self.smallest / scale), unsigned=True)
        return QuantizationRange(max(limit, _SMALLEST_RANGE) / _SIGNED_STEPS)

    def _limit_with_least_error(self, symmetric: bool) -> float:
        """Return the limit with the least expected squared error."""
        width = self.top / _BINS
        centers = (torch.arange(_BINS, dtype=torch.float64) + 0.5) * width
        best_limit, least_error = self.largest, float("inf")
        for candidate in range(1, _CANDIDATES + 1):
            limit = self.largest * candidate / _CANDIDATES
            scale = self.range_up_to(limit, symmetric).scale
            error = centers - (centers / scale).round().clamp(max=round(limit / scale)) * scale
            # Values are assumed uniform within a bin. Uniform values in an interval of width w have
            # variance w**2 / 12; the interval is the bin, or a step if steps are narrower.
            variance = torch.where(centers <= limit, min(scale, width) ** 2 / 12, width**2 / 12)
            total_error = float((self.counts * (error**2 + variance)).sum())
            if total_error < least_error:
                best_limit, least_error = limit, total_error
        return best_limit
