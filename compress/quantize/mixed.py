"""Mixed precision: static quantization, with the layers that cost most left in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from bmc import console, inputs
from bmc.compress._rows import drawn
from bmc.compress.quantize._layers import Quantized, QuantizedLinear
from bmc.compress.quantize.static import Static
from bmc.errors import SettingError, UsageError
from bmc.model import Model, Record, Work, output_of

_BATCH = 32
_ROWS = 128


@dataclass(frozen=True)
class Mixed(Static):
    """Quantize as static does; leave the worst layers in float until little enough is lost.

    A layer's cost is how far the answers move when it alone is quantized (KL divergence of a
    classifier's, squared error of others', on training rows). Layers are taken back into float in
    that order, each time twice as many, until the validation score holds.

    Args:
        max_points: points of the validation score that may be lost.

    Raises:
        SettingError: a setting is out of range.
        UsageError: the model is a generator, whose score nothing says.

    Source: Wu et al. 2020, "Integer Quantization for Deep Learning Inference", section 6.1.
    """

    max_points: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_points <= 100:
            raise SettingError(f"max_points is {self.max_points}; it must lie in 0..100")

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, find what each layer costs, and return what stays quantized."""
        if model.task == "generation":
            raise UsageError("mixed chooses by a validation score; a generator has none")
        before = work.score(model)
        model.module.cpu()  # where it is calibrated
        record = super().apply(model, work)
        layers = _quantized(model.module)
        costs = _costs(model, layers, drawn(model, work, min(self.rows, _ROWS)))
        worst = sorted(costs, key=lambda path: -costs[path])
        kept = 0
        while True:
            for place, path in enumerate(worst):
                layers[path].active = place >= kept
            lost = 100 * (before - work.score(model))
            console.note(f"{kept} of {len(worst)} layers in float: {lost:.2f} points lost")
            if lost <= self.max_points or kept == len(worst):
                break
            kept = min(max(1, 2 * kept), len(worst))
        for path in worst[: max(kept, 3)]:
            state = "float" if not layers[path].active else "int8"
            console.note(
                f"  {path}: answers move by {costs[path]:.2g} when it alone is int8: {state}"
            )
        if kept == len(worst):
            console.note(f"no layer can have 8 bits within {self.max_points} points")
        for path in worst[:kept]:
            _restore(layers[path])
        return {path: own for path, own in record.items() if path not in worst[:kept]}


@torch.inference_mode()
def _costs(model: Model, layers: dict[str, Any], rows: list[Any]) -> dict[str, float]:
    """Return how far the answers to some rows move when each layer alone is quantized."""
    encoded = model.encoder.encode(rows)
    batches = [
        {name: torch.from_numpy(array) for name, array in arrays.items()}
        for _, arrays in inputs.ordered_batches(model.encoder, encoded, _BATCH)
    ]
    for layer in layers.values():
        layer.active = False
    expected = [output_of(model.module, batch) for batch in batches]
    costs = {}
    with console.progress("what each layer costs", len(layers)) as advance:
        for path, layer in layers.items():
            layer.active = True
            found = [output_of(model.module, batch) for batch in batches]
            layer.active = False
            moved = [_moved(*pair, model.task) for pair in zip(found, expected, strict=True)]
            costs[path] = sum(moved) / len(rows)
            advance(1)
    return costs


def _moved(found: Tensor, expected: Tensor, task: str) -> float:
    if task == "classification":
        logs = log_softmax(found, dim=1), log_softmax(expected, dim=1)
        return float(kl_div(*logs, reduction="sum", log_target=True))
    return float(((found - expected) ** 2).sum())


def _quantized(form: nn.Module) -> dict[str, Any]:
    return {path: part for path, part in form.named_modules() if isinstance(part, Quantized)}


def _restore(layer: Any) -> None:
    """Make a quantized layer what it was."""
    if isinstance(layer, QuantizedLinear):
        layer.weight.data = layer.undivided().detach()
        del layer.divided
    layer.__class__ = type(layer).__mro__[2]  # behind its own and Quantized
    for name in ("points", "grid", "numbers"):
        delattr(layer, name)


STEP = Mixed
