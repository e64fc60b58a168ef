"""Movement pruning: weights that training moves towards zero are pruned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bmc.errors import SettingError
from bmc.model import AfterStep, Model, Record, Work
from bmc.structure import zeros

_WARM_UP = 0.1  # share of the run before the first zero


@dataclass(frozen=True)
class Movement:
    """Fine-tune with a score for each weight, and set the weights of the lowest scores to zero.

    The score of a weight sums how far the gradients move the weight away from zero. A weight that
    fine-tuning makes small is pruned even if pretraining made it large. At high ratios this is
    better than pruning by magnitude. Layers are chosen, and zeros kept, as in `unstructured`.

    Args:
        ratio: share of each parameter's weights that are zero afterwards, in (0, 1).
        epochs: epochs of training in which scores are learned, and in which the share of zeros
            rises along a cubic curve.
        layers: names (fnmatch patterns) of the layers to prune; all but embeddings and outputs
            when empty.

    Raises:
        SettingError: a setting is out of range, or a layer would have no weight left.
        UnknownError: a pattern matches no layer.

    Source: Sanh, Wolf and Rush 2020, "Movement Pruning: Adaptive Sparsity by Fine-Tuning" (hard,
    by layer).
    """

    ratio: float = 0.5
    epochs: int = 3
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        zeros.check_ratio(self.ratio)
        if self.epochs < 1:
            raise SettingError(
                f"epochs is {self.epochs}; it must be at least 1, since training learns the scores"
            )

    def apply(self, model: Model, work: Work) -> Record:
        """Train with scores, set the weights to zero and return each parameter's share of zeros."""
        weights = zeros.weights_of(model, self.layers)
        masks = {name: zeros.lowest(weight.abs(), self.ratio) for name, weight in weights.items()}
        zeros.refuse_empty(weights, masks)
        scored = add_scores(model.module, weights)

        def after_step(module: nn.Module, done: float) -> None:
            target = zeros.ratio_at(done, self.ratio, start=_WARM_UP)
            for layer, name in scored:
                mask_lowest(parametrizations_of(layer, name), target)

        work.fit(model, after_step=after_step, epochs=self.epochs, name="movement", keep="last")
        for layer, name in scored:
            remove_scores(layer, name)
        return zeros.record_of(weights)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Check the names; shapes stay."""
        zeros.check_record(model, record)

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros through later training."""
        return zeros.keep_zeros(record)


class _Scored(nn.Module):
    """A parametrization: the weight times a mask, whose gradient goes to the scores.

    The mask is updated less often than the scores change, so the mask cannot be computed from the
    scores. Mask and `reached`, the share of zeros so far, are buffers, which checkpoints contain.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros_like(weight))
        self.mask: Tensor
        self.reached: Tensor
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("reached", torch.zeros((), dtype=torch.float64))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, with zeros where the mask is False."""
        return weight * (self.mask + (self.scores - self.scores.detach()))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the tensor to store when the layer's weight is assigned: the weight itself."""
        return weight


def add_scores(module: nn.Module, weights: zeros.Weights) -> list[tuple[nn.Module, str]]:
    """Add scores to each weight, and return each layer with the name of its scored weight.

    A weight that several layers share has one tensor of scores.
    """
    scored = {id(weight): _Scored(weight) for weight in weights.values()}
    entries = [
        (layer, name, scored[id(value)])
        for layer in module.modules()
        for name, value in layer.named_parameters(recurse=False)
        if id(value) in scored
    ]
    for layer, name, scores in entries:
        parametrize.register_parametrization(layer, name, scores)
    return [(layer, name) for layer, name, _ in entries]


@torch.no_grad()
def mask_lowest(weight: parametrize.ParametrizationList, ratio: float) -> None:
    """Mask a share of a weight: first the values that are zero, then those of the lowest scores."""
    scored = weight[0]
    if isinstance(scored, _Scored) and ratio > scored.reached:
        scores = scored.scores.masked_fill(weight.original == 0, -torch.inf)
        scored.mask.copy_(~zeros.lowest(scores, ratio))
        scored.reached.fill_(ratio)


@torch.no_grad()
def remove_scores(layer: nn.Module, name: str) -> None:
    """Write the zeros into the weight and remove the scores; a shared weight stays shared."""
    weight = parametrizations_of(layer, name)
    weight.original.copy_(weight())
    parametrize.remove_parametrizations(layer, name, leave_parametrized=False)


def parametrizations_of(layer: nn.Module, name: str) -> parametrize.ParametrizationList:
    """Return what derives a layer's weight while it has scores."""
    weight = layer.get_submodule(f"parametrizations.{name}")
    if not isinstance(weight, parametrize.ParametrizationList):
        raise TypeError(f"{name} of {layer} has no scores")
    return weight


STEP = Movement
