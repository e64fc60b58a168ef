"""Latency of bundles, measured in turn in one run: A B B A A B ..., over several launches."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bmc import console
from bmc.errors import BmcError, MissingError, SettingError
from bmc.trust import trusted

if TYPE_CHECKING:
    from typing import Self  # Python 3.11; devices may have 3.10

LIMIT_SECONDS = 600.0  # for a start, and for a turn; a process that takes longer is stopped
WARM_UP_SECONDS = 2.0  # calls before the first turn take so long at most


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
        batches: further numbers of rows a call, for throughput; each has `rounds` turns a launch.
        drop_slower: after the first launch, thread counts that took more than so many times as long
            as the bundle's fastest are measured no longer, and are not in the result; 0 for none.
    """

    batch: int = 1
    length: int = 32
    launches: int = 5
    rounds: int = 6
    turn_seconds: float = 0.05
    turn_calls: int = 5
    most_launches: int = 0
    batches: tuple[int, ...] = ()
    drop_slower: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("length", 1), ("launches", 2), ("rounds", 2)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.turn_seconds < math.inf or self.turn_calls < 1:
            raise SettingError("a turn takes 0 seconds or more, and at least 1 call")
        if any(rows < 1 for rows in self.batches):
            raise SettingError(f"batches are {self.batches}; each must be at least 1")
        if len({self.batch, *self.batches}) <= len(self.batches):
            raise SettingError(f"batches are {self.batches}, and batch is {self.batch}; each once")
        if not (self.drop_slower == 0 or 1 <= self.drop_slower < math.inf):
            raise SettingError(f"drop_slower is {self.drop_slower}; it is 0, or 1 and more")


@dataclass(frozen=True)
class Candidate:
    """A bundle to measure, with a number of threads and a precision."""

    bundle: Path
    threads: int
    precision: str = "f32"


@dataclass
class Measured:
    """Measurements of a candidate.

    Args:
        candidate: the candidate.
        execution: device, threads and precision that the session reports.
        nanoseconds: duration of each call, nested by launch, turn and call.
        cold_start_seconds: time from the start of a process to its first output, by launch.
        load_seconds: part of `cold_start_seconds` for reading the bundle, loading the model and
            running one row, by launch.
        peak_mb: peak resident memory of the process after its first output, by launch.
        microjoules: energy of all processors during each turn, nested by launch and turn; no turns
            where the machine does not tell.
        batch_nanoseconds: duration of each call with another number of rows, nested likewise, by
            the number of rows as text.
    """

    candidate: Candidate
    execution: dict[str, Any] = field(default_factory=dict)
    nanoseconds: list[list[list[int]]] = field(default_factory=list)
    cold_start_seconds: list[float] = field(default_factory=list)
    load_seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    microjoules: list[list[int]] = field(default_factory=list)
    batch_nanoseconds: dict[str, list[list[list[int]]]] = field(default_factory=dict)


def measure(
    candidates: Sequence[Candidate],
    settings: BenchSettings,
    is_settled: Callable[[Sequence[Measured]], bool] = lambda measured: True,
    failed: dict[Path, str] | None = None,
) -> list[Measured]:
    """Measure candidates in turn.

    Each candidate has a separate process, which is stopped (SIGSTOP) outside its turns: idle
    runtimes busy-wait, and would slow each other down.

    Args:
        candidates: the candidates to measure.
        settings: settings of the measurement.
        is_settled: function that tells, after `settings.launches`, whether the measurements are
            steady enough; otherwise launches are added, up to `settings.most_launches`.
        failed: dict that bundles that cannot be run are added to, each with the reason, while the
            other bundles are measured; None makes the first such bundle an error.

    Raises:
        MissingError: a candidate cannot run here.
        BmcError: a candidate's bundle cannot be loaded.
    """
    measured = [Measured(candidate) for candidate in candidates]
    turns = settings.rounds * (1 + len(settings.batches))
    total = settings.launches * (turns + 1) * len(candidates)
    with console.progress("measuring", total, unit="turns") as advance:
        for launch in range(settings.launches):
            measured = _launch(measured, settings, launch, advance, failed)
            if launch == 0 and settings.drop_slower:
                before = len(measured)
                measured = _near_the_fastest(measured, settings.drop_slower)
                advance((before - len(measured)) * (settings.launches - 1) * (turns + 1))
    for launch in range(settings.launches, settings.most_launches):
        if not measured or is_settled(measured):
            break
        console.note(f"intervals are still wide: launch {launch + 1}")
        measured = _launch(measured, settings, launch, lambda turns: None, failed)
    return measured


def _launch(
    measured: list[Measured],
    settings: BenchSettings,
    launch: int,
    advance: Callable[[int], None],
    failed: dict[Path, str] | None,
) -> list[Measured]:
    """Start every candidate, run all turns, and return the candidates that did not fail."""
    broken: dict[Path, str] = {}

    with ExitStack() as stack:
        # The order of starts affects the memory layout, so it alternates between launches.
        pairs: list[tuple[Measured, _Worker]] = []
        for entry in measured if launch % 2 == 0 else reversed(measured):
            with _failures(entry, broken, keep=failed is not None):
                pairs.append((entry, stack.enter_context(_Worker(entry, settings))))
                _add_launch(entry, settings)
            advance(1)
        for rows in (settings.batch, *settings.batches):
            is_main = rows == settings.batch
            for turn in range(settings.rounds):
                for entry, worker in pairs if turn % 2 == 0 else reversed(pairs):
                    if entry.candidate.bundle not in broken:
                        with _failures(entry, broken, keep=failed is not None):
                            _record(entry, worker.turn(settings, rows), None if is_main else rows)
                    advance(1)
    if failed is not None:
        failed |= broken
    return [entry for entry in measured if entry.candidate.bundle not in broken]


def _near_the_fastest(measured: Sequence[Measured], factor: float) -> list[Measured]:
    """Return the candidates that take at most so many times as long as their bundle's fastest."""
    medians = [
        statistics.median(call for turn in entry.nanoseconds[-1] for call in turn)
        for entry in measured
    ]
    fastest: dict[Path, float] = {}
    for entry, median in zip(measured, medians, strict=True):
        bundle = entry.candidate.bundle
        fastest[bundle] = min(median, fastest.get(bundle, math.inf))
    return [
        entry
        for entry, median in zip(measured, medians, strict=True)
        if median <= factor * fastest[entry.candidate.bundle]
    ]


def _add_launch(measured: Measured, settings: BenchSettings) -> None:
    """Add an empty list of turns to everything that is measured in turns."""
    measured.nanoseconds.append([])
    measured.microjoules.append([])
    for rows in settings.batches:
        measured.batch_nanoseconds.setdefault(str(rows), []).append([])


def _record(measured: Measured, turn: Mapping[str, Any], rows: int | None) -> None:
    """Add a turn to the last launch.

    Args:
        measured: measurements of the candidate.
        turn: what the process measured.
        rows: rows a call, if the turn is one of another batch size.
    """
    if rows is not None:
        measured.batch_nanoseconds[str(rows)][-1].append(turn["nanoseconds"])
        return
    measured.nanoseconds[-1].append(turn["nanoseconds"])
    if turn["microjoules"] is not None:
        measured.microjoules[-1].append(turn["microjoules"])


@contextmanager
def _failures(measured: Measured, broken: dict[Path, str], keep: bool) -> Iterator[None]:
    """Add an error of the block to `broken`, or raise it unless `keep`."""
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
        request = {
            "bundle": str(candidate.bundle),
            "threads": candidate.threads,
            "precision": candidate.precision,
            "batches": [settings.batch, *settings.batches],
            "length": settings.length,
            "warm_up_seconds": WARM_UP_SECONDS,
            "codes": sorted(trusted()),
        }
        # PYTHONSAFEPATH keeps the working folder out of sys.path; Python 3.10 does not know it.
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        if candidate.threads:
            environment["OMP_NUM_THREADS"] = str(candidate.threads)
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bmc.measure.worker", json.dumps(request)],
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

    def turn(self, settings: BenchSettings, rows: int) -> dict[str, Any]:
        """Let the process run the calls of a turn; return their nanoseconds and microjoules.

        Args:
            settings: length of the turn.
            rows: rows a call, one of the numbers that the process was started with.
        """
        if hasattr(signal, "SIGCONT"):
            self._process.send_signal(signal.SIGCONT)
        order = {"seconds": settings.turn_seconds, "calls": settings.turn_calls, "batch": rows}
        stdin = self._process.stdin
        if stdin is None:
            raise BmcError("the measuring process has no input")
        try:
            print(json.dumps(order), file=stdin, flush=True)
        except BrokenPipeError as error:
            raise BmcError(f"the process of {self._candidate.bundle} ended early") from error
        measured = self._read(self._candidate)
        self._pause()
        return measured

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
                f"{candidate.bundle} did not respond within {LIMIT_SECONDS:g} seconds and was "
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
