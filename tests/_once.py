"""What packages make anew at each call, made once: tests export and load again and again."""

from __future__ import annotations

import functools
import gc

import pytest
import sklearn.datasets
from torch.onnx._internal.exporter._registration import ONNXRegistry

_functions = functools.cache(ONNXRegistry.from_torchlib)
_digits = functools.cache(sklearn.datasets.load_digits)


def keep(patch: pytest.MonkeyPatch) -> None:
    """Keep ONNX's functions for torch, and the digits."""
    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(_functions))
    patch.setattr(sklearn.datasets, "load_digits", _digits)


def collect_rarely() -> None:
    """Collect garbage rarely, and never what was imported: an export makes millions of objects."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 100)
