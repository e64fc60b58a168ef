"""Run times of the targets, one file each: a bundle goes in, a session that runs arrays comes out.

A target is declared in `bmc/bundle_formats`, and written by `export`: CONTRIBUTING.md says how to
add one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from bmc._telemetry import no_temporary_files
from bmc.bundle import Bundle
from bmc.contracts import Runtime, targets
from bmc.errors import ArtifactError, SettingError, UsageError, reason_of

_MOST_THREADS = 1024  # run times start all that they are asked for
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Availability:
    """What a target has here.

    Args:
        version: the run time's version.
        devices: what it can run on; empty when it can load nothing on this machine.
        note: what is missing, and how to get it.
    """

    version: str
    devices: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class RuntimeOptions:
    """How a bundle is to be run.

    Args:
        threads: threads of the CPU; 0 leaves the choice to the run time.
        precision: what the run time may compute in: "f32", or "bf16" where it can.
    """

    threads: int = 0
    precision: str = "f32"

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= _MOST_THREADS:
            raise SettingError(
                f"threads is {self.threads}; it must be 0 (automatic) to {_MOST_THREADS}"
            )
        if self.precision not in ("f32", "bf16"):
            raise SettingError(f"precision is {self.precision!r}; f32 and bf16 are possible")


class Session(Protocol):
    """A loaded model; a context manager.

    `run` is called by many threads at once; whatever serves one at a time is locked or pooled
    inside (`bmc.targets.pool`). `Closing` has all other members.
    """

    execution: dict[str, Any]
    """What it really runs with: device, threads, precision."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""

    def after_fork(self) -> bool:
        """Prepare for a forked child; return False where the bundle must be loaded anew there.

        A target may refuse that: `refuse_forked_child`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def load(name: str) -> Runtime:
    """Return the run time of a target, by its name.

    Raises:
        UnknownError: there is no such target.
        MissingError: its package is not installed.
    """
    with no_temporary_files():
        return targets.runtime_of(name)


def check_names(bundle: Bundle, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Check that a loaded model has the tensors that its manifest names.

    Raises:
        ArtifactError: it has others.
    """
    manifest = bundle.manifest
    for found, said in ((inputs, manifest.inputs), (outputs, manifest.outputs)):
        names, expected = sorted(found), sorted(info.name for info in said)
        if names != expected:
            raise ArtifactError(
                f"bundle {bundle.path}: its model has the tensors {', '.join(names)}, its manifest "
                f"names {', '.join(expected)}; export it again"
            )


def refuse_forked_child(bundle: Bundle, imported_by: int, run_time: str) -> None:
    """Refuse to load a bundle in a forked child, where its run time may wait for ever.

    Args:
        bundle: what is to be loaded.
        imported_by: the process that imported the run time.
        run_time: as users call it.

    Raises:
        UsageError: this is another process.
    """
    if os.getpid() != imported_by:
        raise UsageError(
            f"{bundle.path}: {run_time} does not survive a fork (process {imported_by} had loaded "
            f"it, this is its child {os.getpid()}): load bundles in the children alone, or start "
            'them with multiprocessing.get_context("spawn")'
        )


def cannot_run(bundle: Bundle, error: Exception) -> ArtifactError:
    """Say that a model refused its inputs, with the first line of the run time's reason."""
    return ArtifactError(
        f"bundle {bundle.path}: its model cannot compute these inputs ({reason_of(error)}); "
        "shorter ones may work, or export it again"
    )


class Closing:
    """What every session does as a context manager; a session that holds memory adds `close`."""

    def close(self) -> None:
        """Give back what the session holds."""

    def after_fork(self) -> bool:
        """Return False: a forked child loads the bundle anew."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
