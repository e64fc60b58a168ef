"""The importance of units: by weight norms, by the change of the loss, or at random.

Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (norms); Molchanov et al. 2019,
"Importance Estimation for Neural Network Pruning" (taylor).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bmc.compress.prune._cutting import weights_of
from bmc.model import Model, Work, output_of
from bmc.training.batches import Rows
from bmc.training.settings import TrainingSettings
from bmc.training.work import label_loss

if TYPE_CHECKING:
    from bmc.compress.prune._graph import Group

CRITERIA = ("l1", "l2", "taylor", "random")
_ROWS, _BATCH = 256, 32


def importance_of(
    groups: Sequence[Group], criterion: str, model: Model, work: Work
) -> dict[str, Tensor]:
    """Return the importance of each unit, float (units), by group name.

    Args:
        groups: groups of units that are pruned together.
        criterion: one of CRITERIA; "random" draws from torch's generator.
        model: the model, which is not changed.
        work: the data, whose training rows criterion "taylor" uses.
    """
    if criterion == "random":
        return {group.name: torch.rand(group.units) for group in groups}
    if criterion == "taylor":
        return _changes_of_loss(groups, model, work)
    return {group.name: _norms(group, model.module, int(criterion[1])) for group in groups}


@torch.no_grad()
def _norms(group: Group, module: nn.Module, power: int) -> Tensor:
    """Return the norms of the weights that compute and read each unit, averaged over the layers."""
    norms_of_layers = []
    for member in group.members:
        weights = weights_of(module.get_submodule(member.paths[0]), member.axis, Tensor.detach)
        if weights is not None:
            sums = _by_unit(weights.abs().pow(power).sum(dim=1), member.units, group.units)
            norms = sums.pow(1 / power)
            norms_of_layers.append(norms / norms.mean().clamp(min=1e-12))
    return torch.stack(norms_of_layers).mean(dim=0)


def _changes_of_loss(groups: Sequence[Group], model: Model, work: Work) -> dict[str, Tensor]:
    """Return each unit's squared first-order change of the loss, summed over batches.

    If columns w of weights read a unit, removing the unit changes the loss by -(gradient x w).
    """
    train = work.data.train
    indices = torch.randperm(len(train.rows))[:_ROWS].tolist()
    rows = Rows(
        [train.rows[index] for index in indices],
        [train.labels[index] for index in indices],
        model.encoder,
    )
    loss = label_loss(model, train.labels, TrainingSettings())
    module = model.module.eval()
    frozen = [
        value
        for value in module.parameters()
        if value.is_floating_point() and not value.requires_grad
    ]
    for value in frozen:
        value.requires_grad = True
    scores = {group.name: torch.zeros(group.units) for group in groups}
    for batch in map(rows.batch, rows.in_order(_BATCH)):
        module.zero_grad()
        loss(batch.selected(output_of(module, batch.inputs)), batch).backward()  # type: ignore[no-untyped-call]
        for group in groups:
            change = torch.zeros(group.units)
            for member in group.members:
                layer = module.get_submodule(member.paths[0])
                axis = "in" if member.axis == "in" else "state"
                columns = weights_of(layer, axis, _gradient_times_weight)
                if columns is not None:
                    change += _by_unit(columns.sum(dim=1), member.units, group.units)
            scores[group.name] += change**2
    module.zero_grad()
    for value in frozen:
        value.requires_grad = False
    return scores


def _gradient_times_weight(weight: Any) -> Tensor:
    if weight.grad is None:
        return torch.zeros_like(weight)
    return weight.detach() * weight.grad  # type: ignore[no-any-return]


def _by_unit(values: Tensor, units: Tensor, count: int) -> Tensor:
    """Return the sum of the values of each unit.

    Args:
        values: one value for each index of an axis, float (indices).
        units: the unit at each index, int64 (indices); -1 for a unit of another group.
        count: number of units.
    """
    return torch.zeros(count + 1).index_add(0, units.where(units >= 0, count), values)[:count]
