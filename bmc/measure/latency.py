"""Latency of bundles, measured in turn in one run: A B B A A B ..., over several launches."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bmc import console
from bmc.errors import BmcError, MissingError, SettingError

LIMIT_SECONDS = 600.0  # for a start, and for a turn: what takes longer hangs


@dataclass(frozen=True)
class BenchSettings:
    """How to measure.

    Args:
        batch: rows a call.
        length: tokens a row, none of them padding.
        launches: fresh processes of each candidate, one after the other; at least 2.
        rounds: turns of each candidate in a launch; at least 2.
        turn_seconds: length of a turn.
        turn_calls: calls of a turn at least.
        most_launches: where intervals are wide after `launches`, so many are made; 0 for no more.
    """

    batch: int = 1
    length: int = 32
    launches: int = 5
    rounds: int = 6
    turn_seconds: float = 0.05
    turn_calls: int = 5
    most_launches: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("length", 1), ("launches", 2), ("rounds", 2)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.turn_seconds < math.inf or self.turn_calls < 1:
            raise SettingError("a turn takes 0 seconds or more, and at least 1 call")


@dataclass(frozen=True)
class Candidate:
    """What is measured: a bundle with so many threads, in a precision."""

    bundle: Path
    threads: int
    precision: str = "f32"


@dataclass
class Measured:
    """What was found of a candidate.

    Args:
        candidate: which one.
        execution: what it really ran with, as its session says.
        nanoseconds: of each call, by turn, by launch.
        cold_start_seconds: from the start of a fresh process to its first answer, by launch.
        load_seconds: of that, reading the bundle, loading the model and answering, by launch.
        peak_mb: resident memory of that fresh process after its first answer, by launch.
    """

    candidate: Candidate
    execution: dict[str, Any] = field(default_factory=dict)
    nanoseconds: list[list[list[int]]] = field(default_factory=list)
    cold_start_seconds: list[float] = field(default_factory=list)
    load_seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)


def measure(
    candidates: Sequence[Candidate],
    settings: BenchSettings,
    is_settled: Callable[[Sequence[Measured]], bool] = lambda measured: True,
    failed: dict[Path, str] | None = None,
) -> list[Measured]:
    """Measure candidates in turn.

    Every candidate lives in a process of its own, which is stopped (SIGSTOP) outside its turns:
    idle run times spin, and would slow each other down.

    Args:
        candidates: what is measured.
        settings: how.
        is_settled: tells after `settings.launches` whether what was measured is steady enough;
            while it is not, launches are added, up to `settings.most_launches`.
        failed: takes bundles that cannot be run, each with the reason; the others are measured.
            Left out, the first such bundle is an error.

    Raises:
        MissingError: a candidate cannot run here.
        BmcError: a candidate's bundle cannot be loaded.
    """
    found = [Measured(candidate) for candidate in candidates]
    total = settings.launches * (settings.rounds + 1) * len(candidates)
    with console.progress("measuring", total, unit="turns") as advance:
        for launch in range(settings.launches):
            found = _launch(found, settings, launch, advance, failed)
    for launch in range(settings.launches, settings.most_launches):
        if not found or is_settled(found):
            break
        console.note(f"intervals are still wide: launch {launch + 1}")
        found = _launch(found, settings, launch, lambda turns: None, failed)
    return found


def _launch(
    found: list[Measured],
    settings: BenchSettings,
    launch: int,
    advance: Callable[[int], None],
    failed: dict[Path, str] | None,
) -> list[Measured]:
    """Start every candidate, give each its turns, and return those that ran."""
    broken: dict[Path, str] = {}

    with ExitStack() as stack:
        # Who starts first gets other memory, so the order turns with every launch.
        pairs: list[tuple[Measured, _Worker]] = []
        for one in found if launch % 2 == 0 else reversed(found):
            with _failures(one, broken, keep=failed is not None):
                pairs.append((one, stack.enter_context(_Worker(one, settings))))
                one.nanoseconds.append([])
            advance(1)
        for turn in range(settings.rounds):
            for one, worker in pairs if turn % 2 == 0 else reversed(pairs):
                if one.candidate.bundle not in broken:
                    with _failures(one, broken, keep=failed is not None):
                        one.nanoseconds[-1].append(worker.turn(settings))
                advance(1)
    if failed is not None:
        failed |= broken
    return [one for one in found if one.candidate.bundle not in broken]


@contextmanager
def _failures(measured: Measured, broken: dict[Path, str], keep: bool) -> Iterator[None]:
    """Put what goes wrong with a candidate into `broken`, or raise it."""
    try:
        yield
    except BmcError as error:
        if not keep:
            raise
        broken[measured.candidate.bundle] = str(error)


class _Worker:
    """A candidate's process: running in its turns, stopped between them."""

    def __init__(self, measured: Measured, settings: BenchSettings) -> None:
        candidate = measured.candidate
        told = {
            "bundle": str(candidate.bundle),
            "threads": candidate.threads,
            "precision": candidate.precision,
            "batch": settings.batch,
            "length": settings.length,
        }
        environment = {**os.environ, "OMP_NUM_THREADS": str(candidate.threads or os.cpu_count())}
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bmc.measure.worker", json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        try:
            ready = self._read(candidate)
            measured.cold_start_seconds.append(time.perf_counter() - started)
            measured.load_seconds.append(ready["load_seconds"])
            measured.peak_mb.append(ready["peak_mb"])
            measured.execution = ready["execution"]
            self._read(candidate)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._candidate = candidate
        self._pause()

    def turn(self, settings: BenchSettings) -> list[int]:
        """Let the process run its calls and return their nanoseconds."""
        if hasattr(signal, "SIGCONT"):
            self._process.send_signal(signal.SIGCONT)
        order = {"seconds": settings.turn_seconds, "calls": settings.turn_calls}
        stdin = self._process.stdin
        if stdin is None:
            raise BmcError("the measuring process has no input")
        try:
            print(json.dumps(order), file=stdin, flush=True)
        except BrokenPipeError as error:
            raise BmcError(f"the process of {self._candidate.bundle} ended early") from error
        samples: list[int] = self._read(self._candidate)["nanoseconds"]
        self._pause()
        return samples

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _give_up(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _pause(self) -> None:
        if hasattr(signal, "SIGSTOP"):
            self._process.send_signal(signal.SIGSTOP)

    def _read(self, candidate: Candidate) -> dict[str, Any]:
        stdout = self._process.stdout
        late = threading.Event()
        alarm = threading.Timer(LIMIT_SECONDS, self._give_up, [late])
        alarm.start()
        try:
            line = stdout.readline() if stdout else ""
        finally:
            alarm.cancel()
        if late.is_set():
            raise BmcError(
                f"{candidate.bundle} gave no answer within {LIMIT_SECONDS:g} seconds and was "
                "stopped; the other bundles can be measured without it"
            )
        if not line:
            raise BmcError(
                f"the process that measures {candidate.bundle} died; "
                f"bmc predict {candidate.bundle} 'some text' shows why"
            )
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            kind = MissingError if message["exit_code"] == MissingError.exit_code else BmcError
            raise kind(message["error"])
        return message
