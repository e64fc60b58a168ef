"""Pictures on the page of an inspection: charts as SVG, weights of pixels and series as PNG."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import altair
import numpy as np
import vl_convert
from numpy.typing import NDArray

from bmc.inspect.activations import Activation
from bmc.inspect.sensitivity import Sensitivity

_POSITIVE, _NEGATIVE = (200, 60, 30), (40, 90, 190)  # red, green and blue
_PALETTE = ["#4c78a8", "#54a24b", "#f58518"]
_ROW_HEIGHT = 17  # pixels
_WIDTH = 560


def ranges(activations: Sequence[Activation]) -> str:
    """Return a chart of each activation's range, from smallest to largest, as SVG."""
    points: list[dict[str, Any]] = [
        {
            "layer": f"{number:03d}",
            "name": label(activation),
            "smallest": activation.smallest,
            "largest": activation.largest,
            **{f"p{percent}": value for percent, value in activation.percentiles.items()},
        }
        for number, activation in enumerate(activations)
        if activation.values
    ]
    names = {point["layer"]: point["name"] for point in points}
    base = altair.Chart(altair.InlineData(values=points)).encode(y=_axis(names))
    scale = altair.Scale(type="symlog", constant=1)
    title = "value (symmetric log scale)"
    x = altair.X("smallest:Q", title=title, scale=scale)
    whisker = base.mark_rule(color="#9fb3c8").encode(x=x, x2="largest:Q")
    wide = base.mark_bar(color="#a9c6e3", height=8).encode(x="p1:Q", x2="p99:Q")
    middle = base.mark_bar(color="#4c78a8", height=8).encode(x="p25:Q", x2="p75:Q")
    median = base.mark_tick(color="#f58518", thickness=2, height=11).encode(x="p50:Q")
    return _svg(altair.layer(whisker, wide, middle, median), len(points))


def losses(sensitivity: Sensitivity) -> str:
    """Return a chart of the score lost by each change of each layer, with intervals, as SVG."""
    points = [
        {
            "layer": loss.layer or "(model)",
            "change": loss.change,
            "lost": 100 * loss.lost.value,
            "low": 100 * loss.lost.low,
            "high": 100 * loss.lost.high,
        }
        for loss in sensitivity.losses
    ]
    names = {str(point["layer"]): str(point["layer"]) for point in points}
    changes = list(dict.fromkeys(loss.change for loss in sensitivity.losses))
    offset = altair.YOffset("change:N", sort=changes)
    color = altair.Color("change:N", sort=changes, scale=altair.Scale(range=_PALETTE))
    base = altair.Chart(altair.InlineData(values=points)).encode(
        y=_axis(names), yOffset=offset, color=color
    )
    title = f"points of {sensitivity.measure} lost (95 % interval)"
    dots = base.mark_point(filled=True, size=40, opacity=1).encode(
        x=altair.X("lost:Q", title=title)
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(x=altair.X("low:Q", title=title), x2="high:Q")
    return _svg(altair.layer(bars, dots), 2 * len(names))


def label(activation: Activation) -> str:
    """Return the name of an activation: its path and its operation."""
    return f"{activation.path}  {activation.operation}".strip()


def image(pixels: NDArray[np.uint8]) -> str:
    """Return an image, uint8 (height, width, 1 or 3), as a data URL."""
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return _data_url(rgb)


def heat(weights: NDArray[np.float32]) -> str:
    """Return weights (height, width) as a data URL: red above 0, blue below 0, white at 0."""
    return _data_url(_colored(weights))


def gray(values: NDArray[np.float32]) -> str:
    """Return values (height, width) as a data URL, from black (smallest) to white (largest)."""
    low, high = float(values.min()), float(values.max())
    scaled = np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
    return image(scaled[:, :, None])


def color(weight: float, largest: float) -> str:
    """Return the CSS background color of a word.

    Args:
        weight: weight of the word.
        largest: largest absolute weight of a word of the text.
    """
    red, green, blue = _POSITIVE if weight > 0 else _NEGATIVE
    return f"rgba({red},{green},{blue},{0.75 * min(abs(weight) / max(largest, 1e-12), 1):.3f})"


def _colored(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    # A percentile, since one extreme pixel would otherwise leave all others white.
    largest = max(float(np.percentile(np.abs(weights), 99)), 1e-12)
    strength = np.clip(np.abs(weights) / largest, 0, 1)[:, :, None]
    target = np.where((weights > 0)[:, :, None], np.array(_POSITIVE), np.array(_NEGATIVE))
    colored: NDArray[np.uint8] = np.round(255 + strength * (target - 255)).astype(np.uint8)
    return colored


def _axis(names: dict[str, str]) -> Any:
    """Return an axis of layers, in the order of `names`, which maps keys to names."""
    conditions = " : ".join(
        f"datum.value == {json.dumps(key)} ? {json.dumps(name)}" for key, name in names.items()
    )
    axis = altair.Axis(labelExpr=f"{conditions} : ''", labelLimit=420, title=None, grid=True)
    return altair.Y("layer:N", sort=list(names), axis=axis)


def _svg(chart: Any, rows: int) -> str:
    sized = chart.properties(width=_WIDTH, height=max(_ROW_HEIGHT * rows, 60))
    svg: str = vl_convert.vegalite_to_svg(sized.configure_view(stroke=None).to_json())
    return svg


def _data_url(pixels: NDArray[np.uint8]) -> str:
    """Return pixels (height, width, 3) as the data URL of a PNG."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
