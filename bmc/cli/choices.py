"""Options whose values are known by name: shown in --help, completed, and refused with the nearest.

`Annotated[str, Choice("optimizer", OPTIMIZERS)]` on an option of a verb, or of an options class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bmc.errors import unknown
from bmc.plugins import Kind


@dataclass(frozen=True)
class Choice:
    """The values of an option.

    Args:
        kind: what a message calls one, such as "optimizer".
        values: their names, or a function that finds them when the verb is typed.
        hint: where they are explained, for the message that refuses another one.
        commas: whether several may be typed with commas between them.
        others: tells whether something else may be typed, too; None where nothing may.
    """

    kind: str
    values: Iterable[str] | Callable[[], Iterable[str]]
    hint: str = ""
    commas: bool = False
    others: Callable[[str], bool] | None = None

    def names(self) -> Sequence[str]:
        """Return the names."""
        return list(self.values() if callable(self.values) else self.values)

    def read(self, typed: Any) -> Any:
        """Return what was typed if it is one of the names.

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

    def _checked(self, name: str) -> str:
        if name not in self.names() and not (self.others and self.others(name)):
            raise unknown(self.kind, name, self.names(), self.hint)
        return str(name)


def plugin(kind: Kind[Any], commas: bool = False) -> Choice:
    """Return the choice among plug-ins of a kind, bmc's own and those of other packages."""
    return Choice(kind.what, kind.names, kind.hint, commas)
