"""Mixed precision: static quantization, with the layers that cost most left in float."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from bmc import console
from bmc.compress.quantize.static import Static
from bmc.errors import SettingError, UsageError
from bmc.inference.ablation import measure_each
from bmc.inference.quantized_form import quantized_layers
from bmc.inference.quantized_layers import plain_layer
from bmc.inference.replacing import replace_layers
from bmc.inference.run import batches_of
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work, output_of

_BATCH = 32
_SAMPLES = 128


@dataclass(frozen=True)
class Mixed(Static):
    """Quantize as static does, and leave the layers in float that cost most.

    A layer's cost is how far the outputs move when it alone is quantized: the KL divergence of a
    classifier's, the squared error of others', on calibration samples. Layers return to float in
    that order, each time twice as many, until the validation score holds.

    Args:
        max_drop: points of the validation score that may be lost.

    Raises:
        SettingError: a setting is out of range.
        UsageError: the model is a generator, whose score nothing says.

    Source: Wu et al. 2020, "Integer Quantization for Deep Learning Inference", section 6.1.
    """

    max_drop: float = field(default=0.5, metadata={"alias": "max_points"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_drop <= 100:
            raise SettingError(f"max_drop is {self.max_drop}; it must lie in 0..100")

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, measure what each layer costs, and return what stays quantized."""
        if model.task == "generation":
            raise UsageError("mixed chooses by a validation score; a generator has none")
        score_in_float = work.score(model)
        model.module.cpu()  # where it is calibrated
        record = super().apply(model, work)
        layers = quantized_layers(model.module)
        samples = calibration_samples(model, work, min(self.samples, _SAMPLES))
        costs = _costs(model, layers, samples)
        worst_first = sorted(costs, key=lambda path: -costs[path])
        in_float = 0
        while True:
            for place, path in enumerate(worst_first):
                layers[path].enabled = place >= in_float
            lost = 100 * (score_in_float - work.score(model))
            console.note(f"{in_float} of {len(costs)} layers in float: {lost:.2f} points lost")
            if lost <= self.max_drop or in_float == len(costs):
                break
            in_float = min(max(1, 2 * in_float), len(costs))
        for path in worst_first[: max(in_float, 3)]:
            state = "float" if not layers[path].enabled else "int8"
            console.note(
                f"  {path}: answers move by {costs[path]:.2g} when it alone is int8: {state}"
            )
        if in_float == len(costs):
            console.note(f"no layer can have 8 bits within {self.max_drop} points")
        restored = worst_first[:in_float]
        replace_layers(model.module, {layers[path]: plain_layer(layers[path]) for path in restored})
        return {path: entry for path, entry in record.items() if path not in restored}


@torch.inference_mode()
def _costs(model: Model, layers: dict[str, Any], rows: list[Any]) -> dict[str, float]:
    """Return how far the outputs move when each layer alone is quantized, by path.

    Args:
        model: whose module is calibrated.
        layers: its quantized layers, by path.
        rows: calibration samples.
    """
    batches = [inputs for _, inputs in batches_of(model.encoder, rows, _BATCH)]
    for layer in layers.values():
        layer.enabled = False
    expected = [output_of(model.module, inputs) for inputs in batches]

    @contextmanager
    def quantized(path: str) -> Iterator[None]:
        layers[path].enabled = True
        yield
        layers[path].enabled = False

    def cost(path: str) -> float:
        outputs = [output_of(model.module, inputs) for inputs in batches]
        moved = [_moved(*pair, model.task) for pair in zip(outputs, expected, strict=True)]
        return sum(moved) / len(rows)

    return measure_each(list(layers), quantized, cost, "what each layer costs")


def _moved(outputs: Tensor, expected: Tensor, task: str) -> float:
    """Return the KL divergence of a classifier's outputs (rows, classes); else squared errors."""
    if task == "classification":
        logs = log_softmax(outputs, dim=1), log_softmax(expected, dim=1)
        return float(kl_div(*logs, reduction="sum", log_target=True))
    return float(((outputs - expected) ** 2).sum())


STEP = Mixed
