"""What a worker of a cluster is sent, and what it does with it; this imports no package of Ray."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import __version__
from bmc.diagnosis import as_bmc_error
from bmc.errors import UsageError
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Step
from bmc.recipes.runners import Failure, Outcome, make
from bmc.recipes.store import StepStore
from bmc.trust import trusting

_USAGE = 2  # exit code
_NO_GPU = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}  # hides GPUs from steps that reserve none
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class RemoteStep:
    """A step as it is sent to a worker: settings, keys and locations, never weights or rows.

    Args:
        step: the step.
        key: key of its result, as the command computed it.
        inputs: key of each input, by the argument of the verb.
        location: location of the store; see `StepStore`.
        local: folder for results on the worker's machine, where the location is a URL; "" for the
            workspace of the worker.
        folder: working folder of the command, to which relative paths of the step refer.
        codes: the user's own code that the command line named, as module:function.
        versions: versions of bmc, Python and torch of the command.
    """

    step: Step
    key: str
    inputs: Mapping[str, str]
    location: str
    local: str
    folder: str
    codes: tuple[str, ...]
    versions: Mapping[str, str]


def versions() -> dict[str, str]:
    """Return the versions that a command and its workers must have in common; "" for missing."""
    try:
        torch = importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        torch = ""
    return {"bmc": __version__, "python": ".".join(map(str, sys.version_info[:2])), "torch": torch}


def difference(place: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Return a sentence on the first version that differs, with the way out; "" for none.

    Args:
        place: which worker, in words.
        theirs: versions of the worker.
        ours: versions of the command.
    """
    for name, version in ours.items():
        found = theirs.get(name, "")
        if found == version:
            continue
        package = {"bmc": "bmc-toolkit"}.get(name, name)
        install = f"pip install {package}=={version}"
        way_out = f"use Python {version} there" if name == "python" else f"{install} there"
        has = f"{name} {found}" if found else f"no {name}"
        return (
            f"{place} has {has}, and this command {name} {version}: results would differ; "
            f"{way_out}, or run the command with the cluster's version"
        )
    return ""


def refuse_machine(place: str, theirs: Mapping[str, str], sees: bool, root: Path) -> None:
    """Refuse a machine whose versions differ, or which does not see the store.

    Args:
        place: the machine, in words.
        theirs: versions of its workers.
        sees: whether it sees the store.
        root: the store's folder.

    Raises:
        UsageError: it is refused.
    """
    differs = difference(place, theirs, versions())
    if differs:
        raise UsageError(differs)
    if not sees:
        raise UsageError(
            f"{place} does not see the store {root}: name a folder that all machines share "
            "(bmc run --store, bmc compress --output), or a URL such as s3://bucket/steps with "
            "--store"
        )


def lost(is_memory: bool, times: int) -> str:
    """Return why a step was given up, whose workers were lost a number of times."""
    cause = "ran out of memory" if is_memory else "was lost"
    return f"its worker {cause} {times} {'time' if times == 1 else 'times'}; see Ray's logs"


def needs_machine(step: Step) -> bool:
    """Tell whether a step may time a bundle: then it reserves all cores of a machine."""
    return step.verb == "export" or (step.verb == "quantize" and step.makes_bundle)


def environment(threads: int, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return Ray's environment of workers: threads are counted when torch is imported."""
    variables = {**dict.fromkeys(_THREADS, str(threads)), **_NO_GPU, **more.get("env_vars", {})}
    return {**more, "env_vars": variables}


def probe_of() -> Callable[[str], tuple[dict[str, str], bool]]:
    """Return a function that Ray sends as code: the workers may have no bmc, or another one."""

    def probe(path: str) -> tuple[dict[str, str], bool]:
        import importlib  # noqa: PLC0415
        import importlib.metadata  # noqa: PLC0415
        import os  # noqa: PLC0415
        import sys  # noqa: PLC0415

        found = {"python": ".".join(map(str, sys.version_info[:2]))}
        try:
            found["torch"] = importlib.metadata.version("torch").partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found["torch"] = ""
        try:
            found["bmc"] = importlib.import_module("bmc").__version__
        except ImportError:
            found["bmc"] = ""
        return found, not path or os.path.exists(path)

    return probe


def make_here(work: RemoteStep) -> Outcome:
    """Make the result of a step on this worker; never raise an error.

    The key is computed again, from what this machine has: files, models, code and packages that
    differ from those of the command give another key, and nothing is run.

    Args:
        work: what was sent.
    """
    place = f"worker {socket.gethostname()}"
    found = difference(place, versions(), work.versions)
    if found:
        return Outcome(work.key, failure=Failure(found, _USAGE, is_transient=True))
    try:
        if Path(work.folder).is_dir():
            os.chdir(work.folder)
        store = StepStore(work.location, Path(work.local) if work.local else None)
        with trusting(*work.codes):
            if key_of(work.step, work.inputs, store.hashes) != work.key:
                failure = Failure(_other_key(place, work), _USAGE, is_transient=True)
                return Outcome(work.key, failure=failure)
            outcome = make(work.step, work.key, work.inputs, store)
        store.hashes.save()
    except Exception as error:  # noqa: BLE001  whatever fails, the other steps go on
        described = as_bmc_error(error)
        reason = f"{place}: {described}"
        return Outcome(work.key, failure=Failure(reason, described.exit_code, is_transient=True))
    return outcome


def _other_key(place: str, work: RemoteStep) -> str:
    return (
        f"{place} has other data, models, packages or code of bmc for step {work.step.name!r} than "
        f"this command (its key there is not {work.key[:12]}): give both the same files at the "
        f"same paths, below {work.folder}, and install the same packages on both"
    )
