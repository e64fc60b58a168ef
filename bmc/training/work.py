"""What a compression step is given: data without its test part, and a way to train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bmc import console
from bmc.contracts import Network, families
from bmc.contracts.techniques import technique
from bmc.data import Dataset, Examples, content_of
from bmc.errors import SettingError, UsageError
from bmc.inference.form import is_quantized, output_linear
from bmc.inputs import Many
from bmc.model import AfterStep, Form, Loss, Model, Work
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
    transfer: tuple[str, ...],
    settings: TrainingSettings,
    checkpoints: Path,
    cache: Path,
    load: Callable[[str], Model],
    run: str,
) -> Work:
    """Bind data and training settings into what `Step.apply` takes.

    Args:
        data: checked and split; the test part is emptied here, so that no step can look at it.
        transfer: unlabeled texts.
        settings: how to train.
        checkpoints: folder for checkpoints.
        cache: folder for what can be computed again.
        load: loads a model by reference.
        run: what the result depends on beside data and settings, such as the teacher.
    """
    hidden = replace(data, test=Examples((), ()))

    def train(
        model: Model,
        loss: Loss | None = None,
        unlabeled: Many = (),
        after_step: AfterStep | None = None,
        epochs: int | None = None,
        name: str = "",
        keep: str | None = None,
        form: Form | None = None,
    ) -> dict[str, float]:
        chosen = settings if epochs is None else replace(settings, epochs=epochs)
        if keep is not None:
            chosen = replace(chosen, keep=keep, patience=0 if keep == "last" else chosen.patience)
        folder = checkpoints / name if name else checkpoints
        family = families.network(model.family)
        if family.train is None:
            fitted = fit_model(
                model, hidden, chosen, folder, loss, unlabeled, after_step, run, form
            )
            model.origin = {**model.origin, "history": fitted.epochs()}
            return fitted.to_json()
        if loss or len(unlabeled):
            raise UsageError(f"a {model.family} is trained in a way of its own; it has no teacher")
        wanted = every_step_of(model, after_step)
        own = family.train(model, hidden, chosen, folder, run, wanted)
        model.origin = {**model.origin, "history": own.epochs()}
        return own.to_json()

    def score(model: Model) -> float:
        rows = Rows(hidden.validation.rows, hidden.validation.labels, model.encoder)
        # In fp32, as files compute: what bf16 changes is as much as what 8 bits do.
        exact = replace(settings, precision="fp32")
        return score_of(model.module, rows, exact, model.task, custom_score(model))

    return Work(hidden, transfer, cache, settings.device, train, load, score, settings.augment)


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
) -> Fitted:
    """Train a model on a data set's train rows, then `unlabeled` ones; see `loop.fit`.

    What the model's compression steps made stays as they made it: see `Step.keep`.
    """
    train = Rows(_joined(data.train.rows, unlabeled), data.train.labels, model.encoder)
    validation = Rows(data.validation.rows, data.validation.labels, model.encoder)
    digest = hashlib.sha256()
    for row in unlabeled:
        digest.update(content_of(row) + b"\x1e")
    known = [data.fingerprint, digest.hexdigest(), structure_of(model), run, *identity_of(model)]
    depends = json.dumps(known)
    family = families.network(model.family)
    # A quantized model is an inference form, which a family's training form knows nothing of.
    forming = None if is_quantized(model.module) else family.training_form
    refuse_unread(model, settings)
    score = custom_score(model)
    if score and model.task == "regression":
        mean, scale = mean_and_scale(data.train.labels)
        score = score.in_units_of(float(mean), float(scale))
    with _in_units_of(model, data.train.labels, family) as standard:
        train.labels, validation.labels = standard(train.labels), standard(validation.labels)
        fitted = fit(
            model.module,
            train,
            validation,
            settings,
            checkpoints,
            loss or label_loss(model, data.train.labels, settings, standardized=True),
            every_step_of(model, after_step),
            model.task,
            form or (forming(model.module) if forming else None),
            run=depends,
            score=score,
        )
    if folded := fold_parametrizations(model.module):
        console.note(f"what derives the weights of {', '.join(folded)} is folded into them")
    return fitted


def label_loss(
    model: Model,
    labels: Sequence[int] | Sequence[float],
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
        return custom(outputs, batch.labels)

    return loss


def every_step_of(model: Model, after_step: AfterStep | None) -> AfterStep | None:
    """Join what each compression of a model asks for after every step of training, and one more."""
    kept = [(technique(step.method).keep, step.record) for step in model.steps]
    wanted: list[AfterStep] = [keep(model, record) for keep, record in kept if keep is not None]
    wanted += [after_step] if after_step else []

    def all_of_them(module: nn.Module, done: float) -> None:
        for one in wanted:
            one(module, done)

    return all_of_them if wanted else None


@contextmanager
def _in_units_of(
    model: Model, labels: Sequence[float], family: Network
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Train a regression on labels of mean 0 and deviation 1, then fold both into its last layer.

    The rate that suits one scale of labels would not suit another. Yields what brings labels to
    that scale; for a classifier, nothing changes.

    Raises:
        SettingError: the last layer is no plain linear one, into which a scale could be folded.
    """
    if model.task != "regression":
        yield lambda given: given
        return
    last = last_layer(model, family)
    mean, scale = mean_and_scale(labels)
    with torch.no_grad():
        last.weight /= scale
        last.bias.copy_((last.bias - mean) / scale)
    try:
        yield lambda given: (given - mean) / scale
    finally:
        _fold(last, mean, scale)


def start_in_units_of(model: Model, labels: Sequence[float]) -> None:
    """Let a freshly built regression answer around the labels' mean, in their scale.

    Its first weights suit labels of mean 0 and deviation 1; labels near 2000 would be out of reach.
    """
    family = families.network(model.family)
    _fold(last_layer(model, family), *mean_and_scale(labels))


def last_layer(model: Model, family: Network) -> nn.Linear:
    """Return a regression's last layer, also of a quantized model.

    Raises:
        SettingError: it is no linear layer with a bias.
    """
    if is_quantized(model.module):  # a form, of which the family does not know the names
        path = output_linear(model.module)
    else:
        path = family.parts(model.module).outputs[0]
    last = model.module.get_submodule(path) if path else None
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise SettingError(f"a regression needs a linear last layer; this one is {last}")
    return last


def mean_and_scale(labels: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the labels' mean and deviation, in whose units a regression is trained."""
    truth = torch.tensor(labels)
    truth = truth if truth.is_floating_point() else truth.float()
    return truth.mean(), truth.std(correction=0).clamp(min=1e-12)


def _fold(last: nn.Linear, mean: Tensor, scale: Tensor) -> None:
    with torch.no_grad():
        last.weight *= scale
        last.bias.copy_(last.bias * scale + mean)


def _joined(rows: Many, unlabeled: Many) -> Many:
    return (*rows, *unlabeled) if len(unlabeled) else rows
