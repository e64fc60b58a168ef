"""Quantize a model: decide which weights and activations get fewer bits, and calibrate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmc.errors import UsageError
from bmc.model import Model, Step, Work
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.results import Compressed
from bmc.workflows.tuning import Tuning


def quantize(
    reference: str | None,
    method: str,
    options: Mapping[str, Any],
    typed: Mapping[str, Any],
    tuning: Tuning,
    data: str | None = None,
    output: Path | None = None,
    force: bool = False,
) -> Compressed:
    """Quantize a model and write its model directory; qat trains it on, other methods do not.

    Args:
        reference: a model directory, or a model's name in the workspace; the newest when None.
        method: a technique of bmc/compress/quantize, such as "static".
        options: settings of the technique, by name.
        typed: settings that several techniques share, by name; None where one is left out. A
            technique that has no such setting refuses it.
        tuning: how qat trains; `max_drop` is also what mixed may lose.
        data: where the model's data is now, if it is not where it was.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.

    Raises:
        UnknownError: there is no such model or technique.
        UsageError: the technique has no such setting, or trains nothing.
        GateError: more was lost than `tuning.max_drop`; the model is kept as NAME.failed.
    """
    technique = step_class("quantize", method)
    if typed.get("bits") is not None and method != "weights":
        raise UsageError(f"{method} has no --bits; --method weights has: --method weights --bits 4")
    if method == "mixed":
        typed = {**typed, "max_drop": tuning.max_drop}
    step: Step = technique(**settings_of(technique, method, options, typed))
    if method == "qat":
        tuning = replace(tuning, epochs=tuning.epochs or 1, distill=tuning.teacher is None)
    elif option := _of_training(tuning):
        raise UsageError(f"{method} trains nothing, so it takes no {option}; --method qat does")

    def choose(model: Model, work: Work) -> Step:
        return step

    return compress("quantize", method, reference, choose, tuning, data, output, force)


def _of_training(tuning: Tuning) -> str:
    """Return the first option that says how to train; "" if there is none."""
    typed = {
        "--epochs": tuning.epochs,
        "--learning-rate": tuning.learning_rate,
        "--batch-size": tuning.batch_size,
        "--distill": tuning.distill,
        "--teacher": tuning.teacher,
        "--checkpoint-every": tuning.checkpoint_every,
    }
    return next((option for option, value in typed.items() if value), "")
