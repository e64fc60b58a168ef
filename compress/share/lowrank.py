"""Low-rank factorisation: one linear layer becomes two thinner ones."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from torch import Tensor, nn

from bmc import plugins
from bmc.errors import SettingError
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class LowRank:
    """Replace each linear layer W (out x in) by B A, A (rank x in) and B (out x rank) from its SVD.

    A layer is left alone where the pair would hold no fewer parameters.

    Args:
        energy: share of the squared singular values to keep, in (0, 1].
        layers: names (fnmatch patterns) of the layers to split; all linears but the outputs
            when empty.

    Raises:
        SettingError: energy is outside (0, 1], or a pattern matches no layer.

    Source: Denton et al. 2014, "Exploiting Linear Structure Within Convolutional Networks",
    section 3.
    """

    energy: float = 0.9
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1]")

    def apply(self, model: Model, work: Work) -> Record:
        """Split the layers and return the rank of each."""
        record: Record = {}
        factors: dict[str, tuple[Tensor, Tensor]] = {}
        for name, layer in _chosen(model, self.layers).items():
            left, values, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
            rank = _rank_for(values, self.energy)
            if rank * (layer.in_features + layer.out_features) < layer.weight.numel():
                record[name] = rank
                factors[name] = (right[:rank], left[:, :rank] * values[:rank])
        biases = {name: layer.bias for name, layer in _chosen(model, self.layers).items()}
        LowRank.rebuild(model, record)
        with torch.no_grad():
            for name, (first, second) in factors.items():
                model.module.get_parameter(f"{name}.0.weight").copy_(first)
                model.module.get_parameter(f"{name}.1.weight").copy_(second)
                if biases[name] is not None:
                    model.module.get_parameter(f"{name}.1.bias").copy_(biases[name])
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Put a pair of linears of the recorded rank in each named layer's place."""
        for name, rank in record.items():
            layer = model.module.get_submodule(name)
            if not isinstance(layer, nn.Linear):
                raise SettingError(f"layer {name!r} is no linear layer; it cannot be split again")
            first = nn.Linear(layer.in_features, rank, bias=False)
            second = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
            model.module.set_submodule(name, nn.Sequential(first, second))


def _chosen(model: Model, patterns: tuple[str, ...]) -> dict[str, nn.Linear]:
    family = plugins.load("bmc.models", model.family, "model family")
    linears = {
        name: module for name, module in model.module.named_modules() if type(module) is nn.Linear
    }
    if not patterns:
        outputs = family.parts(model.module).outputs
        return {name: layer for name, layer in linears.items() if name not in outputs}
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in linears):
            raise SettingError(
                f"no linear layer matches {pattern!r}; there are, for example, "
                f"{', '.join(list(linears)[:3])}"
            )
    return {
        name: layer
        for name, layer in linears.items()
        if any(fnmatch(name, pattern) for pattern in patterns)
    }


def _rank_for(values: Tensor, energy: float) -> int:
    kept = (values**2).cumsum(0) / (values**2).sum()
    return min(len(values), int((kept < energy - 1e-7).sum()) + 1)


STEP = LowRank
