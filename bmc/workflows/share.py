"""Factorize or share a model's parameters, then fine-tune what is left."""

from __future__ import annotations

from bmc.model import Model, Step, Work
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.options import Files, Sharing
from bmc.workflows.results import Compressed
from bmc.workflows.tuning import Tuning


def share(
    reference: str | None,
    sharing: Sharing = Sharing(),  # noqa: B008  frozen
    tuning: Tuning = Tuning(),  # noqa: B008  frozen
    files: Files = Files(),  # noqa: B008  frozen
) -> Compressed:
    """Share or factorize a model's parameters, fine-tune it, and write its model directory.

    Args:
        reference: a model directory, or a model's name in the workspace; the newest when None.
        sharing: the technique, and its settings.
        tuning: settings of the fine-tuning.
        files: present location of the model's data, and the output; the default is MODEL-METHOD in
            the workspace.

    Raises:
        UnknownError: there is no such model or technique.
        SettingError: a setting is out of range.
        GateError: more was lost than `tuning.max_drop`; the model is kept as NAME.failed.
    """
    technique = step_class("share", sharing.method)
    step: Step = technique(**settings_of(technique, sharing.method, sharing.settings, {}))

    def choose(model: Model, work: Work) -> Step:
        return step

    return compress("share", sharing.method, reference, choose, tuning, files)
