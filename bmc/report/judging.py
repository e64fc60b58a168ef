"""Judge the bundles of a report by gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from bmc.console import printable
from bmc.errors import GateError
from bmc.measure.scores import Interval
from bmc.measure.statistics import needed
from bmc.report.gates import METRICS, Gate, Verdict
from bmc.report.line import Line, Report

_SCORES = {
    "accuracy": "accuracy",
    "micro-f1": "micro_f1",
    "span-f1": "span_f1",
    "recall-at-10": "recall_at_10",
    "r2": "r2",
}
"""The measure of a task that each gate of a score is for."""
_OF_OUTPUTS = (*_SCORES, "score", "macro-f1", "agreement", "kept", "max-drop")
"""Metrics that are computed from a bundle's outputs for the held-out rows."""
_PERCENTILES = ("p50", "p90", "p99")
_MAX_NAMED = 3  # failures in the message of the error; all of them are in the report


def judge(report: Report, gates: Sequence[Gate]) -> tuple[Verdict, ...]:
    """Judge every bundle of a report by every gate; simple models of the floor are not judged.

    A bundle that failed its export, or that cannot be read, fails once.
    """
    if not gates:
        return ()
    verdicts = [
        verdict
        for line in report.lines
        if not line.floor
        for verdict in (
            _of(line, gates, _reference_of(line, report)) if line.is_usable else [_of_failed(line)]
        )
    ]
    verdicts += [
        Verdict("", name, False, f"{printable(name)} cannot be read: {printable(reason)}")
        for name, reason in report.broken.items()
    ]
    return tuple(verdicts)


def _reference_of(line: Line, report: Report) -> str | None:
    """Return the name of the bundle that speed-ups of a line's data refer to; None without any."""
    has_any = any(
        other.speed_up
        for other in report.lines
        if other.data == line.data and not other.floor and other.is_usable
    )
    return report.references.get(line.data) if has_any else None


def raise_failures(verdicts: Iterable[Verdict], result: object) -> None:
    """Raise an error if a bundle failed a gate.

    Args:
        verdicts: what `judge` returned.
        result: what the caller returns otherwise.

    Raises:
        GateError: a bundle failed; the message has the first failures.
    """
    verdicts = list(verdicts)
    failures = [verdict for verdict in verdicts if not verdict.passed]
    if not failures:
        return
    named = "; ".join(verdict.message for verdict in failures[:_MAX_NAMED])
    more = f"; and {len(failures) - _MAX_NAMED} more" if len(failures) > _MAX_NAMED else ""
    raise GateError(
        f"{len(failures)} of {len(verdicts)} checks of gates failed: {named}{more}",
        "gate",
        result,
        [GateError(verdict.message, "gate") for verdict in failures],
    )


def _of_failed(line: Line) -> Verdict:
    reason = printable(line.failed or line.failure or "")
    message = f"{printable(line.name)} failed a check when it was exported: {reason}"
    return Verdict("", line.name, False, message)


def _of(line: Line, gates: Sequence[Gate], reference: str | None) -> Iterable[Verdict]:
    for gate in gates:
        value, interval = _VALUES[gate.metric](line)
        name = printable(line.name)
        if value is None and gate.metric == "max-drop" and not _ancestor(line):
            message = f"{name}: {gate.text} holds, as its model was made from no other model"
            yield Verdict(gate.text, line.name, True, message)
        elif gate.metric == "speed-up" and line.name == reference:
            message = f"{name}: {gate.text} holds, as it is what speed-ups refer to"
            yield Verdict(gate.text, line.name, True, message)
        elif value is None:
            message = f"{name}: {gate.text} cannot be judged: {_way_out(gate, line)}"
            yield Verdict(gate.text, line.name, False, message)
        else:
            passed, shown = gate.passes(value), gate.shown(value)
            if interval:
                shown += f" [{gate.shown(interval.low)}, {gate.shown(interval.high)}]"
            word = "passed" if passed else "failed"
            message = f"{name}: {gate.text} {word}: {gate.metric} is {shown}"
            if line.note and gate.metric in _OF_OUTPUTS:
                message += " (of the ONNX file that the engine was built from; it was not run)"
            yield Verdict(gate.text, line.name, passed, message, value)


def _estimate(interval: Interval | None) -> tuple[float | None, Interval | None]:
    return (interval.value if interval else None), interval


def _plain(value: float | None) -> tuple[float | None, None]:
    return value, None


def _score(measure: str) -> Callable[[Line], tuple[float | None, Interval | None]]:
    """Return a function of a line that returns its score, if it is of this measure."""
    return lambda line: _estimate(line.accuracy if line.measure == measure else None)


_VALUES: Mapping[str, Callable[[Line], tuple[float | None, Interval | None]]] = {
    **{name: _score(measure) for name, measure in _SCORES.items()},
    "score": lambda line: _estimate(line.accuracy),
    "macro-f1": lambda line: _estimate(line.macro_f1),
    "agreement": lambda line: _estimate(line.agreement),
    "kept": lambda line: _estimate(line.kept),
    "max-drop": lambda line: _plain(line.drop),
    "size": lambda line: _plain(line.model_bytes),
    "bundle-size": lambda line: _plain(line.bundle_bytes),
    "parameters": lambda line: _plain(line.parameters),
    "p50": lambda line: _estimate(line.p50),
    "p90": lambda line: _estimate(line.p90),
    "p99": lambda line: _plain(line.distribution.p99 if line.distribution else None),
    "cold-start": lambda line: _plain(line.cold_start_seconds),
    "memory": lambda line: _plain(None if line.peak_mb is None else 1e6 * line.peak_mb),
    "speed-up": lambda line: _estimate(line.speed_up),
}
"""For each figure a function of a line that returns its value and its interval."""


def _ancestor(line: Line) -> str:
    """Return the name of the model that the score of a bundle is compared with; "" for none."""
    return line.lineage.teacher or line.lineage.made_from


def _way_out(gate: Gate, line: Line) -> str:
    """Say why the figure of a gate is missing, and which command measures it."""
    name, metric = printable(line.name), gate.metric
    if metric in _SCORES or metric in ("score", "macro-f1"):
        return _way_to_score(metric, line)
    if metric in ("agreement", "kept", "max-drop"):
        ancestor = _ancestor(line)
        if metric != "max-drop" and not line.lineage.teacher:
            return "its model has no teacher; leave the gate out, or name the students alone"
        if line.accuracy is None:
            return _way_to_score("score", line)
        if metric != "max-drop" and line.teacher_bundle:
            return f"a model of the task has no {metric}: gate {_gate_of(line)}"
        ancestor = printable(ancestor)
        return (
            f"no bundle of {ancestor} with the same held-out rows was found: bmc export "
            f"{ancestor} --target {line.target}"
        )
    if line.cannot_run:
        return f"it fails when it is run: {printable(line.cannot_run)}"
    if metric == "parameters":
        return "its manifest does not say it: export the model again with bmc export"
    if metric == "speed-up" and line.threads is not None:
        return "it is what speed-ups refer to, or was measured alone: name another --reference"
    if line.threads is None:
        return f"no latency was measured: bmc bench {name}, where its runtime is installed"
    calls = line.distribution.calls if line.distribution else 0
    enough = needed(float(metric.removeprefix("p"))) if metric in _PERCENTILES else calls
    times = math.ceil(enough / max(calls, 1))
    return (
        f"it needs {enough:,} calls, and {calls:,} were measured: take {max(times, 2)} times as "
        f"many launches (bmc report {name} --launches N)"
    )


def _way_to_score(metric: str, line: Line) -> str:
    if line.accuracy is not None:
        return f"its score is not {metric}: gate {_gate_of(line)}"
    if not line.measure:
        return "bundles of ONNX files and of generators keep no rows to score: leave the gate out"
    return (
        "it has no score, as its rows have no labels or the export did not run it: "
        f"bmc export {printable(line.model)} --target {line.target} --force"
    )


def _gate_of(line: Line) -> str:
    """Return an example of a gate for the score of a bundle's task."""
    name = next((gate for gate, measure in _SCORES.items() if measure == line.measure), "score")
    return METRICS[name].example
