"""Metadata of a settings field: the values that it can have, its group in --help, its old name.

`method: str = field(default="static", metadata=about(Choice("method", METHODS)))`. Settings classes
check their values with `check_choices`; the command line shows, completes and refuses by the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bmc.errors import SettingError, unknown
from bmc.plugins import Kind


@dataclass(frozen=True)
class Choice:
    """The values that a setting may have, by name.

    Args:
        kind: word for a value in messages, such as "optimizer".
        values: their names, or a function that finds them when they are needed.
        hint: where the values are documented, for the message about an unknown value.
        commas: whether one text can hold several values, separated by commas.
        others: tells whether something else is a value, too; None where nothing is.
    """

    kind: str
    values: Iterable[str] | Callable[[], Iterable[str]]
    hint: str = ""
    commas: bool = False
    others: Callable[[str], bool] | None = None

    def names(self) -> list[str]:
        """Return the names."""
        return list(self.values() if callable(self.values) else self.values)

    def read(self, typed: Any) -> Any:
        """Return a text that is one of the names; with `commas`, return a tuple of names.

        Raises:
            UnknownError: it is none; the message has the nearest.
        """
        if not isinstance(typed, str):
            return typed  # a default, or what was read already
        if not self.commas:
            return self._checked(typed)
        return tuple(self._checked(part.strip()) for part in typed.split(",") if part.strip())

    def complete(self, incomplete: str) -> list[str]:
        """Return the names, each behind what stands before an incomplete word's last comma."""
        before, comma, _ = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in self.names()]

    def has(self, name: str) -> bool:
        """Tell whether a setting may have this value."""
        return name in self.names() or bool(self.others and self.others(name))

    def _checked(self, name: str) -> str:
        if not self.has(name):
            raise unknown(self.kind, name, self.names(), self.hint)
        return name


@dataclass(frozen=True)
class Between:
    """The numbers that a search tries for a setting, from `low` to `high`.

    Args:
        low: smallest number.
        high: largest number.
        log: whether numbers are drawn by their order of magnitude.

    Raises:
        SettingError: there is no number between them.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise SettingError(f"a search between {self.low} and {self.high} has nothing to try")


@dataclass(frozen=True)
class Among:
    """The values that a search tries for a setting.

    Args:
        values: texts, numbers or truth values.

    Raises:
        SettingError: there are fewer than two.
    """

    values: tuple[str | int | float | bool, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2:
            raise SettingError(f"a search among {self.values} has nothing to choose from")


def of_plugins(kind: Kind[Any], commas: bool = False) -> Choice:
    """Return the choice among the plug-ins of a kind, in bmc and in other packages."""
    return Choice(kind.what, kind.names, kind.hint, commas)


def about(
    choice: Choice | None = None,
    *,
    group: str = "",
    alias: str = "",
    search: Between | Among | None = None,
) -> Mapping[str, Any]:
    """Return the metadata of a settings class's field.

    Args:
        choice: values that the field can have; None for any value of the field's type.
        group: title under which --help lists the field; the class's `GROUP` when None.
        alias: name of the field in the previous release, or another spelling, which is accepted.
        search: what `bmc compress` tries for the field; None for its default alone.
    """
    metadata = {"choice": choice, "group": group, "alias": alias, "search": search}
    return {name: value for name, value in metadata.items() if value}


def check_choices(settings: Any) -> None:
    """Check the fields of a settings object that have a choice of values; None is always allowed.

    Raises:
        SettingError: a field has another value.
    """
    for field in fields(settings):
        choice, value = field.metadata.get("choice"), getattr(settings, field.name)
        if choice is None or value is None:
            continue
        for name in value if isinstance(value, tuple) else (value,):
            if not choice.has(name):
                raise SettingError(
                    f"{field.name.replace('_', ' ')} is {name!r}; "
                    f"possible: {', '.join(choice.names())}"
                )
