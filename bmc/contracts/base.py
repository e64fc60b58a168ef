"""What all contracts have in common: their members are checked when one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from bmc.errors import PluginError

T = TypeVar("T")


class Contract:
    """Base of the contracts: frozen dataclasses whose members are checked when one is made.

    A field's metadata says what it must be: `function(...)` or `value(...)`. A member whose default
    is None may be None.
    """

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # contracts are dataclasses
            member = getattr(self, field.name)
            if member is None and field.default is None:
                continue
            if "parameters" in field.metadata:
                _check_function(field.name, member, field.metadata["parameters"])
            kind = field.metadata.get("kind")
            if kind and not isinstance(member, kind):
                raise PluginError(
                    f"its {field.name} is {member!r:.60}, which is no {kind.__name__}"
                )


def function(*parameters: str) -> Mapping[str, Any]:
    """Return the metadata of a member that is called with these arguments, by position."""
    return {"parameters": parameters}


def value(kind: type) -> Mapping[str, Any]:
    """Return the metadata of a member that is an instance of a type."""
    return {"kind": kind}


def instance_of(contract: type[T], member: str) -> Callable[[Any], T]:
    """Return what accepts the instances of a contract.

    Args:
        contract: the class.
        member: what the object is called in a plug-in's file, for messages.
    """

    def accept(plugin: Any) -> T:
        if not isinstance(plugin, contract):
            raise PluginError(
                f"{member} is {plugin!r:.60}; it must be a bmc.contracts.{contract.__name__}"
            )
        return plugin

    return accept


def _check_function(name: str, member: Any, parameters: Sequence[str]) -> None:
    if not callable(member):
        raise PluginError(f"its {name} is {member!r:.60}, which is no function")
    try:
        signature = inspect.signature(member)
    except ValueError:  # written in C
        return
    try:
        signature.bind(*parameters)
    except TypeError as error:
        raise PluginError(
            f"its {name}{signature} cannot be called with ({', '.join(parameters)})"
        ) from error
