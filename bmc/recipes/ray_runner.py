"""Run the steps of a plan as tasks of a Ray cluster; nothing else of bmc imports ray."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bmc import console, disk, trust
from bmc.errors import MissingError, SettingError, UsageError, reason_of
from bmc.recipes.local_runner import cores_of_process
from bmc.recipes.plan import Step
from bmc.recipes.ray_task import (
    RemoteStep,
    environment,
    lost,
    make_here,
    needs_machine,
    probe_of,
    refuse_machine,
    versions,
)
from bmc.recipes.runners import Failure, OnEvent, Outcome
from bmc.recipes.store import StepStore

PREFIX = "ray://"
_OBJECTS = 80 << 20  # bytes of Ray's object store, the least that it takes: results are not in it
_ANSWER = 120.0  # seconds for a node to start its first process
_LOST = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError)


class RayRunner:
    """Tasks of a Ray cluster, one for each step.

    Where the worker of a step is lost (killed, out of memory, its machine gone), Ray runs the step
    again elsewhere; a step that fails is not run again. A training resumes from its last checkpoint
    where the store is a folder that both machines see.

    Args:
        store: where inputs are and results go; every worker must reach its location.
        address: ray://HOST:PORT of a cluster; "" for the cluster that RAY_ADDRESS names, or else
            for one that is started on this machine and ended with the command.
        workers: steps at a time of a cluster that is started here; None for one per core. Of a
            running cluster, which runs as many as it has room for, it is the number of cores over
            threads.
        threads: threads of each step, which are the cores that it reserves; None for an equal share
            of the cores here, and for one elsewhere.
        retries: times that a step is run again after the loss of its worker.
        runtime_env: further settings of Ray's environment of the workers, such as
            {"working_dir": "."}.

    Raises:
        SettingError: a number is out of range, or no machine of the cluster has so many cores.
        MissingError: the cluster cannot be reached.
        UsageError: the cluster has another version of bmc, Python, torch or Ray, or its workers do
            not see the store.

    Example:
        >>> run_plan(plan, store, RayRunner(store, "ray://head:10001")).raise_failures()
    """

    # A step that times a bundle reserves all cores of a machine instead.
    times_alone = False

    def __init__(
        self,
        store: StepStore,
        address: str = "",
        workers: int | None = None,
        threads: int | None = None,
        retries: int = 3,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("workers", workers), ("threads", threads)):
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1")
        if retries < 0:
            raise SettingError(f"retries is {retries}; it must be 0 or more")
        cores = cores_of_process()
        self._is_elsewhere = bool(address or os.environ.get("RAY_ADDRESS"))
        self.workers = workers or max(1, cores // (threads or 1))
        self.threads = threads or (1 if self._is_elsewhere else max(1, cores // self.workers))
        self.on_event: OnEvent | None = None  # what a step is doing stays on its worker
        self.store, self.address, self.retries = store, address, retries
        self._is_ours = not ray.is_initialized()
        if address and not self._is_ours:
            raise UsageError(
                f"Ray is connected already in this process, so {address} is not used: call "
                "ray.shutdown() before, or leave the address out"
            )
        self._tasks: dict[Any, RemoteStep] = {}
        self._make = ray.remote(make_here)  # sent once
        variables = environment(self.threads, runtime_env or {})
        # Processes that a cluster of this command starts have the environment from the beginning.
        self._options: dict[str, Any] = {} if self._is_ours else {"runtime_env": variables}
        if self._is_ours:
            self._connect(variables)
        try:
            nodes = [each for each in ray.nodes() if each["Alive"] and "CPU" in each["Resources"]]
            if self._is_elsewhere and workers is None:
                cores = sum(each["Resources"]["CPU"] for each in nodes)
                self.workers = max(1, int(cores // self.threads))
            self._cores = max((each["Resources"]["CPU"] for each in nodes), default=0)
            self._gpus = max((each["Resources"].get("GPU", 0) for each in nodes), default=0)
            if self.threads > self._cores:
                raise SettingError(
                    f"threads is {self.threads}, and no machine of the cluster has more than "
                    f"{self._cores:g} cores: --threads {max(1, int(self._cores))}"
                )
            self._check(nodes)
        except BaseException:
            self.close()
            raise

    def submit(self, step: Step, key: str, inputs: Mapping[str, str]) -> None:
        """Run a step when the cluster has room; see `Runner.submit`.

        Raises:
            MissingError: the step asks for a GPU, and the cluster has none.
        """
        gpus = int(step.settings.get("device") == "cuda")
        if gpus > self._gpus:
            raise MissingError(
                f"step {step.name!r} sets device to cuda, and no machine of the cluster has a GPU: "
                "add one, or set device to cpu"
            )
        location, local = self._places()
        work = RemoteStep(
            *(step, key, dict(inputs), location, local, os.getcwd()),
            codes=tuple(sorted(trust.trusted())),
            versions=versions(),
        )
        task = self._make.options(
            name=step.name,
            num_cpus=self._cores if needs_machine(step) else self.threads,
            num_gpus=gpus,
            max_retries=self.retries,
            retry_exceptions=False,
            **self._options,
        )
        self._tasks[task.remote(work)] = work

    def wait(self) -> Outcome:
        """Wait until a step has ended.

        Raises:
            MissingError: the cluster is gone; the results in the store are kept.
        """
        try:
            done, _ = ray.wait(list(self._tasks), num_returns=1)
            work = self._tasks.pop(done[0])
            outcome: Outcome = ray.get(done[0])
        except _LOST as error:
            is_memory = isinstance(error, exceptions.OutOfMemoryError)
            reason = lost(is_memory, self.retries + 1)
            return Outcome(work.key, failure=Failure(reason, is_transient=True))
        except exceptions.RayTaskError as error:
            reason = f"its worker failed: {reason_of(error, -1)}"
            return Outcome(work.key, failure=Failure(reason, is_transient=True))
        except (ConnectionError, exceptions.RayError) as error:
            raise MissingError(
                f"the Ray cluster {self._place()} is gone ({reason_of(error)}); results that are "
                "done are kept: the same command goes on from there"
            ) from error
        failure = outcome.failure
        if failure is None or not failure.kept or Path(failure.kept).is_dir():
            return outcome
        # What failed a gate lies on the worker's machine alone.
        message = f"{failure.message} (kept on its worker: {failure.kept})"
        return replace(outcome, failure=replace(failure, message=message, kept=""))

    def close(self) -> None:
        """End all tasks; a cluster that was started here ends, too."""
        for task in self._tasks:
            with suppress(Exception):  # the cluster may be gone
                ray.cancel(task, force=True)
        self._tasks.clear()
        if self._is_ours:
            ray.shutdown()

    def _connect(self, variables: dict[str, Any]) -> None:
        """Connect to a cluster, or start one.

        Raises:
            MissingError: it cannot be reached.
            UsageError: it has another version of Ray or Python.
        """
        settings: dict[str, Any] = {"address": self.address or "auto"}
        if not self._is_elsewhere:
            settings = {
                "address": "local",
                "num_cpus": self.workers * self.threads,
                "include_dashboard": False,
                "object_store_memory": _OBJECTS,
                "_system_config": {"task_oom_retries": self.retries},
            }
        try:
            ray.init(
                runtime_env=variables, log_to_driver=False, logging_level=logging.ERROR, **settings
            )
        except RuntimeError as error:
            if "ersion" not in str(error):
                raise MissingError(self._unreachable(error)) from error
            raise UsageError(
                f"the Ray cluster {self._place()} has another version: "
                f"{' '.join(str(error).split())}; install the same on both"
            ) from error
        except (ConnectionError, ValueError, exceptions.RayError) as error:
            raise MissingError(self._unreachable(error)) from error
        console.note(f"Ray: {ray.cluster_resources().get('CPU', 0):g} cores")

    def _unreachable(self, error: Exception) -> str:
        return (
            f"the Ray cluster {self._place()} cannot be reached ({reason_of(error)}): is its head "
            "running, with --ray-client-server-port? If it asks for a token, set "
            "RAY_AUTH_MODE=token here"
        )

    def _place(self) -> str:
        return self.address or os.environ.get("RAY_ADDRESS") or "of this machine"

    def _places(self) -> tuple[str, str]:
        """Return the location of the store for workers, and the folder for results there."""
        if "://" not in self.store.location:
            return str(self.store.root), ""
        return self.store.location, "" if self._is_elsewhere else str(self.store.root)

    def _check(self, nodes: list[dict[str, Any]]) -> None:
        """Ask every machine for its versions, and whether it sees the store.

        Raises:
            UsageError: a version differs, or a machine does not see the store.
            MissingError: a machine does not answer.
        """
        mark = None
        if "://" not in self.store.location:
            mark = self.store.root / f".{secrets.token_hex(8)}.ray"
            disk.make_folders(self.store.root)
            mark.touch()
        try:
            probe = ray.remote(probe_of())
            answers = {
                each["NodeManagerAddress"]: probe.options(
                    num_cpus=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(each["NodeID"], soft=False),
                    **self._options,
                ).remote(str(mark or ""))
                for each in nodes
            }
            for node, answer in answers.items():
                try:
                    found, sees = ray.get(answer, timeout=_ANSWER)
                except exceptions.RayError as error:
                    raise MissingError(
                        f"machine {node} of the Ray cluster does not answer: {reason_of(error, -1)}"
                    ) from error
                refuse_machine(f"machine {node} of the Ray cluster", found, sees, self.store.root)
        finally:
            if mark is not None:
                mark.unlink(missing_ok=True)
