"""bmc train"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmc.rendering.rendered import Rendered, render_result
from bmc.signatures import changes
from bmc.training.settings import TrainingSettings
from bmc.workflows.data import DataSource
from bmc.workflows.options import Architecture, Output, OwnCode

PANEL = "Data"


def train(
    model: str = "bert",
    *,
    architecture: Architecture = Architecture(),
    source: DataSource = DataSource(),
    folds: int = 0,
    recipe: Mapping[str, Any] = changes(TrainingSettings),
    files: Output = Output(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Train or fine-tune a model on labeled data.

    Options left out take the training settings of the built-in model. The command writes a
    model directory, which for an encoder is also a valid Hugging Face folder. A run that was
    stopped or killed resumes from its last checkpoint when the same command is typed again.

    Args:
        model: the name of a built-in model (bmc models lists all), a local Hugging Face folder,
            hf:org/name@revision, timm:NAME, or python:module:function (runs your code).
        folds: run a k-fold cross-validation and show mean and standard deviation; 0 for none.

    Example:
        bmc train bert --data reviews.csv --text-column body --label-column stars
        bmc train mlp --data digits --set width=256 --epochs 20
    """
    from bmc.rendering import models as render
    from bmc.workflows import train as workflow

    run = (model, source, architecture.by_name(), recipe, files)
    if folds:
        return render_result(render.cross_validated, workflow.cross_validate, *run, folds)
    return render_result(render.trained, workflow.train, *run)
