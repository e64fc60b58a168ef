"""How much each layer matters: the score lost when it alone is pruned or quantized."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc.inference.ablation import measure_each
from bmc.measure import scores
from bmc.measure.scores import Interval
from bmc.model import Model
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

_GROUP = 32


@dataclass(frozen=True)
class Loss:
    """What one change of one layer costs.

    Args:
        layer: path of the changed module.
        change: "prune-half", "int8" or "int4".
        lost: accuracy lost (R2 in a regression), with its paired 95 % interval; below 0 is a gain.
        moved: how far the outputs moved: root mean square, in standard deviations of the outputs.
            It tells layers apart where no answer changed.
    """

    layer: str
    change: str
    lost: Interval
    moved: float


@dataclass(frozen=True)
class Sensitivity:
    """The losses of all layers, and what they were measured on.

    Args:
        measure: "accuracy" or "r2".
        score: of the unchanged model on the same rows.
        rows: validation rows.
        losses: layer by layer, in the model's order.
    """

    measure: str
    score: Interval
    rows: int
    losses: tuple[Loss, ...]

    def of(self, change: str) -> dict[str, Loss]:
        """Return the losses of one change by layer."""
        return {loss.layer: loss for loss in self.losses if loss.change == change}


def measure(model: Model, rows: Rows) -> Sensitivity:
    """Prune and quantize each layer alone, on a private copy, and score it on the same rows.

    A layer is a module with weights of its own; all of its weights of two axes or more are changed.
    A layer that shares its weights with an earlier one is that one. Activations stay float.

    Args:
        model: a classifier or regression; it is not changed.
        rows: labeled rows, encoded.
    """
    module = copy.deepcopy(model.module).eval()
    layers = layers_of(module)
    labels = rows.labels.numpy()
    before = outputs_of(module, rows)

    def changed(key: tuple[str, str]) -> AbstractContextManager[None]:
        path, change = key
        return _changed(layers[path], CHANGES[change])

    def loss(key: tuple[str, str]) -> Loss:
        after = outputs_of(module, rows)
        lost = scores.lost(model.task, after, before, labels)
        return Loss(*key, lost, _distance(after, before))

    keys = [(path, change) for path in layers for change in CHANGES]
    losses = measure_each(keys, changed, loss, "sensitivity", "layers")
    name, score = score_of(model.task, before, labels)
    return Sensitivity(name, score, len(rows), tuple(losses.values()))


def layers_of(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return each layer's own weights, each tensor once."""
    seen: set[int] = set()
    found: dict[str, list[nn.Parameter]] = {}
    for path, layer in module.named_modules():
        own = [value for value in layer.parameters(recurse=False) if value.dim() > 1]
        own = [value for value in own if value.data_ptr() not in seen]
        seen |= {value.data_ptr() for value in own}
        if own:
            found[path] = own
    return found


def score_of(task: str, outputs: NDArray[np.float32], labels: NDArray[Any]) -> tuple[str, Interval]:
    """Return the name and value of the score that a task's models are chosen by."""
    if task == "regression":
        return "r2", scores.r2(outputs[:, 0].astype(np.float64), labels.astype(np.float64))
    return "accuracy", scores.accuracy(outputs, labels)


def without_half(weight: Tensor) -> Tensor:
    """Set the half of the weights that is nearest to zero to zero."""
    kept = weight.flatten().clone()
    smallest = kept.abs().argsort(stable=True)[: len(kept) // 2]
    kept[smallest] = 0
    return kept.view_as(weight)


def int8_by_channel(weight: Tensor) -> Tensor:
    """Round to int8, symmetric, one scale for each index of the first axis (output channels)."""
    return _rounded(weight.reshape(len(weight), -1), 127).view_as(weight)


def int4_by_group(weight: Tensor) -> Tensor:
    """Round to int4, symmetric, one scale for each 32 weights of an output channel."""
    flat = weight.reshape(len(weight), -1)
    missing = -flat.shape[1] % _GROUP
    groups = nn.functional.pad(flat, (0, missing)).reshape(-1, _GROUP)
    rounded = _rounded(groups, 7).reshape(len(weight), -1)
    return rounded[:, : flat.shape[1]].reshape(weight.shape)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "prune-half": without_half,
    "int8": int8_by_channel,
    "int4": int4_by_group,
}


@contextmanager
def _changed(weights: Sequence[Tensor], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change weights in place for as long as the block runs."""
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(change(before))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def _rounded(rows: Tensor, most: int) -> Tensor:
    """Round each row to whole multiples of its largest value / `most`."""
    scales = rows.abs().amax(dim=1, keepdim=True) / most
    return (rows / scales.clamp(min=torch.finfo(rows.dtype).tiny)).round() * scales


def _distance(after: NDArray[np.float32], before: NDArray[np.float32]) -> float:
    moved = np.sqrt(np.mean((after.astype(np.float64) - before) ** 2))
    return float(moved / max(before.std(), 1e-12))
