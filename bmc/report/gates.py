"""Gates of a report: limits that bundles must keep, read from text such as "size<=5MB p50<=1ms"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bmc.errors import SettingError, unknown
from bmc.figures import megabytes, significant

_FRACTION = {"": 1.0, "%": 0.01}
_COUNT = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {
    **{"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    **{"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_SECONDS = {"ms": 1e-3, "s": 1.0}
_POINTS = {"": 1.0, "points": 1.0}
_RATIO = {"": 1.0, "x": 1.0}
_LEAST, _MOST = ">=", "<="
_SIGN_OF = {"≥": _LEAST, "=>": _LEAST, ">": _LEAST, "≤": _MOST, "=<": _MOST, "<": _MOST}
_GATE = re.compile(
    r"(?P<name>[A-Za-z][\w-]*)\s*(?P<sign>[<>=!≤≥]+)\s*(?P<number>[^\s,;<>=A-Za-z%µ]+)"
    r"(?:\s?(?P<unit>[A-Za-zµ]+|%)(?![\w-]|\s*[<>=!≤≥]))?"
)
_SEPARATOR = re.compile(r"[\s,;]*")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Metric:
    """A figure that a gate can limit.

    Args:
        sign: ">=" for a smallest value, "<=" for a largest value.
        units: factor of each unit that can be typed to the unit in which the figure is kept; the
            unit is "" where a bare number is meant.
        example: a gate with this figure.
        shown: unit in which the figure is shown: "", "MB", "ms", "s", "points" or "x".
    """

    sign: str
    units: Mapping[str, float]
    example: str
    shown: str = ""


METRICS: Mapping[str, Metric] = {
    "score": Metric(_LEAST, _FRACTION, "score>=0.80"),
    "accuracy": Metric(_LEAST, _FRACTION, "accuracy>=0.80"),
    "micro-f1": Metric(_LEAST, _FRACTION, "micro-f1>=0.80"),
    "span-f1": Metric(_LEAST, _FRACTION, "span-f1>=0.80"),
    "recall-at-10": Metric(_LEAST, _FRACTION, "recall-at-10>=0.80"),
    "r2": Metric(_LEAST, _FRACTION, "r2>=0.80"),
    "macro-f1": Metric(_LEAST, _FRACTION, "macro-f1>=0.80"),
    "agreement": Metric(_LEAST, _FRACTION, "agreement>=0.95"),
    "kept": Metric(_LEAST, _FRACTION, "kept>=0.98"),
    "max-drop": Metric(_MOST, _POINTS, "max-drop<=1", "points"),
    "size": Metric(_MOST, _BYTES, "size<=5MB", "MB"),
    "bundle-size": Metric(_MOST, _BYTES, "bundle-size<=5MB", "MB"),
    "parameters": Metric(_MOST, _COUNT, "parameters<=5M"),
    "p50": Metric(_MOST, _MILLISECONDS, "p50<=1ms", "ms"),
    "p90": Metric(_MOST, _MILLISECONDS, "p90<=2ms", "ms"),
    "p99": Metric(_MOST, _MILLISECONDS, "p99<=5ms", "ms"),
    "cold-start": Metric(_MOST, _SECONDS, "cold-start<=1s", "s"),
    "memory": Metric(_MOST, _BYTES, "memory<=100MB", "MB"),
    "speed-up": Metric(_LEAST, _RATIO, "speed-up>=2", "x"),
}
"""The figures that a gate can limit, by name."""
_RELATIVE = ("max-drop", "kept", "agreement")
# What other tools call them.
_MEANT = {
    **{"acc": "accuracy", "latency": "p50", "median": "p50", "params": "parameters"},
    **{"drop": "max-drop", "maxdrop": "max-drop", "loss": "max-drop", "speedup": "speed-up"},
    **{"f1": "macro-f1", "ram": "memory", "peak-mb": "memory", "mb": "size", "bytes": "size"},
    **{"recall": "recall-at-10", "coldstart": "cold-start", "startup": "cold-start"},
}


@dataclass(frozen=True)
class Gate:
    """A limit that every bundle of a report must keep.

    Args:
        metric: name of the figure, a key of `METRICS`.
        limit: smallest or largest accepted value: bytes, milliseconds ("p50", "p90", "p99"),
            seconds ("cold-start"), points ("max-drop"), or a plain number.
        text: the gate as it was typed, without spaces.
    """

    metric: str
    limit: float
    text: str

    @property
    def is_relative(self) -> bool:
        """Whether the figure compares a bundle with another one: its teacher's, or its origin's."""
        return self.metric in _RELATIVE

    def passes(self, value: float) -> bool:
        """Tell whether a value keeps the limit; NaN does not."""
        if METRICS[self.metric].sign == _LEAST:
            return value >= self.limit
        return value <= self.limit

    def shown(self, value: float) -> str:
        """Write a value of the gate's figure for people."""
        unit = METRICS[self.metric].shown
        if unit == "MB":
            return megabytes(value)
        if unit == "x":
            return f"{significant(value)} times"
        number = f"{value:,.0f}" if self.metric == "parameters" else significant(value)
        return f"{number} {unit}".rstrip()


@dataclass(frozen=True)
class Verdict:
    """Whether a bundle passed a gate.

    Args:
        gate: the gate as it was typed; "" where the bundle cannot be judged by any gate.
        bundle: name of the bundle.
        passed: whether the bundle passed.
        message: a sentence with the value and the limit, or with the way to measure the value.
        value: the value that was judged; None where it was not measured.
    """

    gate: str
    bundle: str
    passed: bool
    message: str
    value: float | None = None


def read_gates(texts: Iterable[str]) -> tuple[Gate, ...]:
    """Read gates from texts, each with one gate or several that spaces or commas separate.

    Raises:
        SettingError: a text is not a gate, or has a wrong sign, number or unit.
        UnknownError: there is no such figure; the message has the most similar one.

    Example:
        >>> [gate.limit for gate in read_gates(["accuracy>=80% size<=5MB"])]
        [0.8, 5000000.0]
    """
    return tuple(gate for text in texts for gate in _gates_in(text))


def _gates_in(text: str) -> list[Gate]:
    gates: list[Gate] = []
    position = _skip(text, 0)
    while position < len(text):
        match = _GATE.match(text, position)
        if match is None:
            raise SettingError(
                f"--gate {text!r}: {text[position:]!r} is not a gate; a gate looks like "
                "accuracy>=0.80, size<=5MB or p50<=1ms"
            )
        end = _skip(text, match.end())
        if end == match.end() < len(text):
            raise SettingError(
                f"--gate {text!r}: {text[match.start() :]!r} is not a gate; "
                f"{match['number']!r} is followed by {text[match.end() :]!r}"
            )
        gates.append(_gate(match))
        position = end
    if not gates:
        raise SettingError(f"--gate {text!r} names no gate; a gate looks like accuracy>=0.80")
    return gates


def _skip(text: str, position: int) -> int:
    match = _SEPARATOR.match(text, position)
    return match.end() if match else position


def _gate(match: re.Match[str]) -> Gate:
    name = match["name"].lower().replace("_", "-")
    if name not in METRICS:
        raise unknown("gate", match["name"], METRICS, meant=_MEANT.get(name, ""))
    metric, sign, unit = METRICS[name], match["sign"], match["unit"] or ""
    typed = f"--gate {match[0]!r}"
    near = f"{name}{metric.sign}{match['number']}{unit}"
    if sign != metric.sign:
        if sign in ("=>", "=<"):
            reason = f"{sign} is not a comparison"
        elif _SIGN_OF.get(sign, sign) == metric.sign:
            reason = f"gates have {_LEAST} or {_MOST}"
        else:
            kind = "smallest" if metric.sign == _LEAST else "largest"
            reason = f"a gate of {name} names the {kind} value"
        raise SettingError(f"{typed}: {reason}; did you mean {near}?")
    if not _NUMBER.fullmatch(match["number"]):
        raise SettingError(f"{typed}: {match['number']!r} is not a number, as in {metric.example}")
    if unit not in metric.units:
        raise SettingError(f"{typed}: {_unit_problem(name, match['number'], unit, metric)}")
    limit = float(match["number"]) * metric.units[unit]
    if metric.units is _FRACTION and limit > 1:
        near = f"{name}>={match['number']}%" if limit <= 100 and not unit else metric.example
        raise SettingError(f"{typed}: {name} is a fraction of 1 at most; did you mean {near}?")
    return Gate(name, limit, f"{name}{sign}{match['number']}{unit}")


def _unit_problem(name: str, number: str, unit: str, metric: Metric) -> str:
    """Say what is wrong with a unit, with the unit that is meant."""
    units = [each for each in metric.units if each]
    near = next((each for each in units if each.lower() == unit.lower()), "")
    if near:
        return f"there is no unit {unit!r}; did you mean {name}{metric.sign}{number}{near}?"
    if not unit:
        default = metric.shown or units[0]
        return f"{number} has no unit; did you mean {name}{metric.sign}{number}{default}?"
    if not units:
        return f"{name} has no unit; did you mean {name}{metric.sign}{number}?"
    return f"there is no unit {unit!r} of {name}; possible: {', '.join(units)}"
