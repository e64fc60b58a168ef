"""Contract of distillation signals: in which of its values a student is compared to its teacher."""

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
    """The values of one network on a batch, which signals compare; a part that it lacks is empty.

    Args:
        logits: (rows, classes), or values (rows, 1).
        hidden: hidden states: the embeddings, then the output of each layer, (rows, length, width).
        attentions: attention probabilities of each layer, (rows, heads, length, length).
        queries: queries of each layer, all heads concatenated, (rows, length, units).
        keys: keys of each layer, in the shape of the queries.
        values: values of each layer, in the shape of the queries.
        mask: True for tokens that are not padding, bool (rows, length).
        maps: feature maps of an image network, the last of each resolution, (rows, channels,
            height, width).
        rows: indices of the batch's rows among all training rows, int64 (rows).
        total: number of all training rows; 0 where `rows` is None.
        task: name of the task, which says what the logits are.
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
    task: str = "classification"

    def parts(self) -> set[str]:
        """Return the names of the parts that are not empty."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        del parts["total"], parts["task"]
        return {name for name, part in parts.items() if part is not None and len(part)}

    def depth(self) -> int:
        """Return the number of layers, or of feature maps in an image network."""
        return max(len(self.attentions), len(self.hidden) - 1, len(self.maps), 0)


@dataclass(frozen=True, kw_only=True)
class Signal(Contract):
    """A signal of distillation, which the `SIGNAL` of its file describes.

    The file is `compress/distill/signals/NAME.py`, or a module of another package.

    Args:
        about: the values that the signal compares, in one sentence.
        needs: fields of `View` that student and teacher must both have.
        bind: function that builds the loss of the signal, a module. The function takes the views
            of student and teacher on one batch, for their shapes, and for each layer of the
            student the index of the teacher's layer that the student's layer learns from. The
            module is called with the views of student and teacher and returns a scalar. Its
            parameters, if any, are trained with the student's and dropped after training.
        with_logits: whether the signal is useful only together with the logits; such a signal is
            never learned before them.
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
    """Return a signal by its name; see `Kind.load` for the errors."""
    return SIGNALS.load(name)
