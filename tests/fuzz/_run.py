"""Run the cases of one subject: forked children with limits, each crash or hang found and kept.

The subject's module is imported once; a child is forked for a batch of cases. Where a child dies or
does not answer, the case that it had is kept, and the next child goes on with other cases.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz import _cases, _child
from tests.fuzz._cases import Kept
from tests.fuzz._watch import CANARIES

SECONDS_A_CASE = 20
BATCH = 500
_RUN_TIMES = ("/targets/", "/onnxruntime/", "/openvino/", "/torch/", "/tokenizers/", "/PIL/")
_KEPT_OF_A_KIND = 3


@dataclass
class Outcomes:
    """What cases did.

    Args:
        counts: of cases, by outcome.
        errors: of refusals, by the class of the error.
        kept: cases with another outcome than "success" and "refused".
        seconds: wall time.
    """

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    kept: list[Kept] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return self.counts.total()


def modules() -> dict[str, str]:
    """Return the fuzzed subjects and their modules, tests/fuzz/fuzz_SUBJECT.py."""
    files = sorted(Path(__file__).parent.glob("fuzz_*.py"))
    return {file.stem.removeprefix("fuzz_"): f"tests.fuzz.{file.stem}" for file in files}


def fuzz(subject: Any, cases: int, seconds: float, seed: int) -> Outcomes:
    """Draw and run cases until so many were run or the time is over.

    Args:
        subject: a module, see `_child.Subject`.
        cases: how many at most.
        seconds: wall time at most; a batch under way is stopped.
        seed: of the first batch; each batch has its own.
    """
    outcomes = Outcomes()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bmc-fuzz-") as folder:
        work = _workplace(subject, Path(folder))
        while (left := cases - outcomes.cases) > 0 and time.monotonic() - start < seconds:
            stop = start + seconds
            before = outcomes.cases
            _batch(subject, work, outcomes, (), min(left, BATCH), seed, stop)
            seed += 1
            if outcomes.cases == before:
                raise RuntimeError(f"{subject.__name__}: a child ran no case")
            _say(subject, outcomes, start)
    outcomes.seconds = time.monotonic() - start
    return outcomes


def replay(subject: Any, cases: Sequence[Any], seconds: float = 600) -> Outcomes:
    """Run these cases; a child for those after one that crashed or hung."""
    outcomes = Outcomes()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bmc-fuzz-") as folder:
        work = _workplace(subject, Path(folder))
        while outcomes.cases < len(cases):
            before = outcomes.cases
            _batch(subject, work, outcomes, cases[before:], 0, 0, start + seconds)
            if outcomes.cases == before:
                raise RuntimeError(f"{subject.__name__}: a child ran no case")
    outcomes.seconds = time.monotonic() - start
    return outcomes


def load(name: str) -> Any:
    """Import a subject's module."""
    return importlib.import_module(name)


def _workplace(subject: Any, work: Path) -> Path:
    """Make the canaries, and in a process of its own what the subject prepares."""
    for name in ("prepared", "outside"):
        (work / name).mkdir()
    for name in CANARIES:
        (work / "outside" / name).write_bytes(b'{"secret": 1}')
    if hasattr(subject, "prepare"):
        child = os.fork()
        if child == 0:
            _leave(lambda: subject.prepare(work / "prepared"))
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise RuntimeError(f"{subject.__name__}: prepare failed")
    return work


def _batch(
    subject: Any,
    work: Path,
    outcomes: Outcomes,
    explicit: Sequence[Any],
    count: int,
    seed: int,
    stop: float,
) -> None:
    """Fork a child for a batch and add up what it says."""
    for name in ("current.json", "fault.txt"):
        (work / name).unlink(missing_ok=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as lines:
            _leave(lambda: _child.run_cases(subject, work, lines, explicit, count, seed))
    os.close(writing)
    message = _listen(reading, outcomes, stop)
    os.close(reading)
    if message == "hang":
        os.kill(child, signal.SIGUSR1)
        time.sleep(0.2)
    if message:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if message == "hang":
        _add(outcomes, Kept("hang", f"{SECONDS_A_CASE} s at {_fault(work)[0]}", _current(work)))
    elif not message and code:
        index, native = _fault(work)
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        outcome = "crash in a run time" if native else "crash"
        _add(outcomes, Kept(outcome, f"{name} at {index}", _current(work)))
    shutil.rmtree(work / "case", ignore_errors=True)


def _listen(pipe: int, outcomes: Outcomes, stop: float) -> str:
    """Count outcomes until the child ends; return "hang" or "stop" where it must be ended."""
    buffered = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        last = time.monotonic()
        while True:
            ready = selector.select(timeout=1)
            now = time.monotonic()
            if ready:
                data = os.read(pipe, 1 << 16)
                if not data:
                    return ""
                last, buffered = now, buffered + data
                *lines, buffered = buffered.split(b"\n")
                for line in lines:
                    _count(outcomes, json.loads(line))
            if now - last > SECONDS_A_CASE:
                return "hang"
            if now > stop:
                return "stop"


def _count(outcomes: Outcomes, line: dict[str, Any]) -> None:
    if line["outcome"] == "refused":
        outcomes.errors[line["seen"]] += 1
    if "case" in line:
        _add(outcomes, Kept(line["outcome"], line["seen"], _cases.decode(line["case"])))
    else:
        outcomes.counts[line["outcome"]] += 1


def _add(outcomes: Outcomes, kept: Kept) -> None:
    """Count a case and keep it: of crashes in a run time each, of all else three of a kind."""
    outcomes.counts[kept.outcome] += 1
    alike = [
        item for item in outcomes.kept if (item.outcome, item.seen) == (kept.outcome, kept.seen)
    ]
    if kept.outcome == "crash in a run time" or len(alike) < _KEPT_OF_A_KIND:
        outcomes.kept.append(kept)


def _current(work: Path) -> Any:
    try:
        return _cases.decode(json.loads((work / "current.json").read_text()))
    except (OSError, ValueError):
        return None


def _fault(work: Path) -> tuple[str, bool]:
    """Return where a child was when it died, and whether a run time's code ran."""
    try:
        lines = (work / "fault.txt").read_text().splitlines()
    except OSError:
        return "an unknown place", False
    frames = [line.strip() for line in lines if line.strip().startswith("File ")]
    first = frames[0] if frames else "an unknown place"
    return first.rpartition("/")[2][:120], any(part in first for part in _RUN_TIMES)


def _leave(work: Any) -> None:
    """Do the work of a child and end it without the parent's clean-up.

    What the parent has left is never freed here: the destructors of runtimes' sessions wait for
    threads that only the parent has.
    """
    gc.freeze()
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001  whatever it is, the child ends here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _say(subject: Any, outcomes: Outcomes, start: float) -> None:
    rate = outcomes.cases / max(time.monotonic() - start, 1e-9)
    result = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.counts.items()))
    print(f"{subject.__name__}: {result} ({rate:.0f} cases/s)", file=sys.stderr, flush=True)
