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
        dry_run: check the recipe and print its plan: what is done already, and how long the rest
            takes; run nothing.
        yes: accept a plan of more than 200 steps.
        redo: step to run again, though its result is there, with those that stand on it where
            their inputs change; several are possible.
        workers: steps that run side by side, each in a process of its own; one per core when left
            out.
        threads: threads of each of these processes; an equal share of the cores when left out.
        store: folder, or URL such as s3://bucket/steps, of the steps' results; the folder .steps of
            the workspace when left out.
        on: where the steps run: ray for a Ray cluster that is started here for this command, or
            that RAY_ADDRESS names; ray://HOST:PORT for a cluster; this machine, without Ray, when
            left out.

    Raises:
        SettingError: `on` is neither.
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
        if self.on not in (None, "ray") and not str(self.on).startswith("ray://"):
            raise SettingError(
                f"on is {self.on!r}; it must be ray, or ray://HOST:PORT for a cluster that runs"
            )


@dataclass(frozen=True)
class Answers:
    """The answers to the questions of `bmc recipe init`; what is left out is asked.

    Args:
        model: the name of a built-in model (bmc models lists all), hf:org/name@revision, a Hugging
            Face folder, or a model directory of the workspace.
        purpose: what the recipe is for: faster, smaller, or compare, which tries every kind of
            technique.
        target: target runtimes of the bundles.
    """

    GROUP: ClassVar[str] = "Answers"

    model: str | None = None
    purpose: str | None = field(default=None, metadata=about(Choice("purpose", tuple(PURPOSES))))
    target: tuple[str, ...] = field(
        default=("onnx",), metadata=about(of_plugins(TARGETS, commas=True))
    )
