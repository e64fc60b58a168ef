"""Movement pruning: weights that training moves towards zero become zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bmc.compress.prune import _zeros
from bmc.errors import SettingError
from bmc.model import AfterStep, Model, Record, Work

_WARM_UP = 0.1


@dataclass(frozen=True)
class Movement:
    """Fine-tune with a score for each weight, and set those of the lowest scores to zero.

    A score sums how far gradients move its weight away from zero, so that what fine-tuning makes
    small goes even if pretraining had made it large: better than magnitude where few weights are
    left. Which layers are pruned, and what becomes of zeros, is as in `unstructured`.

    Args:
        ratio: share of each parameter's weights that are zero afterwards, in (0, 1).
        epochs: of training in which scores are learned and the zeros become more, as a cubic.
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
        _zeros.check_ratio(self.ratio)
        if self.epochs < 1:
            raise SettingError(f"epochs is {self.epochs}; scores are learned in at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Train with scores, set the weights to zero and return each parameter's share of zeros."""
        weights = _zeros.weights_of(model, self.layers)
        marked = {name: _zeros.lowest(weight.abs(), self.ratio) for name, weight in weights.items()}
        _zeros.refuse_empty(weights, marked)
        places = _score(model.module, weights)

        def after_step(module: nn.Module, done: float) -> None:
            target = _zeros.ratio_at(done, self.ratio, start=_WARM_UP)
            for layer, name in places:
                _rise(_list_of(layer, name), target)

        work.fit(model, after_step=after_step, epochs=self.epochs, name="movement", keep="last")
        for layer, name in places:
            _bake(layer, name)
        return _zeros.record_of(weights)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Check the names; shapes stay."""
        _zeros.check_record(model, record)

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros through later training."""
        return _zeros.held(record)


class _Scored(nn.Module):
    """A weight times its mask; the gradient of a mask's place goes to its score.

    Mask and ratio are buffers, so that checkpoints have them: scores go on changing between two
    masks.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros_like(weight))
        self.mask: Tensor
        self.reached: Tensor
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("reached", torch.zeros((), dtype=torch.float64))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros where the mask has them."""
        return weight * (self.mask + (self.scores - self.scores.detach()))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return what is stored when the layer's weight is assigned."""
        return weight


def _score(module: nn.Module, weights: _zeros.Weights) -> list[tuple[nn.Module, str]]:
    """Give each weight scores, a shared one the same for all its users; return where they are."""
    scored = {id(weight): _Scored(weight) for weight in weights.values()}
    places = [
        (layer, name, scored[id(value)])
        for layer in module.modules()
        for name, value in layer.named_parameters(recurse=False)
        if id(value) in scored
    ]
    for layer, name, scores in places:
        parametrize.register_parametrization(layer, name, scores)
    return [(layer, name) for layer, name, _ in places]


@torch.no_grad()
def _rise(given: parametrize.ParametrizationList, ratio: float) -> None:
    """Mask the given share of a weight, lowest scores first; what is zero already, before all."""
    scored = given[0]
    if isinstance(scored, _Scored) and ratio > scored.reached:
        scores = scored.scores.masked_fill(given.original == 0, -torch.inf)
        scored.mask.copy_(~_zeros.lowest(scores, ratio))
        scored.reached.fill_(ratio)


@torch.no_grad()
def _bake(layer: nn.Module, name: str) -> None:
    """Put the zeros into the weight and take the scores away; users of one share it as before."""
    given = _list_of(layer, name)
    given.original.copy_(given())
    parametrize.remove_parametrizations(layer, name, leave_parametrized=False)


def _list_of(layer: nn.Module, name: str) -> parametrize.ParametrizationList:
    found = layer.get_submodule(f"parametrizations.{name}")
    if not isinstance(found, parametrize.ParametrizationList):
        raise TypeError(f"{name} of {layer} has no scores")
    return found


STEP = Movement
