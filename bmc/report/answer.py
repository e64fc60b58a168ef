"""The answer of a report, a sentence for each data set: what is faster or smaller, at what cost."""

from __future__ import annotations

from collections.abc import Sequence

from bmc.console import printable
from bmc.measure.shown import significant
from bmc.report.line import Line, Report
from bmc.report.words import score_name

# A bundle that loses more than this share of all rows to its reference is the answer only where all
# bundles do.
_MAX_LOSS = 0.02


def answer(report: Report) -> str:
    """Return the sentence of the data set with the largest speed-up, else of the first one."""
    found = answers(report)
    if not found:
        return "There is nothing to compare: no bundle could be read."
    return next(iter(found.values()))


def answers(report: Report) -> dict[str, str]:
    """Return a sentence for each data set; the one with the largest speed-up is the first."""
    chosen = {}
    for data, lines in report.by_data().items():
        candidates = [line for line in lines if line.is_usable and not line.floor]
        chosen[data] = (_speed(_best(candidates, report)), _sentence(candidates, data, report))
    order = sorted(chosen, key=lambda data: -chosen[data][0])
    return {data: printable(chosen[data][1]) for data in order}


def _speed(line: Line | None) -> float:
    return line.speed_up.value if line and line.speed_up else 0.0


def _best(lines: Sequence[Line], report: Report) -> Line | None:
    """Return the fastest bundle that keeps its reference's score, else the fastest of all."""
    timed = [line for line in lines if line.speed_up]
    keeping = [line for line in timed if _keeps(line, report)]
    return max(keeping or timed, key=_speed, default=None)


def _keeps(line: Line, report: Report) -> bool:
    reference = report.line_of(report.references.get(line.data))
    if line.accuracy is None or reference is None or reference.accuracy is None:
        return True
    return line.accuracy.value >= reference.accuracy.value - _MAX_LOSS


def _sentence(lines: Sequence[Line], data: str, report: Report) -> str:
    if not lines:
        return f"No bundle of {data} passed the checks of its export."
    best = _best(lines, report)
    if best is not None and best.speed_up is not None:
        return _of_speed(best, report)
    smallest = min(lines, key=lambda line: line.model_bytes)
    largest = max(lines, key=lambda line: line.model_bytes)
    timed = [line for line in lines if line.p50]
    if len(lines) == 1 or smallest.model_bytes == largest.model_bytes:
        only = min(timed or lines, key=lambda line: line.p50.value if line.p50 else 0.0)
        return _of_one(only, report)
    ratio = significant(largest.model_bytes / max(smallest.model_bytes, 1))
    return (
        f"{smallest.name} is {ratio} times smaller than {largest.name}: {_size(smallest)}"
        f"{_at_score(smallest)}.{_missing(lines, report)}"
    )


def _of_speed(best: Line, report: Report) -> str:
    reference = report.references.get(best.data, "")
    found = report.line_of(reference)
    speed = significant(best.speed_up.value) if best.speed_up else ""
    if best.speed_up and best.speed_up.value < 1:
        lead = f"{best.name} answers no faster than {reference} ({speed} times as fast)"
    else:
        lead = f"{best.name} answers {_in_same_runtime(best, reference)}{speed} times faster than "
        lead += reference
    is_teacher = found is not None and found.name == best.teacher_bundle
    relation = ", its teacher" if is_teacher else ""
    smaller = ""
    if found is not None and found.model_bytes > best.model_bytes > 0:
        ratio = significant(found.model_bytes / best.model_bytes)
        smaller = f", {ratio} times smaller"
    return f"{lead}{relation}{_at_score(best)}, in a file of {_size(best)}{smaller}."


def _in_same_runtime(best: Line, reference: str) -> str:
    """Return the speed-up over the same runtime's teacher, or uncompressed model, if it counts.

    A faster runtime is no merit of the compression, so where the reference runs in another one, the
    ratio within one runtime comes first.
    """
    ratios = {
        best.same_target: (best.speed_up_same_target, ", its teacher"),
        best.origin: (best.speed_up_origin, ""),
    }
    for name, (ratio, relation) in ratios.items():
        if name and name != reference and ratio is not None and ratio.value >= 1:
            return f"{significant(ratio.value)} times faster than {name}{relation}, and "
    return ""


def _of_one(line: Line, report: Report) -> str:
    if line.p50:
        return (
            f"{line.name} answers in {significant(line.p50.value)} ms (p50){_at_score(line)}, in a "
            f"file of {_size(line)}; there is nothing to compare it with."
        )
    return f"{line.name} takes {_size(line)}{_at_score(line)}.{_missing([line], report)}"


def _at_score(line: Line) -> str:
    """Return the score, with its share of the teacher's where that was compared."""
    if line.accuracy is None:
        return ", with no score"
    percent = f"{significant(100 * line.accuracy.value)} % {score_name(line.measure)}"
    if line.kept is None:
        return f", at {percent}"
    return f", at {significant(100 * line.kept.value)} % of its teacher's score ({percent})"


def _missing(lines: Sequence[Line], report: Report) -> str:
    """Say that no latency was measured, and which command measures it."""
    if any(line.p50 for line in lines):
        return ""
    if report.run is not None and any(line.name in report.run.skipped for line in lines):
        return " Its latency can only be measured where its runtime runs: bmc bench there."
    return " Latency was not measured: bmc report without --no-bench measures it."


def _size(line: Line) -> str:
    return f"{significant(line.model_bytes / 1e6)} MB"
