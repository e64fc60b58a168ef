"""Keep the tables and networks that a Python caller passed, by name, until the process ends.

A model directory names its data and its network as memory:NAME. Another process has neither, and
the caller must pass them again under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bmc.errors import UnknownError

if TYPE_CHECKING:
    from torch import nn

    from bmc.data import Table
    from bmc.inputs import Encoder
    from bmc.measure.custom import CustomScore
    from bmc.model import CustomLoss

PREFIX = "memory:"
TABLE = "table-"
"""Prefix of the name of a table that was passed without a network."""
CLIPS = "clips-"
"""Prefix of the name of clips of sound that were passed without a network."""


@dataclass(frozen=True)
class Network:
    """A network that a caller passed, and the encoder of its rows.

    Args:
        module: a private copy, with the caller's weights.
        encoder: encoder of the network's rows.
        loss: the caller's own loss, if any.
        score: the caller's own score function, if any.
    """

    module: nn.Module
    encoder: Encoder
    loss: CustomLoss | None = None
    score: CustomScore | None = None


_rows: dict[str, object] = {}
_tables: dict[str, Table] = {}
_networks: dict[str, Network] = {}
_folders: dict[str, Path] = {}
"""The model directory of each network, by the network's name."""


def name_for(name: str, folder: Path, recorded: str = "") -> str:
    """Return a name for a network: the given one, or with a number where another network has it.

    A network is another one while its model directory is another one and exists, as this directory
    names the network and its data.

    Args:
        name: the name that is wanted.
        folder: the network's model directory.
        recorded: the name that the directory records already, if it exists.
    """

    def is_free(name: str) -> bool:
        return name not in _networks or _folders[name] == folder or not _folders[name].exists()

    stem, _, number = recorded.rpartition("-")
    is_of_name = recorded == name or (stem == name and number.isdecimal())
    if is_of_name and is_free(recorded):
        return recorded
    return next(free for free in _numbered(name) if is_free(free))


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


@contextmanager
def kept(name: str, data: Table, network: Network, folder: Path) -> Iterator[None]:
    """Keep a table and a network under a name; restore the previous ones if the block fails.

    Args:
        name: name of the table and the network; previous ones of this name are replaced.
        data: the table.
        network: the network.
        folder: the network's model directory.
    """
    before = _tables.get(name), _networks.get(name), _folders.get(name)
    _tables[name], _networks[name], _folders[name] = data, network, folder
    try:
        yield
    except BaseException:
        del _tables[name], _networks[name], _folders[name]
        table_before, network_before, folder_before = before
        if table_before is not None and network_before is not None and folder_before is not None:
            _tables[name], _networks[name] = table_before, network_before
            _folders[name] = folder_before
        raise


def keep_table(name: str, data: Table) -> None:
    """Keep a table under a name until the process ends.

    Args:
        name: name of the table, which no other table has.
        data: the table.
    """
    _tables[name] = data


@contextmanager
def keeping_rows(name: str, rows: object) -> Iterator[None]:
    """Keep unlabeled rows under a name, while the block runs.

    Args:
        name: name of the rows.
        rows: texts, arrays, or a tuple of arrays.
    """
    _rows[name] = rows
    try:
        yield
    finally:
        del _rows[name]


def rows(name: str) -> object:
    """Return unlabeled rows by name.

    Raises:
        UnknownError: this process was given none of that name.
    """
    if name not in _rows:
        raise UnknownError(
            f"the rows {PREFIX}{name} were given to an earlier call: give them again with "
            "transfer=rows"
        )
    return _rows[name]


def forget_network(name: str) -> None:
    """Forget a network, and free its memory where nothing else holds it."""
    _networks.pop(name, None)


def table(name: str) -> Table:
    """Return a table by name.

    Raises:
        UnknownError: this process has no table of this name.
    """
    if name not in _tables and name.startswith(TABLE):
        raise UnknownError(
            f"the data {PREFIX}{name} was given in another process: save these rows as a table "
            "(.csv or .parquet), and name it with --data"
        )
    if name not in _tables and name.startswith(CLIPS):
        raise UnknownError(
            f"the data {PREFIX}{name} was given in another process: save these clips as files, a "
            "folder for each class, and name them with --data audiofolder:DIR"
        )
    if name not in _tables:
        raise UnknownError(
            f"the data {PREFIX}{name} was given in another process: give it again with "
            f"bmc.wrap(module, data, name={name!r})"
        )
    return _tables[name]


def network(name: str) -> Network:
    """Return a network by name.

    Raises:
        UnknownError: this process has no network of this name.
    """
    if name not in _networks:
        raise UnknownError(
            f"the network {PREFIX}{name} was given in another process: give it again with "
            f"bmc.wrap(module, data, name={name!r}); its bundles load without it"
        )
    return _networks[name]
