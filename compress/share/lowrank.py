"""Low-rank factorization: one linear layer or convolution becomes two thinner ones."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import TypeGuard

import torch
from torch import Tensor, nn

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
    """Replace each layer W (out x in) by B A, A (rank x in) and B (out x rank) from its SVD.

    A convolution's W is out x (in x height x width): A is a convolution of the same size to `rank`
    channels, B one of 1 x 1. Convolutions in groups and recurrent layers are not split, nor are
    layers whose pair would have no fewer parameters. A layer that is used several times, or shares
    its weight with others, is split for all of them.

    Args:
        energy: share of each layer's squared singular values to keep, in (0, 1].
        budget: keep this share of the layers' weights instead, in (0, 1): ranks go where they keep
            most of a layer's energy a parameter. 0 goes by `energy`.
        fit: what a pair is fitted to: "weights", W itself; or "outputs", the layer's outputs on
            training rows, whose principal axes then replace the singular vectors.
        multiple: ranks are rounded up to a multiple of this, which kernels need to be fast.
        layers: names (fnmatch patterns) of the layers to split; all but the outputs when empty.

    Raises:
        SettingError: a setting is out of range, or the budget is too small for the smallest ranks.
        UnknownError: a pattern matches no layer that can be split.

    Source: Denton et al. 2014, "Exploiting Linear Structure Within Convolutional Networks",
    section 3; Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for Classification
    and Detection", sections 3.1 (two layers out of a convolution) and 3.4 (ranks for all layers at
    once, greedily by energy).
    """

    energy: float = 0.9
    budget: float = 0.0
    fit: str = "weights"
    multiple: int = 8
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1]")
        if not 0 <= self.budget < 1:
            raise SettingError(f"budget is {self.budget}; it must lie in (0, 1), or 0 for energy")
        if self.fit not in FITS:
            raise SettingError(f"fit is {self.fit!r}; possible: {', '.join(FITS)}")
        if self.multiple < 1:
            raise SettingError(f"multiple is {self.multiple}; it must be at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Split the layers and return the rank of each.

        Raises:
            UsageError: the weights are codebooks, or there are no outputs to fit.
        """
        refuse_clustered(model.module, "lowrank")
        layers = _chosen(model, self.layers)
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
                key: rank_for(of_layer, self.energy, self.multiple)
                for key, of_layer in values.items()
            }
            ranks = {
                key: rank for key, rank in ranks_by_energy.items() if rank <= _most(shapes[key])
            }
        record: Record = {}
        for key, rank in ranks.items():
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
        """Replace each recorded layer by a pair of layers of its rank."""
        pairs: dict[Tensor, nn.Sequential] = {}
        for name, rank in record.items():
            layer = model.module.get_submodule(name)
            if not _can_be_split(layer):
                raise SettingError(
                    f"layer {name!r} is no linear layer or plain convolution; it cannot be split"
                )
            full = min(layer.weight.flatten(1).shape)
            if type(rank) is not int or not 0 < rank <= full:
                raise SettingError(f"rank {rank!r:.40} of {name!r}; it must lie in 1..{full}")
            pair = _pair(layer, rank)
            tied = pairs.setdefault(layer.weight, pair)
            for half, tied_half in zip(pair, tied, strict=True):  # tied layers become tied pairs
                if half.weight.shape != tied_half.weight.shape:
                    raise SettingError(f"rank {rank} of {name!r}; its weight is tied to another's")
                half.weight = tied_half.weight
            if layer.bias is not None and len(users_of(model.module, layer.bias)) > 1:
                pair[1].bias = layer.bias
            replace_layers(model.module, {layer: pair})


def rank_for(values: Tensor, energy: float, multiple: int) -> int:
    """Return the smallest rank that keeps a share of the energy, rounded up to a multiple.

    Args:
        values: singular values, the largest first.
        energy: share of their squares to keep, in (0, 1].
        multiple: of which the rank shall be.
    """
    kept = (values**2).cumsum(0) / (values**2).sum()
    least = int((kept < energy - 1e-7).sum()) + 1
    return min(len(values), -(-least // multiple) * multiple)


def _ranks_within(
    budget: float, multiple: int, shapes: Mapping[int, Shape], values: Mapping[int, Tensor]
) -> dict[int, int]:
    """Return the ranks that keep most energy for each parameter, within a budget, by layer.

    All layers start at the smallest rank. A layer whose rank would not save anything is not split,
    and has none.

    Raises:
        SettingError: the budget is too small for the smallest ranks.
    """
    all_weights = sum(rows * columns for rows, columns in shapes.values())
    # What each rank of each layer costs, up to the whole layer, and the share of energy it keeps.
    ladders: dict[int, list[tuple[int, int, float]]] = {}
    for key, shape in shapes.items():
        squares = values[key].double() ** 2
        kept = (squares.cumsum(0) / squares.sum().clamp(min=1e-30)).tolist()
        steps = range(multiple, _most(shape) + 1, multiple)
        ladder = [(rank, rank * sum(shape), kept[rank - 1]) for rank in steps]
        ladders[key] = [*ladder, (0, shape[0] * shape[1], 1.0)]
    waiting: list[tuple[float, int, int]] = []

    def offer(number: int, key: int, place: int) -> None:
        if place + 1 < len(ladders[key]):
            (_, cost, energy), (_, more, better) = ladders[key][place : place + 2]
            heapq.heappush(waiting, ((energy - better) / (more - cost), number, place))

    keys = list(ladders)
    for number, key in enumerate(keys):
        offer(number, key, 0)
    chosen = dict.fromkeys(keys, 0)
    spent = sum(ladder[0][1] for ladder in ladders.values())
    if spent > budget * all_weights:
        raise SettingError(
            f"budget is {budget}; ranks of {multiple} already take {spent / all_weights:.3f} of "
            "the layers' weights: raise the budget, or lower multiple"
        )
    while waiting:
        _, number, place = heapq.heappop(waiting)
        key = keys[number]
        more = ladders[key][place + 1][1] - ladders[key][place][1]
        if spent + more <= budget * all_weights:
            spent += more
            chosen[key] = place + 1
            offer(number, key, place + 1)
    ranks = {key: ladders[key][place][0] for key, place in chosen.items()}
    return {key: rank for key, rank in ranks.items() if rank}


def _chosen(model: Model, patterns: tuple[str, ...]) -> dict[str, Layer]:
    """Return the layers to split by name, each once, and the layers that share their weights."""
    named: dict[str, Layer] = {
        name: layer
        for name, layer in model.module.named_modules(remove_duplicate=False)
        if _can_be_split(layer) and all(map(_can_be_split, users_of(model.module, layer.weight)))
    }
    family = families.network(model.family)
    if getattr(model.module, "is_foreign", False):
        direct = read_directly(model.module.eval(), family.examples(model.module)[0])
        named = {name: layer for name, layer in named.items() if name not in direct}
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in named):
            raise unknown("layer that can be split", pattern, named)
    if patterns:
        names = {name for name in named if any(fnmatch(name, pattern) for pattern in patterns)}
        chosen = {id(named[name].weight) for name in names}
    else:
        outputs = family.parts(model.module).outputs
        kept = {id(named[name].weight) for name in outputs if name in named}
        chosen = {id(layer.weight) for layer in named.values()} - kept
    once: dict[int, str] = {}
    for name, layer in named.items():
        if id(layer.weight) in chosen:
            once.setdefault(id(layer), name)
    return {name: named[name] for name in once.values()}


def _can_be_split(module: nn.Module) -> TypeGuard[Layer]:
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)


def _pair(layer: Layer, rank: int) -> nn.Sequential:
    """Return two layers with the inputs and outputs of a layer, with fresh weights."""
    biased = layer.bias is not None
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, rank, bias=False)
        return nn.Sequential(first, nn.Linear(rank, layer.out_features, bias=biased))
    narrow = nn.Conv2d(
        layer.in_channels,
        rank,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        bias=False,
        padding_mode=layer.padding_mode,
    )
    return nn.Sequential(narrow, nn.Conv2d(rank, layer.out_channels, 1, bias=biased))


@torch.no_grad()
def _load(pair: nn.Module, layer: Layer) -> None:
    """Fill a pair with the factors of a layer's weight, and its bias."""
    left, values, right = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
    first, second = pair.get_parameter("0.weight"), pair.get_parameter("1.weight")
    rank = len(first)
    first.copy_(right[:rank].view_as(first))
    second.copy_((left[:, :rank] * values[:rank]).view_as(second))
    if layer.bias is not None:
        pair.get_parameter("1.bias").copy_(layer.bias)


def _most(shape: Shape) -> int:
    """Return the greatest rank at which a pair has fewer weights than the layer; 0 if none has."""
    return (shape[0] * shape[1] - 1) // sum(shape)


STEP = LowRank
