"""What each kind of plug-in must have: one frozen dataclass a kind, every member named.

A plug-in's file makes one object of its contract, and its members are checked when that is loaded.
What is listed (names, what they are, what can be set) is told apart from what computes, which is
imported when it is used: so lists and help need neither torch nor a vendor's package.
"""

from __future__ import annotations

from bmc.contracts.data_sets import DataSet as DataSet
from bmc.contracts.dialects import Dialect as Dialect
from bmc.contracts.families import Family as Family
from bmc.contracts.families import Network as Network
from bmc.contracts.targets import Exporter as Exporter
from bmc.contracts.targets import Format as Format
from bmc.contracts.targets import Runtime as Runtime
from bmc.contracts.techniques import Technique as Technique
