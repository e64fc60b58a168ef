"""What a Python caller gave by value: tables and networks, by name, as long as the process lives.

A model directory names its data and its network as memory:NAME. Neither can be found from another
process, where they are given again under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmc.errors import UnknownError

if TYPE_CHECKING:
    from torch import nn

    from bmc.data import Table
    from bmc.inputs.array import ArrayEncoder

PREFIX = "memory:"


@dataclass(frozen=True)
class Network:
    """A network that a caller gave, and what it takes.

    Args:
        module: a private copy, with the caller's weights.
        encoder: says which arrays a row has.
    """

    module: nn.Module
    encoder: ArrayEncoder


_tables: dict[str, Table] = {}
_networks: dict[str, Network] = {}


def keep_table(name: str, table: Table) -> None:
    """Keep a table under a name, in place of one that has the name already."""
    _tables[name] = table


def keep_network(name: str, network: Network) -> None:
    """Keep a network under a name, in place of one that has the name already."""
    _networks[name] = network


def forget_network(name: str) -> None:
    """Forget a network, and free its memory where nothing else holds it."""
    _networks.pop(name, None)


def table(name: str) -> Table:
    """Return a table by name.

    Raises:
        UnknownError: this process was given none of that name.
    """
    if name not in _tables:
        raise UnknownError(
            f"the data {PREFIX}{name} was given in another process: give it again with "
            f"bmc.wrap(module, data, name={name!r})"
        )
    return _tables[name]


def network(name: str) -> Network:
    """Return a network by name.

    Raises:
        UnknownError: this process was given none of that name.
    """
    if name not in _networks:
        raise UnknownError(
            f"the network {PREFIX}{name} was given in another process: give it again with "
            f"bmc.wrap(module, data, name={name!r}); its bundles load without it"
        )
    return _networks[name]
