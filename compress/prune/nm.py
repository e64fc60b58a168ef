"""N:M sparsity: of each M weights along the inputs, N are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmc import console
from bmc.errors import SettingError
from bmc.model import AfterStep, Model, Record, Work
from bmc.structure import zeros

_PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class NM:
    """Keep the N largest weights of every M neighbors along the inputs; the others become zero.

    The sparse kernels of NVIDIA's GPUs read 2:4, along input channels (of a convolution at each
    position of its filter); elsewhere the file shrinks only when it is compressed. Layers whose
    inputs do not divide into groups are not pruned, nor are embeddings, recurrent layers and,
    unless `layers` names them, outputs.

    Args:
        pattern: "2:4" or "4:8".
        layers: names (fnmatch patterns) of the linear layers and convolutions to prune; all but
            outputs when empty.

    Raises:
        SettingError: there is no such pattern, or the inputs of a layer that is named in full, or
            of all of them, do not divide.
        UnknownError: a pattern of `layers` matches no layer.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks".
    """

    pattern: str = "2:4"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pattern not in _PATTERNS:
            raise SettingError(f"pattern is {self.pattern!r}; possible: {', '.join(_PATTERNS)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Set the weights to zero and return the share of zeros in each parameter."""
        kept, size = _PATTERNS[self.pattern]
        weights = zeros.weights_of(model, self.layers, _KINDS)
        odd = {name: value.shape[1] for name, value in weights.items() if value.shape[1] % size}
        _refuse_odd(odd, self.pattern, self.layers, everything=len(odd) == len(weights))
        chosen = {name: value for name, value in weights.items() if name not in odd}
        zeros.zero(chosen, {name: _pruned(value, kept, size) for name, value in chosen.items()})
        return zeros.record_of(chosen)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Check the names; shapes stay."""
        zeros.check_record(model, record)

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros through later training."""
        return zeros.keep_zeros(record)


def _refuse_odd(
    odd: dict[str, int], pattern: str, layers: tuple[str, ...], everything: bool
) -> None:
    """Refuse layers that do not divide where one is named in full; else note them."""
    if not odd:
        return
    shown = ", ".join(f"{name} ({inputs})" for name, inputs in odd.items())
    group = pattern.partition(":")[2]
    if everything:
        raise SettingError(
            f"{pattern} needs inputs that divide by {group}; no layer's do: {shown}. "
            "`unstructured` prunes any width"
        )
    for name, inputs in odd.items():
        if name.rpartition(".")[0] in layers:
            raise SettingError(
                f"{name} has {inputs} inputs, which do not divide by {group} as {pattern} needs; "
                "leave it out of layers, or prune it with `unstructured`"
            )
    console.note(f"left alone, since their inputs do not divide by {group}: {shown}")


@torch.no_grad()
def _pruned(weight: Tensor, kept: int, size: int) -> Tensor:
    """Return a mask of all but the largest weights of each group along axis 1: bool."""
    inputs_last = weight.movedim(1, -1)
    groups = inputs_last.abs().reshape(-1, size)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(1, groups.topk(size - kept, dim=1, largest=False).indices, value=True)
    return mask.view(inputs_last.shape).movedim(-1, 1)


STEP = NM
