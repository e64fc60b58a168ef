"""Contracts of plug-ins: a frozen dataclass for each kind, with every required member.

A plug-in's file creates one object of its contract; the members are checked when the file is
loaded. Descriptions (names, sentences for lists, settings) and code that computes are separate
objects in separate modules. Lists and help import only the descriptions, which need neither torch
nor a vendor's package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bmc.contracts.data_sets import DataSet as DataSet
    from bmc.contracts.dialects import Dialect as Dialect
    from bmc.contracts.families import Family as Family
    from bmc.contracts.families import Network as Network
    from bmc.contracts.signals import Signal as Signal
    from bmc.contracts.targets import Exporter as Exporter
    from bmc.contracts.targets import Format as Format
    from bmc.contracts.targets import Runtime as Runtime
    from bmc.contracts.techniques import Technique as Technique

_HOMES = {
    "DataSet": "data_sets",
    "Dialect": "dialects",
    "Exporter": "targets",
    "Family": "families",
    "Format": "targets",
    "Network": "families",
    "Runtime": "targets",
    "Signal": "signals",
    "Technique": "techniques",
}


def __getattr__(name: str) -> Any:
    """Import a contract when it is first used: a device that loads a bundle needs two of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bmc.contracts' has no attribute {name!r}")
    return getattr(import_module(f"bmc.contracts.{_HOMES[name]}"), name)
