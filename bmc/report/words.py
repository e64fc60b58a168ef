"""Words of a report for measures, targets and data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bmc.measure.shown import MEASURES
from bmc.report.line import Line

_TARGETS = ("onnx", "openvino", "tensorrt", "pytorch")


def score_name(measure: str) -> str:
    """Return the name of a task's score for people, such as "micro F1"."""
    return MEASURES.get(measure, "score")


def score_names(lines: Iterable[Line]) -> str:
    """Return the names of the scores of lines, without doubles."""
    measures = dict.fromkeys(line.measure for line in lines if line.measure)
    return ", ".join(map(score_name, measures)) or "score"


def target_styles(lines: Sequence[Line]) -> dict[str, int]:
    """Return the number of the color and shape of each target, the same in all pictures."""
    present = {line.target for line in lines}
    known = [target for target in _TARGETS if target in present]
    others = sorted(present - set(known))
    styles = {target: _TARGETS.index(target) for target in known}
    return styles | {target: len(_TARGETS) + number % 2 for number, target in enumerate(others)}


def joined(names: Sequence[str], most: int = 8) -> str:
    """Write names in one line, "a, b and 3 more" where there are many."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
