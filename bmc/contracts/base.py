"""Base of all contracts: check the members of a contract when an object of it is created."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from bmc.errors import PluginError

T = TypeVar("T")


class Contract:
    """Base of the contracts: frozen dataclasses that check their members on creation.

    The metadata of each field says what the member must be: `function(...)` or `value(...)`. A
    member whose default is None may be None.
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
                    f"its {field.name} is {member!r:.60}, which is not a {kind.__name__}"
                )


def function(*parameters: str) -> Mapping[str, Any]:
    """Return the metadata of a member that is called with positional arguments of these names."""
    return {"parameters": parameters}


def value(kind: type) -> Mapping[str, Any]:
    """Return the metadata of a member that is an instance of a type."""
    return {"kind": kind}


def instance_of(contract: type[T], member: str) -> Callable[[Any], T]:
    """Return a function that returns instances of a contract and refuses other objects.

    Args:
        contract: class of the contract.
        member: name of the object in a plug-in's file, for messages.
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
        raise PluginError(f"its {name} is {member!r:.60}, which is not a function")
    try:
        signature = inspect.signature(member)
    except ValueError:  # functions written in C may have no signature
        return
    try:
        signature.bind(*parameters)
    except TypeError as error:
        raise PluginError(
            f"its {name}{signature} cannot be called with ({', '.join(parameters)})"
        ) from error
