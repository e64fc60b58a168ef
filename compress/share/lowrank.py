"""Low-rank factorization: a linear layer or convolution becomes two smaller layers."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import TypeGuard

import torch
from torch import Tensor, nn

from bmc.choices import Between, about
from bmc.contracts import families
from bmc.errors import SettingError, unknown
from bmc.inference.codebook import refuse_clustered
from bmc.inference.replacing import replace_layers
from bmc.inference.sharing import read_directly, users_of
from bmc.model import Model, Record, Work
from bmc.structure.outputs import Outputs

Layer = nn.Linear | nn.Conv2d
Shape = tuple[int, int]
FITS = ("weights", "outputs")


@dataclass(frozen=True)
class LowRank:
    """Replace each weight W (out x in) by B A, A (rank x in) and B (out x rank), from its SVD.

    A convolution's W is out x (in x height x width): A is a convolution of the same kernel size
    with `rank` output channels, B is a 1 x 1 convolution. Grouped convolutions and recurrent layers
    are not split, nor layers for which A and B would not have fewer parameters. Layers that share a
    weight are split together, into pairs that share their weights.

    Args:
        energy: share of each layer's squared singular values to keep, in (0, 1].
        budget: share of the layers' parameters to keep, in (0, 1); ranks are raised where a
            parameter adds most of a layer's energy. 0 chooses ranks by `energy`.
        fit: target of the fit: "weights" (W itself) or "outputs" (the layer's outputs on training
            rows, whose principal axes then take the place of the singular vectors).
        multiple: number that ranks are rounded up to a multiple of, for fast kernels.
        layers: names (fnmatch patterns) of the layers to split; all but the outputs when empty.

    Raises:
        SettingError: a setting is out of range, or the budget is too small for the smallest ranks.
        UnknownError: a pattern matches no layer that can be split.

    Source: Denton et al. 2014, "Exploiting Linear Structure Within Convolutional Networks",
    section 3; Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for Classification
    and Detection", sections 3.1 (splitting a convolution) and 3.4 (greedy choice of the ranks of
    all layers by energy).
    """

    energy: float = field(default=0.9, metadata=about(search=Between(0.5, 0.98)))
    budget: float = 0.0
    fit: str = "weights"
    multiple: int = 8
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1]")
        if not 0 <= self.budget < 1:
            raise SettingError(
                f"budget is {self.budget}; it must lie in (0, 1), or be 0 to use energy"
            )
        if self.fit not in FITS:
            raise SettingError(f"fit is {self.fit!r}; possible: {', '.join(FITS)}")
        if self.multiple < 1:
            raise SettingError(f"multiple is {self.multiple}; it must be at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Split the layers and return the rank of each.

        Raises:
            UsageError: the weights are codebooks, or a layer has no outputs to fit.
        """
        refuse_clustered(model.module, "lowrank")
        layers = _choose_layers(model, self.layers)
        weights = {id(layer.weight): layer.weight.detach().flatten(1) for layer in layers.values()}
        shapes = {key: (weight.shape[0], weight.shape[1]) for key, weight in weights.items()}
        users = {
            key: [name for name, layer in layers.items() if id(layer.weight) == key]
            for key in weights
        }
        outputs = None
        if self.fit == "outputs":
            outputs = Outputs(replace(model, module=copy.deepcopy(model.module)), work)
            values = outputs.spectra(users)
        else:
            values = {key: torch.linalg.svdvals(weight) for key, weight in weights.items()}
        if self.budget:
            ranks = _ranks_within(self.budget, self.multiple, shapes, values)
        else:
            ranks_by_energy = {
                key: rank_for(singular_values, self.energy, self.multiple)
                for key, singular_values in values.items()
            }
            ranks = {
                key: rank for key, rank in ranks_by_energy.items() if rank <= _max_rank(shapes[key])
            }
        record: Record = {}
        for key in values:  # with fit=outputs in the order in which the layers run
            if key not in ranks:
                continue
            rank = ranks[key]
            if outputs:
                outputs.fit(model.module, users[key], rank)
            pairs = dict.fromkeys(users[key], rank)
            LowRank.rebuild(model, pairs)
            for name in pairs:
                _load(model.module.get_submodule(name), layers[name])
            record |= pairs
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace each recorded layer by a pair of layers of the recorded rank."""
        # PyTorch's fused encoder layer reads the weights of its layers without calling them.
        torch.backends.mha.set_fastpath_enabled(False)
        pairs: dict[Tensor, nn.Sequential] = {}
        for name, rank in record.items():
            layer = model.module.get_submodule(name)
            if not _can_be_split(layer):
                raise SettingError(
                    f"layer {name!r} is neither a linear layer nor an ungrouped convolution, so it "
                    "cannot be split"
                )
            full_rank = min(layer.weight.flatten(1).shape)
            if type(rank) is not int or not 0 < rank <= full_rank:
                raise SettingError(
                    f"the rank of {name!r} is {rank!r:.40}; it must lie in 1..{full_rank}"
                )
            pair = _pair(layer, rank)
            tied = pairs.setdefault(layer.weight, pair)
            for factor, tied_factor in zip(pair, tied, strict=True):  # tied layers: tied pairs
                if factor.weight.shape != tied_factor.weight.shape:
                    raise SettingError(
                        f"the rank of {name!r} is {rank}, but its weight is shared with a layer of "
                        "another rank; both must have the same rank"
                    )
                factor.weight = tied_factor.weight
            if layer.bias is not None and len(users_of(model.module, layer.bias)) > 1:
                pair[1].bias = layer.bias
            replace_layers(model.module, {layer: pair})


def rank_for(values: Tensor, energy: float, multiple: int) -> int:
    """Return the smallest rank that keeps a share of the energy, rounded up to a multiple.

    Args:
        values: singular values, the largest first, float (values).
        energy: share of the squared singular values to keep, in (0, 1].
        multiple: number that the rank is a multiple of, unless it is the full rank.
    """
    kept_energy = (values**2).cumsum(0) / (values**2).sum()
    smallest = int((kept_energy < energy - 1e-7).sum()) + 1
    return min(len(values), -(-smallest // multiple) * multiple)


def _ranks_within(
    budget: float, multiple: int, shapes: Mapping[int, Shape], values: Mapping[int, Tensor]
) -> dict[int, int]:
    """Return the ranks of all weights within a budget, chosen greedily by energy per parameter.

    All weights start at the smallest rank. A weight without a rank in the result is not split,
    since a pair would not have fewer parameters.

    Args:
        budget: share of the weights' parameters to keep.
        multiple: number that ranks are a multiple of.
        shapes: shape of each weight as a matrix, by the weight's id.
        values: singular values of each weight, the largest first, by the weight's id.

    Raises:
        SettingError: the budget is too small for the smallest ranks.
    """
    all_weights = sum(rows * columns for rows, columns in shapes.values())
    # Rank, number of parameters and share of energy of each possible pair; last the whole weight.
    choices: dict[int, list[tuple[int, int, float]]] = {}
    for key, shape in shapes.items():
        squares = values[key].double() ** 2
        kept_energy = (squares.cumsum(0) / squares.sum().clamp(min=1e-30)).tolist()
        ranks_of_pairs = range(multiple, _max_rank(shape) + 1, multiple)
        pairs = [(rank, rank * sum(shape), kept_energy[rank - 1]) for rank in ranks_of_pairs]
        choices[key] = [*pairs, (0, shape[0] * shape[1], 1.0)]
    queue: list[tuple[float, int, int]] = []  # negative energy per parameter, weight, choice

    def push(number: int, key: int, index: int) -> None:
        if index + 1 < len(choices[key]):
            (_, size, energy), (_, next_size, next_energy) = choices[key][index : index + 2]
            heapq.heappush(queue, ((energy - next_energy) / (next_size - size), number, index))

    keys = list(choices)
    for number, key in enumerate(keys):
        push(number, key, 0)
    chosen = dict.fromkeys(keys, 0)
    total_size = sum(pairs[0][1] for pairs in choices.values())
    if total_size > budget * all_weights:
        raise SettingError(
            f"budget is {budget}; ranks of {multiple} already take {total_size / all_weights:.3f} "
            "of the layers' weights: raise the budget, or lower multiple"
        )
    while queue:
        _, number, index = heapq.heappop(queue)
        key = keys[number]
        added = choices[key][index + 1][1] - choices[key][index][1]
        if total_size + added <= budget * all_weights:
            total_size += added
            chosen[key] = index + 1
            push(number, key, index + 1)
    ranks = {key: choices[key][index][0] for key, index in chosen.items()}
    return {key: rank for key, rank in ranks.items() if rank}


def _choose_layers(model: Model, patterns: tuple[str, ...]) -> dict[str, Layer]:
    """Return the layers to split by name, with all layers that share a weight with them.

    A layer that has several names occurs once.

    Raises:
        UnknownError: a pattern matches no layer that can be split.
    """
    layer_of: dict[str, Layer] = {
        name: layer
        for name, layer in model.module.named_modules(remove_duplicate=False)
        if _can_be_split(layer) and all(map(_can_be_split, users_of(model.module, layer.weight)))
    }
    family = families.network(model.family)
    if getattr(model.module, "is_user_network", False):
        excluded = read_directly(model.module.eval(), family.examples(model.module)[0])
        layer_of = {name: layer for name, layer in layer_of.items() if name not in excluded}
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in layer_of):
            raise unknown("layer that can be split", pattern, layer_of)
    if patterns:
        names = {name for name in layer_of if any(fnmatch(name, pattern) for pattern in patterns)}
        chosen = {id(layer_of[name].weight) for name in names}
    else:
        outputs = family.parts(model.module).outputs
        output_weights = {id(layer_of[name].weight) for name in outputs if name in layer_of}
        chosen = {id(layer.weight) for layer in layer_of.values()} - output_weights
    first_names: dict[int, str] = {}
    for name, layer in layer_of.items():
        if id(layer.weight) in chosen:
            first_names.setdefault(id(layer), name)
    return {name: layer_of[name] for name in first_names.values()}


def _can_be_split(module: nn.Module) -> TypeGuard[Layer]:
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)


def _pair(layer: Layer, rank: int) -> nn.Sequential:
    """Return a pair of layers, with new weights, that can replace a layer.

    Args:
        layer: the layer to replace.
        rank: number of outputs of the first layer of the pair.
    """
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, rank, bias=False)
        return nn.Sequential(first, nn.Linear(rank, layer.out_features, bias=has_bias))
    first_conv = nn.Conv2d(
        layer.in_channels,
        rank,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        bias=False,
        padding_mode=layer.padding_mode,
    )
    return nn.Sequential(first_conv, nn.Conv2d(rank, layer.out_channels, 1, bias=has_bias))


@torch.no_grad()
def _load(pair: nn.Module, layer: Layer) -> None:
    """Set the weights of a pair to the factors of a layer's weight, and copy the bias."""
    left, values, right = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
    first, second = pair.get_parameter("0.weight"), pair.get_parameter("1.weight")
    rank = len(first)
    first.copy_(right[:rank].view_as(first))
    second.copy_((left[:, :rank] * values[:rank]).view_as(second))
    if layer.bias is not None:
        pair.get_parameter("1.bias").copy_(layer.bias)


def _max_rank(shape: Shape) -> int:
    """Return the largest rank at which a pair has fewer weights than the layer; 0 if none."""
    return (shape[0] * shape[1] - 1) // sum(shape)


STEP = LowRank
