"""WNUT-16: 2,394 tweets with names of persons, places, companies and seven other types.

Source: Strauss et al. 2016, "Results of the WNUT16 Named Entity Recognition Shared Task" (training
part).
"""

from __future__ import annotations

from bmc import assets
from bmc.contracts import DataSet
from bmc.data import Table
from bmc.data._tokens import read_columns

_ASSET = "wnut-16"
_FILE = "ner.txt"


def table() -> Table:
    """Read the tweets."""
    return read_columns(assets.fetch(_ASSET) / _FILE)


DATA_SET = DataSet(
    about="2,394 tweets with names of ten types; --task tokens",
    table=table,
    asset=_ASSET,
)
