"""Functions of all benchmarks: check requirements, run bmc, and write the results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bmc import artifact, cli
from bmc.measure import machine

HERE = Path(__file__).parent
RESULTS_PAGE = HERE.parent / "docs" / "results.md"
RUNS = HERE / "runs"  # git-ignored: raw samples, and files made to be measured
# A command line of bmc that ends with its CPU seconds, and with whether torch was imported.
PROGRAM = """
import resource, sys
from bmc.cli import main
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, "torch" in sys.modules, file=sys.stderr)
"""
_LOAD = os.getloadavg()  # before the script itself loads the machine


@dataclass(frozen=True)
class Bar:
    """A requirement, the measured value in words, and whether the value meets the requirement."""

    must: str
    found: str
    met: bool


def finish(name: str, bars: Sequence[Bar], content: Mapping[str, Any]) -> int:
    """Print the bars, write benchmarks/results/NAME.json, and return the exit code."""
    for bar in bars:
        print(f"{'met' if bar.met else 'NOT MET':8}{bar.must}: {bar.found}")
    results = {
        "machine": machine.describe(),
        "load_average_at_start": _LOAD,
        "versions": artifact.versions(),
        "bars": [asdict(bar) for bar in bars],
        **content,
    }
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return 0 if all(bar.met for bar in bars) else 1


def bmc(*arguments: object) -> None:
    """Run one bmc command; end the benchmark if the command fails."""
    words = [str(argument) for argument in arguments]
    if cli.run(words) != 0:
        sys.exit(f"bmc {' '.join(words)} failed")


def result(name: str) -> dict[str, Any]:
    """Return what benchmarks/results/NAME.json holds."""
    path = HERE / "results" / f"{name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def put_table(name: str, lines: Sequence[str], page: Path = RESULTS_PAGE) -> None:
    """Put a table between the markers of this name in a page, and print it."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, marker, rest = page.read_text(encoding="utf-8").partition(start)
    after = rest.partition(end)[2]
    if not marker or end not in rest:
        sys.exit(f"{page} has no {start} with {end} behind it")
    table = "\n".join(lines)
    page.write_text(f"{before}{start}\n{table}\n{end}{after}", encoding="utf-8")
    print(table)


def short(number: float) -> str:
    """Return a number with a unit of thousands."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"
