"""N:M sparsity: keep N of every M consecutive weights along the inputs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmc import console
from bmc.errors import SettingError
from bmc.model import AfterStep, Model, Record, Work
from bmc.structure import zeros

PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}
"""N and M of each pattern."""
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class NM:
    """Keep the N largest of every M consecutive weights along the inputs, and zero the others.

    The sparse kernels of NVIDIA's GPUs run 2:4, along input channels (in a convolution, at each
    position of its filter). On other devices only a compressed file gets smaller. Layers whose
    number of inputs is not divisible by M are not pruned. Neither are embeddings and recurrent
    layers, nor outputs unless `layers` names them.

    Args:
        pattern: "2:4" or "4:8".
        layers: names (fnmatch patterns) of the linear layers and convolutions to prune; all but
            outputs when empty.

    Raises:
        SettingError: pattern is another; or the number of inputs is not divisible by M for a layer
            whose full name is in `layers`, or for every layer.
        UnknownError: a pattern of `layers` matches no layer.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks".
    """

    pattern: str = "2:4"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise SettingError(f"pattern is {self.pattern!r}; possible: {', '.join(PATTERNS)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Set the weights to zero and return the share of zeros in each parameter."""
        kept, size = PATTERNS[self.pattern]
        weights = zeros.weights_of(model, self.layers, _KINDS)
        inputs = {name: weight.shape[1] for name, weight in weights.items()}
        indivisible = {name: count for name, count in inputs.items() if count % size}
        named = {name for name in indivisible if name.rpartition(".")[0] in self.layers}
        check_divisible(indivisible, self.pattern, named, len(weights))
        pruned = {name: weight for name, weight in weights.items() if name not in indivisible}
        masks = {name: smallest(weight, kept, size) for name, weight in pruned.items()}
        zeros.zero(pruned, masks)
        return zeros.record_of(pruned)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Check the names; shapes stay."""
        zeros.check_record(model, record)

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros through later training."""
        return zeros.keep_zeros(record)


def check_divisible(
    indivisible: dict[str, int], pattern: str, named: Collection[str], count: int
) -> None:
    """Refuse an indivisible layer if `layers` has its full name; otherwise print a note.

    Args:
        indivisible: number of inputs that is not divisible by M, by parameter name.
        pattern: N:M.
        named: parameters of layers that the setting `layers` names in full.
        count: number of parameters that are to be pruned.

    Raises:
        SettingError: a layer is named in full, or no layer is divisible.
    """
    if not indivisible:
        return
    names = ", ".join(f"{name} ({inputs})" for name, inputs in indivisible.items())
    size = pattern.partition(":")[2]
    if len(indivisible) == count:
        raise SettingError(
            f"pattern {pattern} needs numbers of inputs that are divisible by {size}; no layer has "
            f"one: {names}. Method unstructured prunes layers of any size"
        )
    for name, inputs in indivisible.items():
        if name in named:
            raise SettingError(
                f"{name} has {inputs} inputs, and pattern {pattern} needs a number divisible by "
                f"{size}: leave the layer out of layers, or prune it with method unstructured"
            )
    console.note(f"not pruned, since the number of inputs is not divisible by {size}: {names}")


@torch.no_grad()
def smallest(weight: Tensor, kept: int, size: int) -> Tensor:
    """Return a mask of all but the largest weights of each group along axis 1, bool.

    Args:
        weight: a weight (out, in, ...).
        kept: N, the weights of each group that are not masked.
        size: M, the weights of a group.
    """
    inputs_last = weight.movedim(1, -1)
    groups = inputs_last.abs().reshape(-1, size)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(1, groups.topk(size - kept, dim=1, largest=False).indices, value=True)
    return mask.view(inputs_last.shape).movedim(-1, 1)


STEP = NM
