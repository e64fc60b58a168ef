"""Fuzz bmc: python -m tests.fuzz [SUBJECT ...] --cases 1000, or --minutes 60; make fuzz."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from tests.fuzz import _cases, _run
from tests.fuzz._child import MEMORY

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "fuzz"
_PACKAGES = ("numpy", "tokenizers", "torch", "onnxruntime", "openvino", "hypothesis", "pillow")
_NEVER = ("raw", "hang", "memory", "outside", "crash")


def main() -> int:
    """Run the subjects one after the other; write counts; return 1 where bmc itself failed."""
    modules = _run.modules()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("subjects", nargs="*", help=f"of {', '.join(modules)}; all when left out")
    parser.add_argument("--cases", type=int, help="cases of each subject")
    parser.add_argument("--minutes", type=float, help="wall time of all subjects together")
    parser.add_argument("--seed", type=int, help="of the first batch; today's when left out")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the counts")
    parser.add_argument("--no-corpus", action="store_true", help="keep no case that failed")
    options = parser.parse_args()
    unknown = set(options.subjects) - modules.keys()
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(modules)}")
    subjects = options.subjects or list(modules)
    seed = int(time.time()) // 86400 * 1000 if options.seed is None else options.seed
    cases = options.cases or (sys.maxsize if options.minutes else 1000)
    seconds = 60 * options.minutes / len(subjects) if options.minutes else float("inf")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failed = 0
    for subject in subjects:
        outcomes = _run.fuzz(_run.load(modules[subject]), cases, seconds, seed)
        options.results.mkdir(parents=True, exist_ok=True)
        content = _content(subject, outcomes, seed)
        text = json.dumps(content, indent=2) + "\n"
        (options.results / f"{subject}.json").write_text(text)
        for kept in outcomes.kept:
            print(f"{subject}: {kept.outcome}: {kept.seen}", file=sys.stderr)
            if not options.no_corpus:
                _cases.keep(subject, kept)
        failed += sum(outcomes.counts[outcome] for outcome in _NEVER)
        print(f"{subject}: {dict(outcomes.counts)} in {outcomes.seconds:.0f} s")
    return 1 if failed else 0


def _content(subject: str, outcomes: _run.Outcomes, seed: int) -> dict[str, Any]:
    counts = outcomes.counts
    result = {package: _version(package) for package in _PACKAGES}
    return {
        "subject": subject,
        "cases": outcomes.cases,
        "refused": counts["refused"],
        "refused_by": dict(sorted(outcomes.errors.items())),
        "successes": counts["success"],
        "raw_exceptions": counts["raw"],
        "hangs": counts["hang"],
        "over_memory": counts["memory"],
        "crashes": counts["crash"],
        "crashes_in_a_run_time": counts["crash in a run time"],
        "opened_outside": counts["outside"],
        "limits": {"bytes": MEMORY, "seconds_a_case": _run.SECONDS_A_CASE},
        "seconds": round(outcomes.seconds, 1),
        "seed": seed,
        "command": shlex.join(["python", "-m", "tests.fuzz", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **result},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
