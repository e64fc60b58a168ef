"""Descriptions of the model families, one file each: names, settings and training defaults.

These files do not import torch; the networks are in `bmc/models`. CONTRIBUTING.md says how to add
a family.
"""

from __future__ import annotations

from bmc.families._options import DEFAULT_EMBEDDING as DEFAULT_EMBEDDING
from bmc.families._options import DEFAULT_VOCABULARY as DEFAULT_VOCABULARY
from bmc.families._options import VECTORS as VECTORS
from bmc.families._options import WordOptions as WordOptions
