"""Make the models of several candidates in parallel; what was made before is not made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmc.errors import StorageError
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Step
from bmc.recipes.runners import Failure, Runner
from bmc.recipes.store import StepStore

Made = Path | Failure
"""The model directory of a candidate, or why there is none."""


def keys_of(steps: Sequence[Step], store: StepStore) -> list[str]:
    """Return the keys of a candidate's steps, each of which takes the result of the one before."""
    keys: list[str] = []
    for step in steps:
        inputs = dict.fromkeys(step.inputs, keys[-1] if keys else "")
        keys.append(key_of(step, inputs, store.hashes))
    return keys


def make_all(
    candidates: Sequence[Sequence[Step]], model: Path, store: StepStore, runner: Runner
) -> list[Made]:
    """Run the steps of candidates that were not run before.

    Args:
        candidates: steps of each candidate; none for the model as it is.
        model: the uncompressed model.
        store: results of steps, which candidates may share.
        runner: what runs steps, as many at a time as it has room for.

    Returns:
        the result of each candidate's last step, or why a step of it failed.

    Raises:
        StorageError: the disk is full.
    """
    chains = [list(zip(steps, keys_of(steps, store), strict=True)) for steps in candidates]
    done: dict[str, Failure | None] = {
        key: None for chain in chains for _, key in chain if store.has(key)
    }
    running: set[str] = set()

    def submit() -> None:
        """Submit the next step of each candidate whose step before is done."""
        for chain in chains:
            before = ""
            for step, key in chain:
                if key not in done:
                    if key not in running:
                        running.add(key)
                        runner.submit(step, key, dict.fromkeys(step.inputs, before))
                    break
                if done[key] is not None:
                    break
                before = key

    submit()
    while running:
        outcome = runner.wait()
        if outcome.failure is not None and outcome.failure.is_storage:
            raise StorageError(outcome.failure.message)
        if outcome.failure is not None and not outcome.failure.is_transient:
            store.remove(outcome.key)  # it is not run again, so no checkpoint is kept
        running.remove(outcome.key)
        done[outcome.key] = outcome.failure
        submit()
    return [_made([key for _, key in chain], done, model, store) for chain in chains]


def _made(
    keys: Sequence[str], done: dict[str, Failure | None], model: Path, store: StepStore
) -> Made:
    failures = (done[key] for key in keys if key in done)
    failure = next((each for each in failures if each is not None), None)
    if failure is not None:
        return failure
    return store.path(keys[-1]) if keys else model
