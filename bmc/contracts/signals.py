"""Signals of distillation: what of a teacher a student is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from bmc.contracts.base import Contract, function, instance_of, value
from bmc.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class View:
    """What a network computes on a batch, as signals compare it. What it does not have is empty.

    Args:
        logits: (rows, classes), or values (rows, 1).
        hidden: hidden states of the embeddings, then of each layer, (rows, length, width).
        attentions: probabilities of each layer, (rows, heads, length, length).
        queries: of each layer, all heads side by side, (rows, length, units).
        keys: likewise.
        values: likewise.
        mask: True for tokens that are not padding, bool (rows, length).
        maps: feature maps of an image network, the last of each resolution, (rows, channels,
            height, width).
        rows: indices of the rows among all training rows, int64 (rows).
        total: number of all training rows; 0 where `rows` is None.
    """

    logits: Tensor
    hidden: Sequence[Tensor] = ()
    attentions: Sequence[Tensor] = ()
    queries: Sequence[Tensor] = ()
    keys: Sequence[Tensor] = ()
    values: Sequence[Tensor] = ()
    mask: Tensor | None = None
    maps: Sequence[Tensor] = ()
    rows: Tensor | None = None
    total: int = 0

    def parts(self) -> set[str]:
        """Return the names of what is not empty."""
        every = {each.name: getattr(self, each.name) for each in fields(self)}
        every.pop("total")
        return {name for name, part in every.items() if part is not None and len(part)}

    def depth(self) -> int:
        """Return the number of layers, or of feature maps in an image network."""
        return max(len(self.attentions), len(self.hidden) - 1, len(self.maps), 0)


@dataclass(frozen=True, kw_only=True)
class Signal(Contract):
    """Describe a signal; the file `compress/distill/signals/NAME.py` ends with `SIGNAL`.

    Args:
        about: what is compared, in one sentence.
        needs: fields of `View` that both sides must have.
        bind: returns a module that is called with the student's view and the teacher's and returns
            the loss, a scalar. It may have parameters, which are trained beside the student's and
            dropped afterwards. It is given a view of each side on one batch, for the shapes, and
            for each layer of the student the index of the teacher's that it learns from.
        with_logits: whether it means something only beside the logits, and so is never learned
            before them.
    """

    about: str = field(metadata=value(str))
    needs: tuple[str, ...] = field(metadata=value(tuple))
    bind: Callable[[View, View, Sequence[int]], nn.Module] = field(
        metadata=function("student", "teacher", "layers")
    )
    with_logits: bool = field(default=False, metadata=value(bool))


SIGNALS = Kind(
    "signal",
    "bmc.compress.distill.signals",
    "bmc.signals",
    "SIGNAL",
    instance_of(Signal, "SIGNAL"),
    "bmc distill --help says what each is",
)


def signal(name: str) -> Signal:
    """Return a signal's description by name; see `Kind.load` for what is raised."""
    return SIGNALS.load(name)
