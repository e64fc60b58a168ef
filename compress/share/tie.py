"""Tying: several parameters of one shape become one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from bmc.contracts import families
from bmc.errors import SettingError, UsageError, unknown
from bmc.inference.codebook import refuse_clustered
from bmc.model import Model, Record, Work
from bmc.structure.word_table import word_table

_EMBEDDINGS = "embeddings"
_STARTS = ("mean", "first")


@dataclass(frozen=True)
class Tie:
    """Tie groups of parameters: each group is trained as one parameter, and stored once.

    Args:
        parameters: groups of names, with colons between, such as "a.weight:b.weight"; "embeddings"
            is the group of the word embedding and an output layer of its shape.
        start: the value of a group: the "mean" of its parameters, or the "first" one.

    Raises:
        SettingError: a group has fewer than two names, a name is in two groups, the shapes of a
            group differ, or start is out of range.
        UnknownError: there is no such parameter.
        UsageError: the model has no output embedding.

    Source: Press and Wolf 2017, "Using the Output Embedding to Improve Language Models".
    """

    parameters: tuple[str, ...] = (_EMBEDDINGS,)
    start: str = "mean"

    def __post_init__(self) -> None:
        if not self.parameters:
            raise SettingError("no parameters to tie; name them, such as a.weight:b.weight")
        if self.start not in _STARTS:
            raise SettingError(f"start is {self.start!r}; possible: {', '.join(_STARTS)}")
        for group in self._groups():
            if len(group) < 2 and group != [_EMBEDDINGS]:
                raise SettingError(
                    f"parameters has {group[0]!r} alone; put a colon between those to tie, "
                    "such as a.weight:b.weight"
                )
        names = list(chain.from_iterable(self._groups()))
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"{name!r} is named twice; put all its equals in one group")

    def apply(self, model: Model, work: Work) -> Record:
        """Tie the groups and return, for each tied name, the name of its parameter.

        Raises:
            UsageError: the weights are codebooks.
        """
        refuse_clustered(model.module, "tie")
        known = dict(model.module.named_parameters(remove_duplicate=False))
        tied: dict[str, str] = {}
        for group in self._groups():
            names = _embeddings(model) if group == [_EMBEDDINGS] else group
            for name in names:
                if name not in known:
                    raise unknown("parameter", name, known)
            members = list({id(known[name]): known[name] for name in names}.values())
            first = members[0]
            for name in names:
                if known[name].shape != first.shape:
                    raise SettingError(
                        f"{name} has shape {tuple(known[name].shape)}, {names[0]} "
                        f"{tuple(first.shape)}; only equal shapes can be tied"
                    )
            if self.start == "mean":
                with torch.no_grad():
                    first.copy_(torch.stack(tuple(members)).mean(dim=0))
            # A parameter may be tied already: all its names are tied again.
            others = {id(member) for member in members[1:]}
            tied |= {name: names[0] for name, value in known.items() if id(value) in others}
        record: Record = {"tied": tied} if tied else {}
        Tie.rebuild(model, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Tie each recorded name to its source's parameter."""
        for name, source in record.get("tied", {}).items():
            value, own = model.module.get_parameter(source), model.module.get_parameter(name)
            if own.shape != value.shape:
                raise SettingError(
                    f"{name} has shape {tuple(own.shape)}, {source} {tuple(value.shape)}; only "
                    "equal shapes can be tied"
                )
            around, _, last = name.rpartition(".")
            setattr(model.module.get_submodule(around), last, value)

    def _groups(self) -> list[list[str]]:
        return [[name.strip() for name in group.split(":")] for group in self.parameters]


def _embeddings(model: Model) -> list[str]:
    """Return the names of the word embedding's weight and of an output layer's of its shape."""
    path, table = word_table(model, "tie")
    outputs = families.network(model.family).parts(model.module).outputs
    for name in outputs:
        layer = model.module.get_submodule(name)
        if isinstance(layer, nn.Linear) and layer.weight.shape == table.weight.shape:
            return [f"{path}.weight", f"{name}.weight"]
    rows, width = table.weight.shape
    raise UsageError(
        f"this {model.family} has no output embedding: no output ({', '.join(outputs)}) has its "
        f"word table's shape, {rows} x {width}; name the parameters to tie, such as a:b"
    )


STEP = Tie
