"""How long does the command line take to answer `--help` and a shell's completion?

    python benchmarks/startup.py                        (two minutes, nothing else running)

`bmc --help`, every `bmc VERB --help` and five completions run ROUNDS times in turn, each
in a process of its own. The figure is processor time (user and system) in seconds, on which other
work of the machine has less influence than on wall time; the best and the median of the rounds are
kept.

Writes benchmarks/results/startup.json. Exit code 1: one of them imports torch, a help takes 0.5 s
or more, or a completion 0.3 s or more (medians).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from _common import PROGRAM, Bar, finish

from bmc.cli import COMPLETING, app

ROUNDS = 7
HELP_SECONDS, COMPLETION_SECONDS = 0.5, 0.3
HELPS = ("bmc --help", *(f"bmc {verb} --help" for verb in app.VERBS))
COMPLETIONS = (
    *("bmc ", "bmc quantize ", "bmc share --set ", "bmc train mlp --se", "bmc prune --he"),
)


def main() -> int:
    """Ask every verb for its help, complete a few lines, and judge the medians."""
    seconds: dict[str, list[float]] = {line: [] for line in (*HELPS, *COMPLETIONS)}
    with_torch: set[str] = set()
    for _ in range(ROUNDS):
        for line in seconds:
            taken, torch = _help(line) if line in HELPS else _completion(line)
            seconds[line].append(taken)
            if torch:
                with_torch.add(line)
    medians = {line: statistics.median(values) for line, values in seconds.items()}
    slowest_help = max(HELPS, key=medians.__getitem__)
    slowest_completion = max(COMPLETIONS, key=medians.__getitem__)
    bars = [
        Bar("no torch is imported", ", ".join(sorted(with_torch)) or "none", not with_torch),
        _bar("help", slowest_help, medians[slowest_help], HELP_SECONDS),
        _bar("completion", slowest_completion, medians[slowest_completion], COMPLETION_SECONDS),
    ]
    rows = {
        line: {"median_seconds": round(medians[line], 3), "best_seconds": round(min(values), 3)}
        for line, values in seconds.items()
    }
    return finish("startup", bars, {"rounds": ROUNDS, "processor_time": rows})


def _bar(kind: str, line: str, seconds: float, limit: float) -> Bar:
    return Bar(f"{kind} < {limit} s", f"{line!r} took {seconds:.3f} s", seconds < limit)


def _help(line: str) -> tuple[float, bool]:
    return _run(line.split()[1:], {})


def _completion(line: str) -> tuple[float, bool]:
    """Complete the last word of a line; bash asks for it by these variables."""
    last = str(len(line.split(" ")) - 1)
    return _run([], {"COMP_WORDS": line, "COMP_CWORD": last, COMPLETING: "complete_bash"})


def _run(arguments: list[str], variables: dict[str, str]) -> tuple[float, bool]:
    """Return the processor time of a process in seconds, and whether it imported torch."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    taken, torch = done.stderr.split()[-2:]
    return float(taken), torch == "True"


if __name__ == "__main__":
    sys.exit(main())
