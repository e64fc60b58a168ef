"""Place the labels of points so that no two overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CHARACTER = 6.4  # pixels of a character at 11 px; most are narrower
_HEIGHT = 13.0
_RADIUS = 6.0  # of a point, with the space around it
_DISTANCES = (8.0, 16.0, 26.0, 38.0, 52.0)
_DIRECTIONS = (
    *((1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0)),
    *((0.7, -0.7), (-0.7, -0.7), (0.7, 0.7), (-0.7, 0.7)),
)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, from its upper left to its lower right corner."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Tell whether two rectangles have a common area."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def lies_in(self, other: Box) -> bool:
        """Tell whether the rectangle lies inside another one."""
        across = self.left >= other.left and self.right <= other.right
        return across and self.top >= other.top and self.bottom <= other.bottom


@dataclass(frozen=True)
class Label:
    """A placed label.

    Args:
        text: the text.
        box: the rectangle that the text takes.
        is_far: whether a line should lead from the point to the label.
    """

    text: str
    box: Box
    is_far: bool


def place(
    points: Sequence[tuple[float, float]], texts: Sequence[str], area: Box
) -> list[Label] | None:
    """Place the label of each point beside the point, inside an area.

    Labels overlap neither each other nor a point. Points at one pixel share that pixel, and get
    their labels around it.

    Args:
        points: x and y of each point in pixels.
        texts: the label of each point.
        area: rectangle in which labels may stand.

    Returns:
        the labels in the order of the points; None where there is no room for all of them.
    """
    taken = [Box(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in points]
    labels: list[Label] = []
    for (x, y), text in zip(points, texts, strict=True):
        label = _free_label(x, y, text, area, taken)
        if label is None:
            return None
        labels.append(label)
        taken.append(label.box)
    return labels


def _free_label(x: float, y: float, text: str, area: Box, taken: Sequence[Box]) -> Label | None:
    width = _CHARACTER * len(text)
    for distance in _DISTANCES:
        for across, down in _DIRECTIONS:
            box = _box_beside(x + distance * across, y + distance * down, width, across, down)
            if box.lies_in(area) and not any(box.overlaps(other) for other in taken):
                return Label(text, box, distance > _DISTANCES[1])
    return None


def _box_beside(x: float, y: float, width: float, across: float, down: float) -> Box:
    """Return the rectangle of a text that starts, ends or is centered at a position."""
    left = x if across > 0 else x - width if across < 0 else x - width / 2
    top = y - _HEIGHT / 2 if not down else y if down > 0 else y - _HEIGHT
    return Box(left, top, left + width, top + _HEIGHT)
