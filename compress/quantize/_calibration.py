"""Calibration: which range of its inputs a layer quantizes, seen on real rows.

What is kept of a tensor is its range and a histogram of fixed size, whatever the number of rows.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"; Wu et al. 2020, "Integer Quantization for Deep Learning
Inference: Principles and Empirical Evaluation", section 5 (percentile); Sung et al. 2015,
"Resiliency of Deep Neural Networks under Quantization" (least squared error).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bmc.compress.quantize._layers import Quantized
from bmc.compress.quantize._points import Point
from bmc.compress.quantize._watching import check_rows, no_number, watch
from bmc.inputs import Encoder

CALIBRATORS = ("minmax", "percentile", "mse")
_BINS = 2048
_ABOVE_ZERO = 127
_STEPS = 255
_LOPSIDED = 0.5  # of the range that values above 0 have: less below it wants a zero point
_CANDIDATES = 100
_LEAST_RANGE = 1e-8


@dataclass
class Seen:
    """Absolute values of a tensor: the largest, and how many there are in each of equal bins.

    The range doubles when a value lies outside, and two bins become one.
    """

    top: float = 0.0
    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))
    largest: float = 0.0
    least: float = 0.0

    def add(self, values: Tensor) -> None:
        """Count the values."""
        self.least = min(self.least, float(values.min())) if values.numel() else self.least
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

    def limit(self, calibrator: str, percentile: float, centred: bool = False) -> float:
        """Return the largest absolute value that the grid should reach; see `grid`."""
        if calibrator == "minmax" or not self.top or self.largest != self.largest:
            return self.largest
        if calibrator == "percentile":
            share = self.counts.cumsum(0) / self.counts.sum()
            place = int((share < percentile / 100).sum())
            return min((place + 1) * self.top / _BINS, self.largest)
        return self._least_squares(centred)

    def grid(self, limit: float, centred: bool = False) -> tuple[float, int, bool]:
        """Return scale, zero point, and whether the grid is 0..255, for values up to a limit.

        Where values below 0 reach so little far that half of the steps would be wasted, it is; but
        not where 0 must be in the middle (`centred`).
        """
        if not centred and -self.least <= _LOPSIDED * limit:
            scale = max(limit - self.least, _LEAST_RANGE) / _STEPS
            return scale, round(-self.least / scale), True
        return max(limit, _LEAST_RANGE) / _ABOVE_ZERO, 0, False

    def _least_squares(self, centred: bool) -> float:
        """Return the limit with the least expected squared error."""
        width = self.top / _BINS
        centres = (torch.arange(_BINS, dtype=torch.float64) + 0.5) * width
        best, least = self.largest, float("inf")
        for part in range(1, _CANDIDATES + 1):
            limit = self.largest * part / _CANDIDATES
            scale, _, _ = self.grid(limit, centred)
            error = centres - (centres / scale).round().clamp(max=round(limit / scale)) * scale
            # Inside a bin values are spread evenly; a step finer than a bin errs by its own width.
            within = torch.where(centres <= limit, min(scale, width) ** 2 / 12, width**2 / 12)
            total = float((self.counts * (error**2 + within)).sum())
            if total < least:
                best, least = limit, total
        return best


@torch.inference_mode()
def calibrate(
    form: nn.Module, encoder: Encoder, rows: Sequence[Any], calibrator: str, percentile: float
) -> None:
    """Set the scale of each point of a quantized form from what it reads of some rows.

    Args:
        form: with points whose scale is 0, so that it computes in float meanwhile.
        encoder: of the rows.
        rows: raw rows, of the training part.
        calibrator: one of CALIBRATORS.
        percentile: of the absolute values, for that calibrator.

    Raises:
        UsageError: there are fewer than two rows.
        DataError: a tensor held NaN or infinity.
    """
    check_rows(rows)
    points = {path: part for path, part in form.named_modules() if isinstance(part, Point)}
    seen = {path: Seen() for path in points}

    def add(path: str, values: Tensor) -> None:
        seen[path].add(values)

    watch(form, points, encoder, rows, add, "calibrating")
    for path, point in points.items():
        limit, middle = (seen[path].limit(calibrator, percentile, one) for one in (False, True))
        if limit != limit:
            raise no_number(path.partition(".points")[0])
        scale, zero_point, unsigned = seen[path].grid(limit)
        point.scale.fill_(scale)
        point.centred.fill_(seen[path].grid(middle, centred=True)[0])
        point.zero_point.fill_(zero_point)
        point.unsigned.fill_(unsigned)


def constant_points(form: nn.Module) -> list[str]:
    """Return the layers that read nothing but zeros: their inputs need no grid."""
    return [
        path
        for path, part in form.named_modules()
        if isinstance(part, Quantized)
        and any(isinstance(p, Point) and p.scale <= _LEAST_RANGE / _ABOVE_ZERO for p in part.points)
    ]
