"""What a search returns, and what it writes beside the study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bmc.errors import ArtifactError
from bmc.measure.scores import Interval
from bmc.search.budgets import Budgets, Measured
from bmc.typed import read_as
from bmc.untrusted import read_json
from bmc.writing import write_atomically

FILE = "result.json"


@dataclass(frozen=True)
class Winner:
    """A model of the Pareto front.

    Args:
        candidate: its steps in words.
        model: the model directory.
        bundle: the bundle.
        recipe: file with its steps, which `bmc run` takes.
        validation: points of the validation score lost, size, and latency, measured in turn.
        test: scores of the test rows, by name.
        within: whether it is within all budgets.
        test_lost: points of the test score lost, with their paired interval; None where there is no
            such interval.
    """

    candidate: str
    model: Path
    bundle: Path
    recipe: Path
    validation: Measured
    test: dict[str, Any]
    within: bool
    test_lost: Interval | None = None


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Args:
        model: the uncompressed model.
        target: name of the target.
        budgets: the budgets.
        base: what the uncompressed model takes, in the run in which the finalists were measured.
        base_score: its validation score.
        winners: the Pareto front within the budgets, as `finalists.front_of` orders it; where no
            model is within them, the nearest alone.
        trials: number of trials.
        failed: number of candidates that could not be made.
        seconds: how long the search took, all calls together.
        folder: folder of the study, the picture and this result.
        picture: picture of all trials.
        sentence: one sentence that says what was found.
        left_out: why a technique was not tried, by its name.
        study: number of its study, see `Study.number`; "" in results of earlier versions.
    """

    model: Path
    target: str
    budgets: Budgets
    base: Measured
    base_score: float
    winners: tuple[Winner, ...]
    trials: int
    failed: int
    seconds: float
    folder: Path
    picture: Path
    sentence: str
    left_out: Mapping[str, str]
    study: str = ""

    @property
    def is_met(self) -> bool:
        """Whether a model within all budgets was found."""
        return any(winner.within for winner in self.winners)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON document."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return document


def write(found: Found) -> Path:
    """Write a result into the folder of its search."""
    path = found.folder / FILE
    write_atomically(path, (json.dumps(found.to_json(), indent=2) + "\n").encode())
    return path


def read(folder: Path) -> Found | None:
    """Return the result of a search that was finished; None where there is none.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return read_as(Found, read_json(path, "search"))
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}); remove it") from error
