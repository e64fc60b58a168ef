"""Tying: several parameters of equal shape become one parameter."""

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
        parameters: groups of parameter names, separated by colons, such as "a.weight:b.weight".
            "embeddings" is the group of the word embedding and an output layer of the same shape.
        start: initial value of a group: the "mean" of its parameters, or its "first" parameter.

    Raises:
        SettingError: a group has fewer than two names, a name occurs twice, the shapes of a group
            differ, or start is another.
        UnknownError: the model has no parameter of a name.
        UsageError: the model has no output layer of the word embedding's shape.

    Source: Press and Wolf 2017, "Using the Output Embedding to Improve Language Models".
    """

    parameters: tuple[str, ...] = (_EMBEDDINGS,)
    start: str = "mean"

    def __post_init__(self) -> None:
        if not self.parameters:
            raise SettingError("parameters is empty; give names to tie, such as a.weight:b.weight")
        if self.start not in _STARTS:
            raise SettingError(f"start is {self.start!r}; possible: {', '.join(_STARTS)}")
        for group in self._groups():
            if len(group) < 2 and group != [_EMBEDDINGS]:
                raise SettingError(
                    f"parameters has {group[0]!r} alone; separate the names to tie by colons, such "
                    "as a.weight:b.weight"
                )
        names = list(chain.from_iterable(self._groups()))
        for name in names:
            if names.count(name) > 1:
                raise SettingError(
                    f"{name!r} is named twice; put all names that are to be tied in one group"
                )

    def apply(self, model: Model, work: Work) -> Record:
        """Tie the groups, and return the name of the group's first parameter by each tied name.

        Raises:
            UsageError: the weights are codebooks.
        """
        refuse_clustered(model.module, "tie")
        parameters = dict(model.module.named_parameters(remove_duplicate=False))
        tied: dict[str, str] = {}
        for group in self._groups():
            names = _embeddings(model) if group == [_EMBEDDINGS] else group
            for name in names:
                if name not in parameters:
                    raise unknown("parameter", name, parameters)
            members = list({id(parameters[name]): parameters[name] for name in names}.values())
            first = members[0]
            for name in names:
                if parameters[name].shape != first.shape:
                    raise SettingError(
                        f"{name} has shape {tuple(parameters[name].shape)}, and {names[0]} has "
                        f"shape {tuple(first.shape)}; only parameters of equal shape can be tied"
                    )
            if self.start == "mean":
                with torch.no_grad():
                    first.copy_(torch.stack(tuple(members)).mean(dim=0))
            # A member may be tied to a parameter outside of the group, which is then tied too.
            others = {id(member) for member in members[1:]}
            tied |= {name: names[0] for name, value in parameters.items() if id(value) in others}
        record: Record = {"tied": tied} if tied else {}
        Tie.rebuild(model, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace the parameter of each recorded name by the parameter that it is tied to."""
        for name, source in record.get("tied", {}).items():
            parameter = model.module.get_parameter(name)
            replacement = model.module.get_parameter(source)
            if parameter.shape != replacement.shape:
                raise SettingError(
                    f"{name} has shape {tuple(parameter.shape)}, and {source} has shape "
                    f"{tuple(replacement.shape)}; only parameters of equal shape can be tied"
                )
            parent, _, attribute = name.rpartition(".")
            setattr(model.module.get_submodule(parent), attribute, replacement)

    def _groups(self) -> list[list[str]]:
        return [[name.strip() for name in group.split(":")] for group in self.parameters]


def _embeddings(model: Model) -> list[str]:
    """Return the names of the weights of the word embedding and of an output layer of its shape.

    Raises:
        UsageError: no output layer has the shape.
    """
    path, table = word_table(model, "tie")
    outputs = families.network(model.family).parts(model.module).outputs
    for name in outputs:
        layer = model.module.get_submodule(name)
        if isinstance(layer, nn.Linear) and layer.weight.shape == table.weight.shape:
            return [f"{path}.weight", f"{name}.weight"]
    rows, width = table.weight.shape
    raise UsageError(
        f"this {model.family} model has no output embedding: no output ({', '.join(outputs)}) has "
        f"the shape of the word embedding, {rows} x {width}; name the parameters to tie, such as "
        "a.weight:b.weight"
    )


STEP = Tie
