"""The child of a fuzz run: cases under limits, one line of JSON about each to its parent."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import hypothesis
from hypothesis import HealthCheck, Phase

from bmc.errors import BmcError
from tests.fuzz._cases import encode
from tests.fuzz._watch import Canaries, watch_opens

Subject: TypeAlias = Any
"""A module with `cases()` and `check(case, folder)`; `prepare(folder)` if it needs files, `start()`
for what must be imported after the fork."""

_REPOSITORY = str(Path(__file__).resolve().parents[2])
MEMORY = 2 << 30
"""Bytes that a child may map beyond what it mapped when it was forked."""


def run_cases(
    subject: Subject, work: Path, lines: BinaryIO, explicit: Iterable[Any], count: int, seed: int
) -> None:
    """Run explicit cases, or `count` drawn ones; never returns to the parent's code.

    Args:
        subject: what is fuzzed.
        work: holds `prepared`, `outside` (canaries), the case's folder and `current.json`.
        lines: where a line about each case is written to.
        explicit: cases to run instead of drawn ones.
        count: how many to draw.
        seed: of the drawing.
    """
    if hasattr(subject, "start"):
        subject.start()
    _limit(work)
    canaries = Canaries(work / "outside")
    opened = watch_opens(work)

    def run(case: Any) -> None:
        encoded = encode(case)
        (work / "current.json").write_text(json.dumps(encoded))
        opened.clear()
        outcome, seen = _outcome(subject, case, work / "case")
        touched = [*opened, *canaries.touched()]
        if touched:
            outcome, seen = "outside", f"opened {touched[0]}"
        line = {"outcome": outcome, "seen": seen}
        if outcome not in ("success", "refused"):
            line["case"] = encoded
        lines.write(json.dumps(line).encode() + b"\n")
        lines.flush()

    cases = list(explicit)
    for case in cases:
        run(case)
    if not cases:
        settings = hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        drawn: Any = hypothesis.given(subject.cases())
        drawn = settings(hypothesis.seed(seed)(drawn(run)))
        drawn()


def _outcome(subject: Subject, case: Any, folder: Path) -> tuple[str, str]:
    _remove(folder)
    folder.mkdir()
    try:
        subject.check(case, folder)
    except BmcError as error:
        text = str(error)
        if not text.strip() or "\n" in text:
            return "raw", f"a message of no line or of several: {text!r:.200}"
        return "refused", type(error).__name__
    except MemoryError:
        return "memory", _where()
    except BaseException as error:  # noqa: BLE001  a run time's panic derives from nothing else
        return "raw", f"{type(error).__name__}: {str(error)[:200]} ({_where()})"
    finally:
        _remove(folder)
    return "success", ""


def _where() -> str:
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [frame for frame in frames if frame.filename.startswith(_REPOSITORY)] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}"


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _limit(work: Path) -> None:
    """Limit memory, keep no core dumps, be quiet, and say where a crash or hang was."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fault = (work / "fault.txt").open("w")
    faulthandler.enable(fault, all_threads=True)
    faulthandler.register(signal.SIGUSR1, fault, all_threads=True)
