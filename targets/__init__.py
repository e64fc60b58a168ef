"""Targets, one file each: a bundle goes in, a session that runs numpy arrays comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from bmc import plugins
from bmc.bundle import Bundle
from bmc.errors import SettingError

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
        if self.threads < 0:
            raise SettingError(f"threads is {self.threads}; it must be 0 (automatic) or more")
        if self.precision not in ("f32", "bf16"):
            raise SettingError(f"precision is {self.precision!r}; f32 and bf16 are possible")


class Session(Protocol):
    """A loaded model; a context manager."""

    execution: dict[str, Any]
    """What it really runs with: device, threads, precision."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Target(Protocol):
    """A run time."""

    def available(self) -> Availability:
        """Say which version and devices there are."""

    def load(self, bundle: Bundle, options: RuntimeOptions) -> Session:
        """Load a bundle's model."""


def load(name: str) -> Target:
    """Return a target by name.

    Raises:
        UnknownError: there is no such target.
        MissingError: its package is not installed.
    """
    target: Target = plugins.load("bmc.targets", name, "target").TARGET
    return target


class Closing:
    """What every session does as a context manager; a session that holds memory adds `close`."""

    def close(self) -> None:
        """Give back what the session holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
