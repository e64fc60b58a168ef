"""What became of a plan and of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc.errors import BmcError, GateError
from bmc.recipes.measuring import Measured
from bmc.recipes.plan import Step
from bmc.recipes.progress import FAILED, SKIPPED

_MAX_NAMED = 3  # failures in a message


@dataclass(frozen=True)
class StepResult:
    """What became of a step of a plan.

    Args:
        step: the step.
        key: key of its result.
        state: cached, done, failed, or skipped: a step that it depends on failed.
        path: folder of the result in the workspace; of what failed a gate, if it was kept.
        seconds: how long it took.
        why: why there is no result.
        exit_code: exit code of a command that fails so.
    """

    step: Step
    key: str
    state: str
    path: Path | None = None
    seconds: float = 0.0
    why: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class PlanResult:
    """What became of a plan.

    Args:
        name: name of the plan.
        steps: what became of each step, in the order of the plan.
        measured: the bench, the report and the failed gates.
    """

    name: str
    steps: tuple[StepResult, ...]
    measured: Measured

    def raise_failures(self) -> None:
        """Raise an error if a step or a gate failed.

        Raises:
            GateError: steps failed their gates or diverged, or bundles failed the gates of the
                plan; the message says which and why.
            BmcError: a step failed otherwise.
        """
        failed = [each for each in self.steps if each.state == FAILED]
        skipped = sum(each.state == SKIPPED for each in self.steps)
        reasons = [f"step {each.step.name!r}: {each.why}" for each in failed]
        reasons += self.measured.failures
        if not reasons:
            return
        more = len(reasons) - _MAX_NAMED
        message = "; ".join(reasons[:_MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
        if skipped:
            message += f" ({skipped} {'step depends' if skipped == 1 else 'steps depend'} on it)"
        others = [each.exit_code for each in failed if each.exit_code != 1]
        if others:
            error = BmcError(message)
            error.exit_code = max(others)
            raise error
        raise GateError(message, "plan", self)
