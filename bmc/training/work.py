"""The `Work` of a compression step: data without its test split, and functions to train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bmc import console, processes
from bmc.contracts import Network, families
from bmc.contracts.tasks import task
from bmc.contracts.techniques import technique
from bmc.data import Dataset, Examples, Labels
from bmc.errors import SettingError, UsageError
from bmc.inference.form import is_quantized, output_linear, training_form
from bmc.inputs import Many
from bmc.model import AfterStep, Form, Loss, Metrics, Model, Work
from bmc.split import identity_of as identity_of_row
from bmc.tag_sequences import TagSequences
from bmc.training.adversarial import Guide
from bmc.training.batches import Batch, Rows
from bmc.training.custom import custom_loss, custom_score, identity_of, refuse_unread
from bmc.training.epochs import Fitted
from bmc.training.identity import structure_of
from bmc.training.loop import fit, score_of
from bmc.training.losses import loss_of
from bmc.training.parametrizations import fold_parametrizations
from bmc.training.settings import TrainingSettings


def work_for(
    data: Dataset,
    unlabeled: Many,
    settings: TrainingSettings,
    checkpoints: Path,
    cache: Path,
    load: Callable[[str], Model],
    run: str,
) -> Work:
    """Return the `Work` that `Step.apply` takes.

    Args:
        data: data set that is checked and split. The test split is removed, so no step can use it.
        unlabeled: unlabeled rows, for steps that learn from a teacher.
        settings: training settings.
        checkpoints: folder of the checkpoints.
        cache: folder of files that can be computed again.
        load: function that loads a model by its reference.
        run: everything besides data and settings that the result depends on, such as the teacher.
    """
    without_test = replace(data, test=Examples((), ()))

    def train(
        model: Model,
        loss: Loss | None = None,
        unlabeled: Many = (),
        after_step: AfterStep | None = None,
        epochs: int | None = None,
        name: str = "",
        keep: str | None = None,
        form: Form | None = None,
        metrics: Metrics | None = None,
        guide: Guide | None = None,
    ) -> dict[str, float]:
        changed = settings if epochs is None else replace(settings, epochs=epochs)
        if keep is not None:
            patience = 0 if keep == "last" else changed.patience
            changed = replace(changed, keep=keep, patience=patience)
        folder = checkpoints / name if name else checkpoints
        family = families.network(model.family)
        if family.train is None:
            fitted = fit_model(
                model,
                without_test,
                changed,
                folder,
                loss,
                unlabeled,
                after_step,
                run,
                form,
                metrics,
            )
            model.origin = {**model.origin, "history": fitted.epochs()}
            return fitted.to_json()
        if loss or len(unlabeled):
            raise UsageError(
                f"a {model.family} model is not trained with labels or a loss, so it cannot learn "
                "from a teacher or unlabeled rows"
            )
        processes.refuse_several(f"the training of a {model.family}")
        every_step = every_step_of(model, after_step)
        taught: dict[str, Any] = {"guide": guide} if guide else {}
        fitted = family.train(model, without_test, changed, folder, run, every_step, **taught)
        model.origin = {**model.origin, "history": fitted.epochs()}
        return fitted.to_json()

    def score(model: Model) -> float:
        validation = without_test.validation
        rows = Rows(validation.rows, validation.labels, model.encoder)
        # fp32, as in exported files: bf16 changes scores as much as int8 quantization does.
        fp32_settings = replace(settings, precision="fp32")
        return score_of(
            *(model.module, rows, fp32_settings, model.task, custom_score(model)),
            names=model.labels,
        )

    def loss_on_labels(model: Model) -> Loss:
        refuse_unread(model, settings)
        return label_loss(model, data.train.labels, settings, standardized=True)

    return Work(
        data=without_test,
        unlabeled=unlabeled,
        cache=cache,
        device=settings.device,
        fit=train,
        load=load,
        score=score,
        label_loss=loss_on_labels,
        augment=settings.augment,
    )


def fit_model(
    model: Model,
    data: Dataset,
    settings: TrainingSettings,
    checkpoints: Path,
    loss: Loss | None = None,
    unlabeled: Many = (),
    after_step: AfterStep | None = None,
    run: str = "",
    form: Form | None = None,
    metrics: Metrics | None = None,
) -> Fitted:
    """Train a model on a data set's training rows and on unlabeled rows; see `loop.fit`.

    Training keeps the properties, such as zeros, that earlier compression steps gave the model (see
    `Step.keep`).

    Args:
        model: the model to train in place.
        data: data set with training and validation rows.
        settings: training settings.
        checkpoints: folder of the checkpoint.
        loss: function from outputs and batch to the loss; the loss of the task if None.
        unlabeled: rows to train on after the labeled rows, which only `loss` can use.
        after_step: function to call after every step, as in `loop.fit`.
        run: everything else that the result depends on, as text.
        form: function that computes the outputs with the model's weights, in place of the training
            form of the family.
        metrics: function whose numbers of each step are averaged over each epoch.
    """
    train = Rows(joined(data.train.rows, unlabeled), data.train.labels, model.encoder)
    validation = Rows(data.validation.rows, data.validation.labels, model.encoder)
    digest = hashlib.sha256()
    for row in unlabeled:
        digest.update(identity_of_row(row) + b"\x1e")
    parts = [data.fingerprint, digest.hexdigest(), structure_of(model), run, *identity_of(model)]
    run_identity = json.dumps(parts)
    family = families.network(model.family)
    refuse_unread(model, settings)
    score = custom_score(model)
    if score and task(model.task).is_numeric:
        mean, scale = mean_and_scale(data.train.labels)
        score = score.in_units_of(float(mean), float(scale))
    with _standardized(model, data.train.labels, family) as standardize:
        train.labels, validation.labels = standardize(train.labels), standardize(validation.labels)
        fitted = fit(
            model.module,
            train,
            validation,
            settings,
            checkpoints,
            loss or label_loss(model, data.train.labels, settings, standardized=True),
            every_step_of(model, after_step),
            model.task,
            form or training_form(model),
            run=run_identity,
            score=score,
            metrics=metrics,
            names=model.labels,
        )
    if folded := fold_parametrizations(model.module):
        console.note(f"the parametrizations of {', '.join(folded)} are folded into their weights")
    return fitted


def label_loss(
    model: Model,
    labels: Labels,
    settings: TrainingSettings,
    standardized: bool = False,
) -> Loss:
    """Return the loss on true labels: the caller's own, or that of the model's task.

    Args:
        model: any that is trained on labels.
        labels: of the training rows.
        settings: label smoothing and class weights, for the task's.
        standardized: whether a regression's labels and outputs have mean 0 and deviation 1, as they
            have while it is trained.
    """
    units = mean_and_scale(labels) if standardized else (torch.tensor(0.0), torch.tensor(1.0))
    custom = custom_loss(model, *units)
    if custom is None:
        return loss_of(settings, model.task, labels, len(model.labels))

    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        return batch.label_loss(lambda labels: custom(outputs, labels))

    return loss


def every_step_of(model: Model, after_step: AfterStep | None) -> AfterStep | None:
    """Return one function for everything that must run after every training step; None if nothing.

    Args:
        model: model whose compression steps may need a function (`Step.keep`).
        after_step: function to call last.
    """
    keeps = [(technique(step.method).keep, step.record) for step in model.steps]
    functions: list[AfterStep] = [keep(model, record) for keep, record in keeps if keep is not None]
    functions += [after_step] if after_step else []

    def call_all(module: nn.Module, done: float) -> None:
        for function in functions:
            function(module, done)

    return call_all if functions else None


@contextmanager
def _standardized(
    model: Model, labels: Labels, family: Network
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Let the block train a regression on standardized labels (mean 0, standard deviation 1).

    One learning rate would otherwise not suit labels of every scale. The block gets a function that
    standardizes labels. After the block, mean and standard deviation are folded into the weights of
    the last layer, which computes the original scale again. For a classifier nothing changes.

    Raises:
        SettingError: the last layer is not a linear layer with a bias.
    """
    if not task(model.task).is_numeric:
        yield lambda labels: labels
        return
    layer = last_layer(model, family)
    mean, scale = mean_and_scale(labels)
    with torch.no_grad():
        layer.weight /= scale
        layer.bias.copy_((layer.bias - mean) / scale)
    try:
        yield lambda labels: (labels - mean) / scale
    finally:
        _fold(layer, mean, scale)


def start_in_units_of(model: Model, labels: Labels) -> None:
    """Scale the last layer of a new regression so its outputs have the labels' mean and scale.

    Initial weights give outputs near 0, from which labels near 2000 would not be reached.
    """
    family = families.network(model.family)
    _fold(last_layer(model, family), *mean_and_scale(labels))


def last_layer(model: Model, family: Network) -> nn.Linear:
    """Return a regression's last layer, also of a quantized model.

    Raises:
        SettingError: the last layer is not a linear layer with a bias.
    """
    if is_quantized(model.module):  # an inference form, whose paths the family does not know
        path = output_linear(model.module)
    else:
        path = family.parts(model.module).outputs[0]
    layer = model.module.get_submodule(path) if path else None
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise SettingError(
            f"a regression needs a linear last layer with a bias; this model's is {layer}"
        )
    return layer


def mean_and_scale(labels: Labels) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of labels, float scalars."""
    values = torch.tensor(np.array(labels) if isinstance(labels, TagSequences) else labels)
    values = values if values.is_floating_point() else values.float()
    return values.mean(), values.std(correction=0).clamp(min=1e-12)


def _fold(layer: nn.Linear, mean: Tensor, scale: Tensor) -> None:
    """Scale a linear layer's outputs by `scale`, and add `mean`, by changing its weights."""
    with torch.no_grad():
        layer.weight *= scale
        layer.bias.copy_(layer.bias * scale + mean)


def joined(rows: Many, unlabeled: Many) -> Many:
    """Return the rows of a training part, and unlabeled rows after them."""
    if not len(unlabeled):
        return rows
    parts = (rows, unlabeled)
    if all(isinstance(part, np.ndarray) for part in parts) and rows[0].shape == unlabeled[0].shape:
        return np.concatenate(parts)
    return (*rows, *unlabeled)
