"""What runs the steps of a plan: processes of this machine, or those of a cluster."""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bmc import workspace
from bmc.diagnosis import as_bmc_error
from bmc.errors import MeasuringError, MissingError, StorageError, UsageError
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Step
from bmc.recipes.running import run_step
from bmc.recipes.store import StepStore

OnEvent = Callable[[str, str, int | None, int | None], None]
"""A function that gets a step's name and its last note; or what the step is doing, the number of
units that are done, and of all."""


@dataclass(frozen=True)
class Failure:
    """Why a step failed.

    Args:
        message: the error's message.
        exit_code: exit code of a command with this error: 1 for a gate or a loss that diverged.
        kept: folder of the result that failed a gate, on this machine; "" for none.
        is_storage: whether the disk is full or cannot be written, which stops the whole plan.
        is_transient: whether another attempt may succeed: a process was killed, a worker is lost
            or lacks something, inputs were changed meanwhile.
    """

    message: str
    exit_code: int = 1
    kept: str = ""
    is_storage: bool = False
    is_transient: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Args:
        key: key of the step's result.
        seconds: how long it took.
        failure: why there is no result; None where there is one.
    """

    key: str
    seconds: float = 0.0
    failure: Failure | None = None


class Runner(Protocol):
    """Runs steps whose inputs are in the store, several at a time, and puts results there.

    Attributes:
        workers: number of steps that run in parallel.
        times_alone: whether an export that times its bundle disturbs, and is disturbed by, other
            steps: `run_plan` then submits it alone.
        on_event: function that gets what a step is doing, if the runner knows it; see `OnEvent`.
    """

    workers: int
    times_alone: bool
    on_event: OnEvent | None

    def submit(self, step: Step, key: str, inputs: Mapping[str, str]) -> None:
        """Run a step, now or when there is room; do not wait for it.

        Args:
            step: the step.
            key: key of its result.
            inputs: key of each input, by the argument of the verb; the store has these results.
        """

    def wait(self) -> Outcome:
        """Wait until one of the submitted steps has ended, and return its outcome."""

    def close(self) -> None:
        """End all processes; a training that is stopped so resumes in the next run."""


def make(step: Step, key: str, inputs: Mapping[str, str], store: StepStore) -> Outcome:
    """Make the result of a step in this process, unless the store has it; never raise an error.

    A second process that makes the same result waits, and takes what the first one made. The key is
    computed again before the step is run: hours may have passed since the command computed it, and
    a result of data that was changed meanwhile would be taken for one of the data as it was.

    Args:
        step: the step.
        key: key of its result.
        inputs: key of each input, by the argument of the verb.
        store: the store, in which the inputs are.
    """
    started = time.monotonic()
    try:
        with store.alone(key):
            if not store.has(key):
                paths = {argument: store.path(of_input) for argument, of_input in inputs.items()}
                output = store.output(key, step.name)
                is_whole = workspace.kind_of(output) is not None  # a command was killed at the seal
                is_resumed = is_whole or workspace.checkpoints_of(output).exists()
                if not is_whole:
                    _refuse_changed(step, key, inputs, store)
                    run_step(step, paths, output)
                seconds = 0.0 if is_resumed else max(round(time.monotonic() - started, 1), 0.1)
                store.add(key, output, step.verb, seconds)
    except Exception as error:  # noqa: BLE001  whatever fails, the other steps go on
        if os.environ.get("BMC_DEBUG") == "1":
            traceback.print_exc()
        described = as_bmc_error(error)
        kept = getattr(getattr(described, "result", None), "path", None)
        failed = store.output(key, step.name)
        failed = failed.with_name(f"{failed.name}.failed")
        if described.exit_code == 1 and failed.is_dir():
            kept = failed
        failure = Failure(
            str(described),
            described.exit_code,
            str(kept) if isinstance(kept, Path) else "",
            isinstance(described, StorageError),
            is_transient(error) or is_transient(described),
        )
        return Outcome(key, round(time.monotonic() - started, 1), failure)
    return Outcome(key, round(time.monotonic() - started, 1))


def is_transient(error: BaseException) -> bool:
    """Tell whether what failed with an error may succeed at another attempt."""
    return isinstance(error, MemoryError | MeasuringError | MissingError | _ChangedError)


class _ChangedError(UsageError):
    """What a step depends on was changed after the command had begun."""


def _refuse_changed(step: Step, key: str, inputs: Mapping[str, str], store: StepStore) -> None:
    """Refuse a step whose key is not what the command computed.

    Raises:
        _ChangedError: it is another one.
    """
    if key_of(step, inputs, store.hashes) != key:
        raise _ChangedError(
            f"the data, models, code or packages of step {step.name!r} were changed after the "
            "command had begun: the same command runs it with what is there now"
        )


class InProcess:
    """Runs one step at a time in this process, in the order in which the steps were submitted.

    Args:
        store: where inputs are and results go.

    Example:
        >>> run_plan(plan, store, InProcess(store))
    """

    workers = 1
    times_alone = True

    def __init__(self, store: StepStore) -> None:
        self.on_event: OnEvent | None = None
        self._store = store
        self._waiting: deque[tuple[Step, str, Mapping[str, str]]] = deque()

    def submit(self, step: Step, key: str, inputs: Mapping[str, str]) -> None:
        """Keep a step until `wait` runs it; see `Runner.submit`."""
        self._waiting.append((step, key, inputs))

    def wait(self) -> Outcome:
        """Run the next step, and return its outcome."""
        step, key, inputs = self._waiting.popleft()
        return make(step, key, inputs, self._store)

    def close(self) -> None:
        """Forget the steps that wait."""
        self._waiting.clear()
