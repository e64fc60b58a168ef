"""Another dropout probability for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

_LAYERS = (
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)
_NUMBERS = ("attention_dropout", "dropout_p", "dropout")
"""Attributes in which modules of transformers, and recurrent layers, have a probability."""


@contextmanager
def dropout_of(modules: Iterable[nn.Module], probability: float) -> Iterator[int]:
    """Give all dropout in some modules a probability for the block; afterwards it is as before.

    The block gets the number of places that have one.

    Args:
        modules: networks or parts of them.
        probability: the probability, 0 to 1.

    Example:
        >>> layer = nn.Dropout(0.5)
        >>> with dropout_of([layer], 0.0) as places:
        ...     layer.p, places
        (0.0, 1)
        >>> layer.p
        0.5
    """
    parts = {id(part): part for module in modules for part in module.modules()}.values()
    before = [
        (part, name, vars(part)[name])
        for part in parts
        for name in (("p",) if isinstance(part, _LAYERS) else _NUMBERS)
        if type(vars(part).get(name)) in (float, int)
    ]
    for part, name, _ in before:
        setattr(part, name, probability)
    try:
        yield len(before)
    finally:
        for part, name, value in before:
            setattr(part, name, value)
