"""Unstructured magnitude pruning: the smallest weights are set to zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmc.errors import SettingError
from bmc.model import AfterStep, Model, Record, Work
from bmc.structure import zeros

_SCOPES = ("global", "layer")


@dataclass(frozen=True)
class Unstructured:
    """Set the weights of the smallest magnitude to zero, at once or while the model trains.

    The file shrinks only when it is compressed, and few kernels skip zeros. Linear, convolution
    and recurrent weights are pruned; embeddings and outputs only if `layers` names them; biases
    and norms never.

    Args:
        ratio: share of the weights that are zero afterwards, in (0, 1).
        scope: "global" compares all weights, "layer" those of each parameter.
        layers: names (fnmatch patterns) of the layers to prune; all but embeddings and outputs
            when empty.
        epochs: epochs of training in which the share of zeros rises along a cubic curve; 0 prunes
            at once.

    Raises:
        SettingError: a setting is out of range, or a layer would have no weight left.
        UnknownError: a pattern matches no layer.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks";
    Zhu and Gupta 2017, "To Prune, or Not to Prune" (gradual).
    """

    ratio: float = 0.5
    scope: str = "global"
    layers: tuple[str, ...] = ()
    epochs: int = 0

    def __post_init__(self) -> None:
        zeros.check_ratio(self.ratio)
        if self.scope not in _SCOPES:
            raise SettingError(f"scope is {self.scope!r}; possible: {', '.join(_SCOPES)}")
        if self.epochs < 0:
            raise SettingError(f"epochs is {self.epochs}; it must be 0 or more")

    def apply(self, model: Model, work: Work) -> Record:
        """Set the weights to zero and return the share of zeros in each parameter."""
        weights = zeros.weights_of(model, self.layers)
        masks = smallest(weights, self.ratio, self.scope)
        zeros.refuse_empty(weights, masks)
        if self.epochs:
            gradual = _gradual(tuple(weights), self.ratio, self.scope)
            work.fit(model, after_step=gradual, epochs=self.epochs, name="gradual", keep="last")
            masks = smallest(weights, self.ratio, self.scope)
        zeros.zero(weights, masks)
        return zeros.record_of(weights)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Check the names; shapes stay."""
        zeros.check_record(model, record)

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros through later training."""
        return zeros.keep_zeros(record)


@torch.no_grad()
def smallest(weights: Mapping[str, Tensor], ratio: float, scope: str) -> dict[str, Tensor]:
    """Return a mask of the weights of the smallest magnitude, by parameter name."""
    if scope == "layer":
        return {name: zeros.lowest(weight.abs(), ratio) for name, weight in weights.items()}
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    sizes = [weight.numel() for weight in weights.values()]
    parts = zeros.lowest(magnitudes, ratio).split(sizes)  # type: ignore[no-untyped-call]
    return {
        name: part.view(weight.shape)
        for (name, weight), part in zip(weights.items(), parts, strict=True)
    }


def _gradual(names: tuple[str, ...], ratio: float, scope: str) -> AfterStep:
    """Return a function that sets a growing share of the weights to zero, and keeps them zero.

    The zeros themselves are the only state that matters, so a resumed run continues from them.
    """
    reached = 0.0
    masks: dict[str, Tensor] = {}

    def after_step(module: nn.Module, done: float) -> None:
        nonlocal reached, masks
        parameters = dict(module.named_parameters())
        weights = {name: parameters[name] for name in names}
        target = zeros.ratio_at(done, ratio)
        if target > reached:
            reached, masks = target, smallest(weights, target, scope)
        zeros.zero(weights, masks)

    return after_step


STEP = Unstructured
