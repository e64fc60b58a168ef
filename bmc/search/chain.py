"""The steps of a candidate: a plan whose last step quantizes, or fine-tunes what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bmc.recipes.plan import Step
from bmc.search.space import Candidate, Chosen

NO_ROWS = "none"
"""Name of the unlabeled rows of data that has none, as --transfer takes it."""


@dataclass(frozen=True)
class ScoredRows:
    """Validation rows that score the steps of a candidate, at most; None for all.

    Args:
        trained: those that score a step that trains.
        untrained: those that score a step that trains nothing, and by which it chooses layers.
    """

    trained: int | None = None
    untrained: int | None = None


ALL_ROWS = ScoredRows()


@dataclass(frozen=True)
class Effort:
    """How long a candidate is trained.

    Args:
        epochs: epochs of fine-tuning after the last structural step; 0 for none.
        student_epochs: epochs of a student's training; None for those of its recipe.
        unlabeled: unlabeled rows that a student learns from, at most, also when it is fine-tuned.
        unlabeled_tuning: unlabeled rows that fine-tuning without a student learns from, at most.
        scored: validation rows that score the steps.
        is_final: whether the result may be published: its last step is scored as one that trains.
        labeled: labeled rows that each training learns from, at most; None for all.
        uncut_epochs: epochs more of a student that is not cut: one that is, is trained again after.
    """

    epochs: int
    student_epochs: int | None
    unlabeled: int
    unlabeled_tuning: int = 0
    scored: ScoredRows = ALL_ROWS
    is_final: bool = False
    labeled: int | None = None
    uncut_epochs: int = 0

    def epochs_of_student(self, candidate: Candidate) -> int | None:
        """Return the epochs of a candidate's student; None for those of its recipe."""
        if self.student_epochs is None:
            return None
        return self.student_epochs + (0 if candidate.structural else self.uncut_epochs)

    def epochs_after(self, candidate: Candidate) -> int:
        """Return the epochs after a candidate's last structural step.

        A student is trained at each rung, so what is cut of one is, too: untrained, it would lose
        the comparison with every other student.
        """
        if not candidate.structural:
            return 0
        return self.epochs or (self.student_epochs or 0 if candidate.student else 0)


@dataclass(frozen=True)
class Origin:
    """The model that is compressed, as steps name it.

    Args:
        model: the model directory.
        data: the settings that name its data.
        transfer: unlabeled rows that the model may teach, as --transfer names them; "none" where
            there are none.
        moved: present location of its data; None where it is where it was.
        available: number of these rows; None where they are not counted, as those of a data set.
    """

    model: str
    data: Mapping[str, Any]
    transfer: str = NO_ROWS
    moved: str | None = None
    available: int | None = None

    def location(self) -> dict[str, str]:
        """Return the setting that says where the data is now, if it was moved."""
        return {} if self.moved is None else {"data": self.moved}


def steps_of(candidate: Candidate, origin: Origin, effort: Effort, seed: int) -> tuple[Step, ...]:
    """Return the steps of a candidate, in order; each takes the result of the one before.

    Args:
        candidate: what is done.
        origin: the model, which also teaches what is made of it.
        effort: how long is trained.
        seed: random seed of each step.
    """
    steps: list[Step] = []
    for part in candidate.parts:
        settings: dict[str, Any] = {**part.settings, "seed": seed}
        if part.verb == "distill":
            settings |= {**origin.data, "student": part.name, "teacher": origin.model}
            settings |= _of_student(candidate, origin, effort)
        else:
            settings |= {"method": part.name, **origin.location()}
            settings |= _training(candidate, part, origin, effort)
        is_trained = part.verb == "distill" or settings.get("epochs", 0) > 0
        is_published = effort.is_final and part is candidate.parts[-1]
        rows = effort.scored.trained if is_trained or is_published else effort.scored.untrained
        if rows is not None:
            settings["validation_rows"] = rows
        if is_trained and effort.labeled is not None:
            settings["train_rows"] = effort.labeled
        inputs: dict[str, str] = {}
        if steps:
            inputs["model"] = steps[-1].name
        elif part.verb != "distill":
            settings["model"] = origin.model
        steps.append(Step(f"{part.name}-{len(steps) + 1}", part.verb, inputs, settings))
    return tuple(steps)


def with_export(steps: tuple[Step, ...], origin: Origin, target: str) -> tuple[Step, ...]:
    """Return the steps with an export at the end, whose speed against fp32 is not a gate.

    Args:
        steps: steps of a candidate; none for the model as it is.
        origin: the model.
        target: the target.
    """
    settings: dict[str, Any] = {"target": target, "allow_slower": True, **origin.location()}
    inputs = {"model": steps[-1].name} if steps else {}
    if not steps:
        settings["model"] = origin.model
    return (*steps, Step(f"{target}-{len(steps) + 1}", "export", inputs, settings))


def _of_student(candidate: Candidate, origin: Origin, effort: Effort) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    epochs = effort.epochs_of_student(candidate)
    if epochs is not None:
        settings["epochs"] = epochs
    return settings | _unlabeled(origin, effort.unlabeled)


def _unlabeled(origin: Origin, rows: int) -> dict[str, Any]:
    if not rows or origin.transfer == NO_ROWS:
        return {"transfer": NO_ROWS}
    return {"transfer": origin.transfer, "transfer_size": rows}


def _training(candidate: Candidate, part: Chosen, origin: Origin, effort: Effort) -> dict[str, Any]:
    """Return how a technique's result is trained: the last structural one's, by the model."""
    if part.verb == "quantize":
        return {"epochs": max(1, effort.epochs)} if candidate.has_qat else {}
    epochs = effort.epochs_after(candidate)
    if not epochs or part is not candidate.structural[-1]:
        return {"epochs": 0}
    taught = {"epochs": epochs, "teacher": origin.model}
    rows = effort.unlabeled if candidate.student else effort.unlabeled_tuning
    return taught | _unlabeled(origin, rows)
