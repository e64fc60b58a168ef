"""Contracts of plug-ins: a frozen dataclass for each kind, with every required member.

A plug-in's file creates one object of its contract; the members are checked when the file is
loaded. Descriptions (names, sentences for lists, settings) and code that computes are separate
objects in separate modules. Lists and help import only the descriptions, which need neither torch
nor a vendor's package.
"""

from __future__ import annotations

from bmc.contracts.data_sets import DataSet as DataSet
from bmc.contracts.dialects import Dialect as Dialect
from bmc.contracts.families import Family as Family
from bmc.contracts.families import Network as Network
from bmc.contracts.signals import Signal as Signal
from bmc.contracts.targets import Exporter as Exporter
from bmc.contracts.targets import Format as Format
from bmc.contracts.targets import Runtime as Runtime
from bmc.contracts.techniques import Technique as Technique
