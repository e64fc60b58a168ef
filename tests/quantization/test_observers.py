"""Histograms of what a layer reads, and the scales that are chosen from them."""

from __future__ import annotations

import pytest
import torch

from bmc.quantization.observers import HistogramObserver


def test_a_histogram_of_fixed_size_follows_a_growing_range() -> None:
    observer, generator = HistogramObserver(), torch.Generator().manual_seed(0)
    for size in (1.0, 30.0, 1000.0):
        observer.observe(size * torch.randn(10_000, generator=generator))
    assert observer.counts.sum() == 30_000
    assert observer.limit("minmax", 0) == observer.largest <= observer.top
    assert (
        500
        < observer.limit("percentile", 90.0)
        < observer.limit("percentile", 99.0)
        < observer.largest
    )
    assert 0.3 * observer.largest < observer.limit("mse", 0) <= observer.largest


def test_the_range_with_the_least_squared_error_cuts_lonely_outliers_off() -> None:
    observer = HistogramObserver()
    observer.observe(torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([50.0, -30.0])]))
    limit = observer.limit("mse", 0)
    values = torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([50.0, -30.0])])

    def error(top: float) -> float:
        scale = top / 127
        return float(((values / scale).round().clamp(-127, 127) * scale - values).square().sum())

    assert 20 < limit < 45
    assert error(limit) < min(error(50.0), error(0.6 * limit))


def test_values_that_reach_little_below_zero_get_a_zero_point() -> None:
    observer, values = HistogramObserver(), torch.nn.functional.gelu(torch.linspace(-6, 12, 10_000))
    observer.observe(values)
    chosen = observer.range_up_to(observer.limit("minmax", 0))
    scale, zero_point = chosen.scale, chosen.zero_point
    assert chosen.unsigned
    assert zero_point == round(0.17 / 12.17 * 255)
    integers = ((values / scale).round() + zero_point).clamp(0, 255)
    assert float(((integers - zero_point) * scale - values).abs().max()) <= 0.51 * scale
    assert scale < 0.52 * 12 / 127


def test_values_on_both_sides_of_zero_keep_it_in_the_middle() -> None:
    observer = HistogramObserver()
    observer.observe(torch.linspace(-3, 4, 1000))
    chosen = observer.range_up_to(4.0)
    assert (chosen.zero_point, chosen.unsigned) == (0, False)
    assert chosen.scale == pytest.approx(4 / 127)
