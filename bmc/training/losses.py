"""The loss function of each task."""

from __future__ import annotations

from bmc.contracts.tasks import objective
from bmc.data import Labels
from bmc.model import Loss
from bmc.objectives.classification import class_weights as class_weights
from bmc.training.settings import TrainingSettings


def loss_of(settings: TrainingSettings, task: str, labels: Labels, classes: int) -> Loss:
    """Return the loss of a task: cross-entropy, binary of several labels, or squared error.

    Args:
        settings: training settings, of which label smoothing and class weights are used.
        task: name of the task; see `bmc/objectives`.
        labels: labels of the training rows, from which class weights are computed.
        classes: number of classes.
    """
    return objective(task).loss(settings, labels, classes)
