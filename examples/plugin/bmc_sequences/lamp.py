"""LAMP: magnitude pruning whose share of zeros differs from layer to layer, without a search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.model import AfterStep, Model, Record, Work


@dataclass(frozen=True)
class Lamp:
    """Set the weights of the lowest LAMP scores to zero, compared over all layers.

    A weight's score is its square, divided by the sum of the squares of the weights of its layer
    that are not smaller. The largest weight of a layer has the score 1, so that no layer loses all
    of its weights. Embeddings, outputs, biases and norms stay.

    Args:
        ratio: share of the weights that are zero afterwards, in (0, 1).

    Raises:
        SettingError: the ratio is out of range.

    Source: Lee, Park, Mo, Ahn and Shin 2021, "Layer-adaptive Sparsity for the Magnitude-based
    Pruning", section 3.

    Example:
        $ bmc prune tcn-digit-rows --method lamp --ratio 0.8
    """

    ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must lie between 0 and 1, both excluded")

    @torch.no_grad()
    def apply(self, model: Model, work: Work) -> Record:
        """Set weights to zero, in place, and return the share of zeros of each parameter."""
        weights = _prunable(model)
        scores = {name: lamp_scores(weight) for name, weight in weights.items()}
        together = torch.cat([score.flatten() for score in scores.values()])
        count = round(self.ratio * len(together))
        threshold = together.kthvalue(count).values if count else together.new_tensor(-1.0)
        for name, weight in weights.items():
            weight.masked_fill_(scores[name] <= threshold, 0.0)
        return {
            "parameters": {
                name: 1 - int(weight.count_nonzero()) / weight.numel()
                for name, weight in weights.items()
            }
        }

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Check that the record is one of this model: zeros change no shape.

        Raises:
            ArtifactError: it names parameters that the model does not have.
        """
        shares = record.get("parameters")
        known = dict(model.module.named_parameters(remove_duplicate=False))
        if not isinstance(shares, dict) or not shares.keys() <= known.keys():
            raise ArtifactError("a record of zeros names other parameters than the model's")

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Return what sets the same weights to zero after each step of later training."""
        masks: dict[str, Tensor] = {}

        def after_step(module: nn.Module, done: float) -> None:
            weights = dict(module.named_parameters(remove_duplicate=False))
            names = record["parameters"].keys() & weights.keys()
            if not masks:
                masks.update({name: weights[name].detach() == 0 for name in names})
            with torch.no_grad():
                for name, mask in masks.items():
                    weights[name].masked_fill_(mask, 0.0)

        return after_step


def lamp_scores(weight: Tensor) -> Tensor:
    """Return the LAMP score of each weight, in (0, 1] where the weight is not 0.

    Args:
        weight: weight of one layer, any shape.
    """
    squares = weight.detach().double().square().flatten()
    ordered, places = squares.sort(descending=True)
    scores = torch.zeros_like(squares)
    scores[places] = ordered / ordered.cumsum(0).clamp(min=torch.finfo(torch.float64).tiny)
    return scores.view(weight.shape)


def _prunable(model: Model) -> dict[str, nn.Parameter]:
    """Return the matrices and filters of all layers but embeddings and outputs, by name.

    Raises:
        UsageError: there are none.
    """
    parts = families.network(model.family).parts(model.module)
    left_alone = tuple(f"{path}." for path in (*parts.outputs, *parts.embeddings))
    weights = {
        name: value
        for name, value in model.module.named_parameters()
        if value.dim() > 1 and not name.startswith(left_alone)
    }
    if not weights:
        raise UsageError("there is nothing to prune beside embeddings and outputs")
    return weights


STEP = Lamp
