"""Sensitivity of layers: the score that is lost when one layer alone is pruned or quantized."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc.contracts import tasks
from bmc.data import Labels
from bmc.inference.ablation import measure_each
from bmc.inputs import Many
from bmc.measure import scores
from bmc.measure.scores import Interval, relative_to
from bmc.model import Model
from bmc.training.batches import Rows
from bmc.training.loop import outputs_of

_INT4_GROUP = 32


@dataclass(frozen=True)
class Loss:
    """The loss of score by one change of one layer.

    Args:
        layer: path of the changed layer.
        change: "prune-half", "int8" or "int4".
        lost: lost score (accuracy, micro F1 or R2) with a paired 95% interval; negative = it rose.
        moved: root mean square change of the outputs, in standard deviations of the outputs. It
            ranks layers where no prediction changed.
    """

    layer: str
    change: str
    lost: Interval
    moved: float


@dataclass(frozen=True)
class Sensitivity:
    """The losses of all layers.

    Args:
        measure: name of the score, such as "accuracy".
        score: score of the unchanged model on the same rows.
        rows: number of validation rows.
        losses: losses of each layer, in the order of the layers in the model.
    """

    measure: str
    score: Interval
    rows: int
    losses: tuple[Loss, ...]

    def of(self, change: str) -> dict[str, Loss]:
        """Return the losses of a change by layer."""
        return {loss.layer: loss for loss in self.losses if loss.change == change}


def measure(model: Model, raw_rows: Many, truth: Labels) -> Sensitivity:
    """Measure the score of a model with each layer alone pruned or quantized.

    A layer is a module with weights. All of its weights with two axes or more are changed. Weights
    that layers share are changed once, with the first layer. Activations are not quantized.

    Args:
        model: a classifier or regression, which is not changed.
        raw_rows: rows.
        truth: label of each row.
    """
    rows = Rows(raw_rows, truth, model.encoder)
    module = copy.deepcopy(model.module).eval()
    layers = layers_of(module)
    labels = rows.labels.numpy()
    before = relative_to(outputs_of(module, rows), model.thresholds)

    def changed(key: tuple[str, str]) -> AbstractContextManager[None]:
        path, change = key
        return _with_change(layers[path], CHANGES[change])

    def loss(key: tuple[str, str]) -> Loss:
        after = relative_to(outputs_of(module, rows), model.thresholds)
        lost = scores.lost(model.task, after, before, labels, model.labels)
        return Loss(*key, lost, _relative_change(after, before))

    keys = [(path, change) for path in layers for change in CHANGES]
    losses = measure_each(keys, changed, loss, "sensitivity", "layers")
    scoring = tasks.scoring(model.task, model.labels)
    score = scoring.interval(before, labels)
    return Sensitivity(scoring.measure, score, len(raw_rows), tuple(losses.values()))


def layers_of(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the weights of each layer by path, shared ones once and without submodules."""
    pointers: set[int] = set()
    layers: dict[str, list[nn.Parameter]] = {}
    for path, layer in module.named_modules():
        weights = [value for value in layer.parameters(recurse=False) if value.dim() > 1]
        weights = [value for value in weights if value.data_ptr() not in pointers]
        pointers |= {value.data_ptr() for value in weights}
        if weights:
            layers[path] = weights
    return layers


def without_half(weight: Tensor) -> Tensor:
    """Return a weight whose half of smallest magnitude is set to zero."""
    pruned = weight.flatten().clone()
    smallest = pruned.abs().argsort(stable=True)[: len(pruned) // 2]
    pruned[smallest] = 0
    return pruned.view_as(weight)


def int8_by_channel(weight: Tensor) -> Tensor:
    """Return a weight rounded to symmetric int8 with a scale for each output channel (axis 0)."""
    return _rounded(weight.reshape(len(weight), -1), 127).view_as(weight)


def int4_by_group(weight: Tensor) -> Tensor:
    """Return a weight rounded to symmetric int4 with a scale for each 32 weights of a channel."""
    flat = weight.reshape(len(weight), -1)
    padding = -flat.shape[1] % _INT4_GROUP
    groups = nn.functional.pad(flat, (0, padding)).reshape(-1, _INT4_GROUP)
    rounded = _rounded(groups, 7).reshape(len(weight), -1)
    return rounded[:, : flat.shape[1]].reshape(weight.shape)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "prune-half": without_half,
    "int8": int8_by_channel,
    "int4": int4_by_group,
}


@contextmanager
def _with_change(weights: Sequence[Tensor], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Run the block with changed weights, and restore them afterwards."""
    copies = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, copied in zip(weights, copies, strict=True):
            weight.copy_(change(copied))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, copied in zip(weights, copies, strict=True):
                weight.copy_(copied)


def _rounded(rows: Tensor, max_integer: int) -> Tensor:
    """Return rows rounded to multiples of a scale: the row's largest value / `max_integer`."""
    scales = rows.abs().amax(dim=1, keepdim=True) / max_integer
    return (rows / scales.clamp(min=torch.finfo(rows.dtype).tiny)).round() * scales


def _relative_change(after: NDArray[np.float32], before: NDArray[np.float32]) -> float:
    """Return the root mean square change of outputs, in standard deviations of the outputs."""
    change = np.sqrt(np.mean((after.astype(np.float64) - before) ** 2))
    return float(change / max(before.std(), 1e-12))
