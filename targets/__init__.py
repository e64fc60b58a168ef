"""The runtimes of the targets, one file each: load a bundle into a session that runs arrays.

A target's format is declared in `bmc/bundle_formats`, and its exporter is in `export`.
CONTRIBUTING.md says how to add a target.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from bmc._telemetry import no_temporary_files
from bmc.bundle import Bundle
from bmc.contracts import Runtime, targets
from bmc.errors import ArtifactError, SettingError, UsageError, reason_of

if TYPE_CHECKING:
    from typing import Self  # Python 3.11; devices may have 3.10

_MAX_THREADS = 1024  # a runtime starts as many threads as it is asked for, without a limit
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Availability:
    """The version and the devices of a target on this machine.

    Args:
        version: version of the runtime.
        devices: names of the devices that can run the target; empty when none can.
        note: what is missing, and how to get it; "" when nothing is.
    """

    version: str
    devices: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class RuntimeOptions:
    """The settings of a runtime for one bundle.

    Args:
        threads: number of CPU threads, 0 to 1024; 0 leaves the choice to the runtime.
        precision: "f32", or "bf16" to allow bf16 arithmetic; `Format.precisions` says which of the
            two a target supports.
    """

    threads: int = 0
    precision: str = "f32"

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= _MAX_THREADS:
            raise SettingError(
                f"threads is {self.threads}; it must be 0 (automatic) to {_MAX_THREADS}"
            )
        if self.precision not in ("f32", "bf16"):
            raise SettingError(f"precision is {self.precision!r}; f32 and bf16 are possible")


class Session(Protocol):
    """A loaded model; a context manager.

    Many threads may call `run` at the same time. A session locks or pools every object that serves
    one thread at a time (`bmc.targets.pool`). `BaseSession` implements all members but
    `execution` and `run`.
    """

    execution: dict[str, Any]
    """The device, threads and precision that the runtime chose."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""

    def after_fork(self) -> bool:
        """Prepare the session for use in a forked child; called in the child.

        Returns:
            False when the session cannot be used there. bmc then calls the target's `load` in the
            child, which may refuse to load (`refuse_forked_child`).
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def load(name: str) -> Runtime:
    """Return the runtime of a target, by the target's name.

    Raises:
        UnknownError: there is no such target.
        MissingError: the target's package is not installed.
    """
    with no_temporary_files():
        return targets.runtime_of(name)


def check_names(bundle: Bundle, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Check that a loaded model has the tensors that its manifest names.

    Args:
        bundle: the bundle that was loaded.
        inputs: names of the loaded model's inputs.
        outputs: names of the loaded model's outputs.

    Raises:
        ArtifactError: the names differ.
    """
    manifest = bundle.manifest
    for tensors, infos in ((inputs, manifest.inputs), (outputs, manifest.outputs)):
        names, expected = sorted(tensors), sorted(info.name for info in infos)
        if names != expected:
            raise ArtifactError(
                f"bundle {bundle.path}: its model has the tensors {', '.join(names)}, its manifest "
                f"names {', '.join(expected)}; export it again"
            )


def refuse_forked_child(bundle: Bundle, imported_by: int, runtime: str) -> None:
    """Refuse to load a bundle in a forked child, where its runtime may wait for ever.

    Args:
        bundle: the bundle to load.
        imported_by: id of the process that imported the runtime.
        runtime: name of the runtime, for the message.

    Raises:
        UsageError: the current process is not `imported_by`.
    """
    if os.getpid() != imported_by:
        raise UsageError(
            f"{bundle.path}: {runtime} does not survive a fork (process {imported_by} had loaded "
            f"it, this is its child {os.getpid()}): load bundles in the children alone, or start "
            'them with multiprocessing.get_context("spawn")'
        )


def cannot_run(bundle: Bundle, error: Exception) -> ArtifactError:
    """Return the error for a model that refused its inputs.

    Args:
        bundle: the model's bundle.
        error: the runtime's exception; the message quotes its first line.
    """
    return ArtifactError(
        f"bundle {bundle.path}: its model cannot compute these inputs ({reason_of(error)}); "
        "shorter ones may work, or export it again"
    )


class BaseSession:
    """The base class of sessions; a session that holds memory overrides `close`."""

    def close(self) -> None:
        """Free the memory that the session holds."""

    def after_fork(self) -> bool:
        """Return False: a forked child loads the bundle again."""
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
