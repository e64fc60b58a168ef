"""Factorise or share a model's parameters, then fine-tune what is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc.model import Model, Step, Work
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.results import Compressed
from bmc.workflows.tuning import Tuning


def share(
    reference: str | None,
    method: str,
    options: Mapping[str, Any],
    tuning: Tuning,
    data: str | None = None,
    output: Path | None = None,
    force: bool = False,
) -> Compressed:
    """Share or factorise a model's parameters, fine-tune it, and write its model directory.

    Args:
        reference: a model directory, or a model's name in the workspace; the newest when None.
        method: a technique of bmc/compress/share, such as "lowrank".
        options: settings of the technique, by name.
        tuning: how the model is fine-tuned.
        data: where the model's data is now, if it is not where it was.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.

    Raises:
        UnknownError: there is no such model or technique.
        SettingError: a setting is out of range.
        GateError: more was lost than `tuning.max_drop`; the model is kept as NAME.failed.
    """
    technique = step_class("share", method)
    step: Step = technique(**settings_of(technique, method, options, {}))

    def choose(model: Model, work: Work) -> Step:
        return step

    return compress("share", method, reference, choose, tuning, data, output, force)
