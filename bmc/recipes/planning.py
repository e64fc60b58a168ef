"""What a plan will do: its keys, which results are there, and how long the others take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bmc.errors import UsageError, unknown
from bmc.recipes.keys import key_of
from bmc.recipes.names import slug
from bmc.recipes.plan import Plan, Step
from bmc.recipes.store import StepStore


@dataclass(frozen=True)
class PlannedStep:
    """A step of a plan.

    Args:
        step: the step.
        key: key of its result.
        is_done: whether the store has its result.
        seconds: how long it took, or may take: the median of the results of its verb in the store;
            None where the store has none.
    """

    step: Step
    key: str
    is_done: bool
    seconds: float | None


def keys_of(plan: Plan, store: StepStore) -> dict[str, str]:
    """Return the key of each step's result, by the step's name.

    Raises:
        UsageError: a name is used twice, or an input is not the name of an earlier step.
        BmcError: a step is wrong; see `bmc.recipes.keys.key_of`.
    """
    keys: dict[str, str] = {}
    for step in plan.steps:
        if step.name in keys:
            raise UsageError(f"two steps are named {step.name!r}: rename one of them")
        for argument, name in step.inputs.items():
            if name not in keys:
                if any(other.name == name for other in plan.steps):
                    raise UsageError(
                        f"step {step.name!r} takes {argument} from {name!r}, which stands after it"
                    )
                raise unknown("step", name, keys, f"{argument} of step {step.name!r}")
        inputs = {argument: keys[name] for argument, name in step.inputs.items()}
        keys[step.name] = key_of(step, inputs, store.hashes)
    for name in plan.bench:
        if name not in keys:
            raise unknown("step", name, keys, "of the bench")
    store.hashes.save()
    return keys


def planned(plan: Plan, store: StepStore, redo: Sequence[str] = ()) -> tuple[PlannedStep, ...]:
    """Return what a plan will do, without doing any of it.

    Args:
        plan: the plan.
        store: the results.
        redo: names of steps that are run again, though their results are there.

    Raises:
        ChangedResultError: a result in the store was changed.
        BmcError: a step is wrong.
    """
    keys = keys_of(plan, store)
    again = {keys[step.name] for step in redone(plan, redo)}
    seconds = _seconds_of_verbs(store)
    steps = []
    for step in plan.steps:
        key = keys[step.name]
        is_done = key not in again and store.has(key)
        seal = store.seal(key) if is_done else None
        took = seal.seconds if seal is not None else seconds.get(step.verb)
        steps.append(PlannedStep(step, key, is_done, took))
    store.hashes.save()
    return tuple(steps)


def redone(plan: Plan, names: Sequence[str]) -> list[Step]:
    """Return the steps that names mean: of one step, or of all points of a sweep.

    Args:
        plan: the plan.
        names: names of steps, as the plan, the recipe or the workspace has them.

    Raises:
        UnknownError: no step has the name.
    """
    steps: list[Step] = []
    for name in names:
        meant = [
            step
            for step in plan.steps
            if name in (step.name, slug(step.name), step.name.partition("[")[0])
            or name == f"{slug(plan.name)}-{slug(step.name)}"
        ]
        if not meant:
            raise unknown("step", name, [step.name for step in plan.steps])
        steps += meant
    return steps


def users_of(plan: Plan) -> Mapping[str, set[str]]:
    """Return the names of all steps that depend on each step."""
    users: dict[str, set[str]] = {step.name: set() for step in plan.steps}
    for step in reversed(plan.steps):
        for name in step.inputs.values():
            users[name] |= {step.name, *users[step.name]}
    return users


def timing_steps(plan: Plan) -> frozenset[str]:
    """Return the names of the steps that time a bundle: the export of a quantized model does.

    Quantizing an ONNX file does too: its result is a bundle.
    """
    verbs = {step.name: step.verb for step in plan.steps}

    def times(step: Step) -> bool:
        if step.verb == "quantize":
            return step.makes_bundle
        made_by = [verbs[name] for name in step.inputs.values()]
        return step.verb == "export" and (not made_by or "quantize" in made_by)

    return frozenset(step.name for step in plan.steps if times(step))


def width_of(plan: Plan) -> int:
    """Return how many steps of a plan may run side by side, at most."""
    depths: dict[str, int] = {}
    for step in plan.steps:
        depths[step.name] = 1 + max((depths[name] for name in step.inputs.values()), default=0)
    return max(Counter(depths.values()).values(), default=1)


def _seconds_of_verbs(store: StepStore) -> dict[str, float]:
    """Return the median time of the results of each verb."""
    times: dict[str, list[float]] = {}
    for key in store.keys():  # noqa: SIM118  a method of the store
        seal = store.seal(key)
        if seal is not None and seal.seconds:
            times.setdefault(seal.verb, []).append(seal.seconds)
    return {verb: median(of_verb) for verb, of_verb in times.items()}
