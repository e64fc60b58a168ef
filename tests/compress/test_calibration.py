"""What is kept of the values that a layer reads, and the grid that is made of it."""

from __future__ import annotations

import pytest
import torch

from bmc.compress.quantize._calibration import Seen


def test_a_histogram_of_fixed_size_follows_a_growing_range() -> None:
    seen, generator = Seen(), torch.Generator().manual_seed(0)
    for size in (1.0, 30.0, 1000.0):
        seen.add(size * torch.randn(10_000, generator=generator))
    assert seen.counts.sum() == 30_000
    assert seen.limit("minmax", 0) == seen.largest <= seen.top
    assert 500 < seen.limit("percentile", 90.0) < seen.limit("percentile", 99.0) < seen.largest
    assert 0.3 * seen.largest < seen.limit("mse", 0) <= seen.largest


def test_the_range_with_the_least_squared_error_cuts_lonely_outliers_off() -> None:
    seen = Seen()
    seen.add(torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([50.0, -30.0])]))
    limit = seen.limit("mse", 0)
    values = torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([50.0, -30.0])])

    def error(top: float) -> float:
        scale = top / 127
        return float(((values / scale).round().clamp(-127, 127) * scale - values).square().sum())

    assert 20 < limit < 45
    assert error(limit) < min(error(50.0), error(0.6 * limit))


def test_values_that_reach_little_below_zero_get_a_zero_point() -> None:
    seen, values = Seen(), torch.nn.functional.gelu(torch.linspace(-6, 12, 10_000))
    seen.add(values)
    scale, zero_point, unsigned = seen.grid(seen.limit("minmax", 0))
    assert unsigned
    assert zero_point == round(0.17 / 12.17 * 255)
    found = ((values / scale).round() + zero_point).clamp(0, 255)
    assert float(((found - zero_point) * scale - values).abs().max()) <= 0.51 * scale
    assert scale < 0.52 * 12 / 127


def test_values_on_both_sides_of_zero_keep_it_in_the_middle() -> None:
    seen = Seen()
    seen.add(torch.linspace(-3, 4, 1000))
    scale, zero_point, unsigned = seen.grid(4.0)
    assert (zero_point, unsigned) == (0, False)
    assert scale == pytest.approx(4 / 127)
