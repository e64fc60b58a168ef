"""Run steps in processes of this machine, each with its share of the cores."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from bmc import console, trust
from bmc.errors import SettingError
from bmc.recipes.plan import Step
from bmc.recipes.runners import Failure, OnEvent, Outcome
from bmc.recipes.store import StepStore

_PATIENCE = 5.0  # seconds for a process to remove what it has half-written
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Task:
    step: Step
    key: str
    inputs: Mapping[str, str]


class _Worker:
    """A process that makes one result at a time."""

    def __init__(self, command: list[str], threads: int, messages: queue.Queue[Any]) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the command alone, which ends its processes
        )
        self.task: _Task | None = None
        threading.Thread(target=self._read, args=(messages,), daemon=True).start()

    def send(self, task: _Task) -> None:
        self.task = task
        request = {**asdict(task), "codes": sorted(trust.trusted())}
        assert self.process.stdin is not None  # noqa: S101  for the type checker
        with suppress(BrokenPipeError):  # the reader reports that the process has ended
            self.process.stdin.write(json.dumps(request, default=str) + "\n")
            self.process.stdin.flush()

    def close_pipes(self) -> None:
        """Close what connects this process to one that has ended."""
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def _read(self, messages: queue.Queue[Any]) -> None:
        assert self.process.stdout is not None  # noqa: S101  for the type checker
        for line in self.process.stdout:
            with suppress(ValueError):
                messages.put((self, json.loads(line)))
        self.process.wait()
        messages.put((self, None))


class LocalRunner:
    """Processes of this machine.

    Args:
        store: where inputs are and results go.
        workers: processes; None for one per core.
        threads: threads of each process; None for an equal share of the cores.

    Raises:
        SettingError: a number is below 1.

    Example:
        >>> runner = LocalRunner(StepStore(), workers=2, threads=1)
    """

    times_alone = True

    def __init__(
        self,
        store: StepStore,
        workers: int | None = None,
        threads: int | None = None,
    ) -> None:
        for name, value in (("workers", workers), ("threads", threads)):
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1")
        cores = cores_of_process()
        self.workers = workers or max(1, cores // (threads or 1))
        self.threads = threads or max(1, cores // self.workers)
        self.on_event: OnEvent | None = None
        self._command = [
            *(sys.executable, "-P", "-m", "bmc.recipes.worker"),
            *(store.location, str(store.root)),
        ]
        self._waiting: deque[_Task] = deque()
        self._processes: list[_Worker] = []
        self._messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()

    def submit(self, step: Step, key: str, inputs: Mapping[str, str]) -> None:
        """Run a step, now or when a process is free; see `Runner.submit`."""
        self._waiting.append(_Task(step, key, inputs))
        self._assign()

    def wait(self) -> Outcome:
        """Wait until a step has ended; notes of the steps are reported meanwhile."""
        while True:
            worker, message = self._messages.get()
            task = worker.task
            if message is None:  # the process has ended
                self._processes.remove(worker)
                worker.close_pipes()
                if task is None:
                    continue
                self._assign()
                return Outcome(task.key, failure=_death_of(worker.process.returncode))
            if task is None:
                continue
            if "outcome" in message:
                worker.task = None
                self._assign()
                content = message["outcome"]
                failure = content.pop("failure")
                return Outcome(**content, failure=Failure(**failure) if failure else None)
            self._report(task.step.name, message)

    def close(self) -> None:
        """End all processes; what they have half-written is removed."""
        self._waiting.clear()
        for worker in self._processes:
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        for worker in self._processes:
            try:
                worker.process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.close_pipes()
        self._processes.clear()

    def _assign(self) -> None:
        """Give waiting steps to processes that are free; start processes where there is room."""
        while self._waiting:
            free = next((each for each in self._processes if each.task is None), None)
            if free is None and len(self._processes) >= self.workers:
                return
            if free is None:
                free = _Worker(self._command, self.threads, self._messages)
                self._processes.append(free)
            free.send(self._waiting.popleft())

    def _report(self, name: str, message: Mapping[str, Any]) -> None:
        if "note" in message:
            console.note(f"{name}: {message['note']}")
        if self.on_event is not None:
            text, done, total, _ = message.get("progress") or (message.get("note"), None, None, "")
            self.on_event(name, str(text), done, total)


def cores_of_process() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _death_of(code: int | None) -> Failure:
    """Say that the process of a step ended without a result."""
    cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    hint = ": is there too little memory? --workers 1 runs one step at a time"
    reason = f"its process ended ({cause}){hint if code == -9 else ''}"
    return Failure(reason, is_transient=True)
