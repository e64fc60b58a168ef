"""A recipe as it is written: settings and sweeps, before sweeps become steps of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Place:
    """A place in a recipe's file, for messages.

    Args:
        file: the file, as the user named it.
        keys: names of the tables and of the key, from the outermost.
    """

    file: str
    keys: tuple[str, ...] = ()

    def at(self, *keys: str) -> Place:
        """Return a place below this one."""
        return Place(self.file, (*self.keys, *keys))

    def __str__(self) -> str:
        return f"{self.file}: {'.'.join(self.keys)}" if self.keys else self.file


@dataclass(frozen=True)
class Values:
    """Settings by name, and the values of those that are swept.

    The settings of a technique or a network are named "settings.NAME".

    Args:
        fixed: settings with one value.
        swept: settings with several values, each of which makes a step of its own.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    swept: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def possible(self, name: str) -> tuple[Any, ...]:
        """Return every value that a setting has; none where it is left out."""
        if name in self.swept:
            return self.swept[name]
        return (self.fixed[name],) if name in self.fixed else ()


@dataclass(frozen=True)
class RecipeStep:
    """A step of a recipe, which becomes one step of the plan for each point of its sweeps.

    Args:
        name: its name.
        verb: train, distill, prune, share, quantize or export.
        values: its settings; those that name a model may name another step.
        place: where it stands in the file.
        of: the step whose bundle it writes, where `targets` asked for it; "" otherwise.
    """

    name: str
    verb: str
    values: Values
    place: Place
    of: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe: what its file says, checked.

    Args:
        name: its name.
        place: its file.
        steps: the steps in the order of the file, those that `targets` asks for last.
        data: settings of the data, for each step of train and distill that names none.
        seeds: a step that has a seed, and sets none, is made once for each.
        bench: settings of the measurement; None where no latency is measured.
        report: settings of the report; None for no report.
        gates: limits that every bundle must keep.
    """

    name: str
    place: Place
    steps: tuple[RecipeStep, ...]
    data: Values = field(default_factory=Values)
    seeds: tuple[int, ...] = ()
    bench: Mapping[str, Any] | None = field(default_factory=dict)
    report: Mapping[str, Any] | None = field(default_factory=dict)
    gates: tuple[str, ...] = ()
