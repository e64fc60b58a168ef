"""Make what runs steps: processes of this machine, or tasks of a Ray cluster."""

from __future__ import annotations

from bmc import plugins
from bmc.recipes.local_runner import LocalRunner
from bmc.recipes.runners import Runner
from bmc.recipes.store import StepStore


def runner_on(on: str | None, store: StepStore, workers: int | None, threads: int | None) -> Runner:
    """Return a runner; its `close` ends all that it started.

    Args:
        on: "ray" for a Ray cluster that is started here, or that of RAY_ADDRESS; ray://HOST:PORT
            for a running cluster; None for processes of this machine.
        store: where inputs are and results go.
        workers: steps that run in parallel here; None for one per core.
        threads: threads of each step; None for an equal share of the cores.

    Raises:
        SettingError: a number is out of range.
        MissingError: ray is not installed, or the cluster cannot be reached.
        UsageError: the cluster has other versions, or does not see the store.
    """
    if on is None:
        return LocalRunner(store, workers, threads)
    try:
        from bmc.recipes.ray_runner import RayRunner  # noqa: PLC0415  optional ray
    except ModuleNotFoundError as error:
        raise plugins.missing(error, f"--on {on}") from error
    return RayRunner(store, "" if on == "ray" else on, workers, threads)
