"""What callers choose of a recipe's run, and of a recipe that bmc writes; importing it is light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bmc.choices import Choice, about, of_plugins
from bmc.contracts.targets import TARGETS
from bmc.errors import SettingError

PURPOSES = {
    "faster": "a small student of the model (texts), or the model with fewer channels",
    "smaller": "weights of 8 and of 4 bits, and for texts fewer words",
    "compare": "every kind of technique on the same data, in one report",
}


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is run.

    Args:
        dry_run: check the recipe, and print which steps are cached and how long the others may
            take; run nothing.
        yes: accept more than 200 steps.
        redo: step to run again although its result is cached, with the steps that depend on it if
            its result changes; several are possible.
        workers: steps that run in parallel, each in its own process; the default is one per core.
        threads: threads of each of these processes; the default is an equal share of the cores.
        store: where results are cached: a folder, or a URL such as s3://bucket/steps; the default
            is the folder .steps of the workspace.
        on: where steps run: ray starts a Ray cluster on this machine, or uses that of RAY_ADDRESS;
            ray://HOST:PORT uses a running cluster. The default is this machine, without Ray.

    Raises:
        SettingError: `on` is neither, or there are less than one worker or thread.
    """

    GROUP: ClassVar[str] = "Run"

    dry_run: bool = False
    yes: bool = False
    redo: tuple[str, ...] = ()
    workers: int | None = None
    threads: int | None = None
    store: str | None = None
    on: str | None = None

    def __post_init__(self) -> None:
        check_on(self.on)
        for name in ("workers", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1")


def check_on(on: str | None) -> None:
    """Check where steps are to run.

    Args:
        on: "ray", ray://HOST:PORT, or None for this machine without Ray.

    Raises:
        SettingError: it is none of them.
    """
    if on not in (None, "ray") and not str(on).startswith("ray://"):
        raise SettingError(
            f"on is {on!r}; it must be ray, or ray://HOST:PORT for a cluster that runs"
        )


@dataclass(frozen=True)
class Cleaning:
    """Which results of steps `bmc recipe clean` removes.

    Args:
        days: results that no run has used for so many days, at least 1, are removed.
        store: folder where results are cached; the default is .steps of the workspace.

    Raises:
        SettingError: days is below 1.
    """

    GROUP: ClassVar[str] = "Cleaning"

    days: int = 30
    store: str | None = None

    def __post_init__(self) -> None:
        if self.days < 1:
            raise SettingError(f"days is {self.days}; it must be at least 1")


@dataclass(frozen=True)
class Answers:
    """The answers to the questions of `bmc recipe init`; it asks for those that are left out.

    Args:
        model: the name of a built-in model (bmc models lists all), hf:org/name@revision, a Hugging
            Face folder, or a model directory of the workspace.
        purpose: faster, smaller, or compare, which runs every kind of technique.
        target: target runtimes of the bundles.
    """

    GROUP: ClassVar[str] = "Answers"

    model: str | None = None
    purpose: str | None = field(default=None, metadata=about(Choice("purpose", tuple(PURPOSES))))
    target: tuple[str, ...] = field(
        default=("onnx",), metadata=about(of_plugins(TARGETS, commas=True))
    )
