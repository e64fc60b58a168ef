"""Learning curves: the training loss and the validation score of each epoch, as text and as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

_MOST_EPOCHS = 1000
_LARGEST = 1e30  # differences of larger values are infinite
_BARS = "▁▂▃▄▅▆▇█"
_BAR_WIDTH = 60
_WIDTH, _HEIGHT, _MARGIN = 320, 180, 36  # pixels of one curve

Epoch = Mapping[str, float]
"""Values by name, such as {"epoch": 1, "training_loss": 0.6, "validation_accuracy": 0.8}."""


def epochs_of(recorded: object) -> tuple[Epoch, ...]:
    """Return the epochs that bmc.json records; what is malformed is left out.

    Args:
        recorded: value of `history` in a file.
    """
    epochs = recorded if isinstance(recorded, list) else []
    return tuple(
        {
            str(name): float(value)
            for name, value in epoch.items()
            if type(value) in (int, float) and abs(value) < _LARGEST
        }
        for epoch in epochs[:_MOST_EPOCHS]
        if isinstance(epoch, dict)
    )


def lines(epochs: Sequence[Epoch]) -> Iterator[str]:
    """Yield a line for each curve: its first value, a bar for each epoch, its last value."""
    for name, values in _curves(epochs):
        first, last = f"{values[0]:.3g}", f"{values[-1]:.3g}"
        count = f"{len(values)} epochs" if len(values) > 1 else "1 epoch"
        yield f"{name:<20} {first} {spark(values)} {last}  ({count})"


def spark(values: Sequence[float]) -> str:
    """Draw at most 60 evenly chosen values as bars between the smallest and the largest value.

    Example:
        >>> spark([0.0, 0.5, 1.0])
        '▁▅█'
    """
    count = min(len(values), _BAR_WIDTH)
    chosen = [values[index * len(values) // count] for index in range(count)]
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[int((value - low) * scale + 0.5)] for value in chosen)


def svg(epochs: Sequence[Epoch]) -> str:
    """Draw each curve in a panel; the panels are side by side. Return "" if there is no curve."""
    panels = [_panel(name, values, index) for index, (name, values) in enumerate(_curves(epochs))]
    if not panels:
        return ""
    width = len(panels) * _WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>\n{"".join(panels)}</svg>\n'
    )


def _curves(epochs: Sequence[Epoch]) -> Iterator[tuple[str, list[float]]]:
    for name in epochs[0] if epochs else ():
        if name != "epoch":
            yield name.replace("_", " "), [epoch[name] for epoch in epochs if name in epoch]


def _panel(name: str, values: Sequence[float], index: int) -> str:
    low, high = min(values), max(values)
    left, right = index * _WIDTH + _MARGIN, (index + 1) * _WIDTH - _MARGIN / 2
    bottom, top = _HEIGHT - _MARGIN, _MARGIN
    across = (right - left) / max(len(values) - 1, 1)
    up = (bottom - top) / (high - low) if high > low else 0.0
    points = [
        (left + number * across, bottom - (value - low) * up) for number, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points[:50])
    return (
        f'<text x="{left}" y="18" font-weight="bold">{escape(name)}</text>\n'
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#999"/>\n'
        f'<polyline points="{path}" fill="none" stroke="#1f77b4" stroke-width="2"/>\n'
        f'<g fill="#1f77b4">{dots}</g>\n'
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>\n'
        f'<text x="{left - 4}" y="{top + 4}" text-anchor="end">{high:.3g}</text>\n'
        f'<text x="{left}" y="{_HEIGHT - 16}">epoch 1</text>\n'
        f'<text x="{right}" y="{_HEIGHT - 16}" text-anchor="end">{len(values)}</text>\n'
    )
