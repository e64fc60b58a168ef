"""The custom loss and score functions of a wrapped model, in place of those of its task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bmc.contracts import families
from bmc.contracts.tasks import objective, scoring, task
from bmc.data import Examples
from bmc.errors import ModelCodeError, SettingError
from bmc.measure.custom import CustomScore
from bmc.model import CustomLoss, Model, output_of
from bmc.training.batches import Rows
from bmc.training.code_identity import identity_of_code
from bmc.training.settings import TrainingSettings
from bmc.user_code import line_of, summary_of

_CHECKED_ROWS = 8
_UNUSED_SETTINGS = ("class_weights", "label_smoothing")


def custom_score(model: Model) -> CustomScore | None:
    """Return the custom score function of a wrapped model; None if it has none.

    Raises:
        UnknownError: the score function was registered in another process.
    """
    score = families.network(model.family).score
    return score(model) if score else None


def measure_of(model: Model) -> str:
    """Return the name of the score that decides which epoch is best, such as "accuracy"."""
    score = custom_score(model)
    return score.name if score else scoring(model.task, model.labels).measure


def custom_loss(
    model: Model, mean: Tensor, scale: Tensor
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the custom loss of a wrapped model for the outputs and labels of training.

    Rows without a label (-1, or NaN in a regression) are left out. The loss of the other rows is
    multiplied by their share.

    Args:
        model: any model.
        mean: mean of a regression's labels, which training subtracts from labels and outputs.
        scale: standard deviation of a regression's labels, by which training divides both.

    Returns:
        A function of outputs (rows, classes or 1) and labels (rows); None if the model has no
        custom loss.

    Raises:
        UnknownError: the loss was registered in another process.
    """
    loss = families.network(model.family).loss
    custom = loss(model) if loss else None
    if custom is None:
        return None
    is_numeric, is_labeled = task(model.task).is_numeric, objective(model.task).labeled

    def loss_of(outputs: Tensor, labels: Tensor) -> Tensor:
        labeled = is_labeled(labels)
        share = float(labeled.float().mean())
        if not share:
            return outputs.sum() * 0
        if share < 1:
            outputs, labels = outputs[labeled], labels[labeled]
        if is_numeric:
            factor, offset = scale.to(labels.device), mean.to(labels.device)
            outputs, labels = outputs[:, 0] * factor + offset, labels * factor + offset
        return share * _call_loss(custom, outputs, labels)

    return loss_of


def identity_of(model: Model) -> list[str]:
    """Return the identities of the user's loss, score and network, as far as there are any."""
    loss = families.network(model.family).loss
    functions = [loss(model) if loss else None, custom_score(model)]
    identities = [function.identity for function in functions if function]
    if getattr(model.module, "is_user_network", False):
        identities.append(identity_of_code(model.module))
    return identities


def refuse_unread(model: Model, settings: TrainingSettings) -> None:
    """Refuse settings that a custom loss does not use.

    Raises:
        SettingError: such a setting differs from its default.
    """
    defaults = TrainingSettings()
    for name in _UNUSED_SETTINGS:
        if getattr(settings, name) != getattr(defaults, name) and model.spec.get("loss"):
            raise SettingError(
                f"{name} is {getattr(settings, name)!r}, which the loss {model.spec['loss']} does "
                "not read: leave it out"
            )


def check_loss(model: Model, examples: Examples) -> None:
    """Check a custom loss on a few rows before training starts.

    Args:
        model: any model.
        examples: rows with labels.

    Raises:
        ModelCodeError: the loss fails, or does not return a number that depends on the outputs.
    """
    loss = custom_loss(model, torch.tensor(0.0), torch.tensor(1.0))
    if loss is None:
        return
    count = min(_CHECKED_ROWS, len(examples))
    rows = Rows(examples.rows[:count], examples.labels[:count], model.encoder)
    batch = rows.batch(list(range(count)))
    with torch.enable_grad():
        loss(batch.selected(output_of(model.module, batch.inputs)).float(), batch.labels)


def _call_loss(custom: CustomLoss, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the value of a custom loss.

    Raises:
        ModelCodeError: the loss fails, or does not return a number that depends on the outputs.
    """
    if isinstance(custom.function, nn.Module):
        custom.function.to(outputs.device)
    try:
        loss = custom.function(outputs, labels)
    except Exception as error:  # a user's function can raise anything
        location = line_of(error) or "its code"
        raise ModelCodeError(
            f"the loss {custom.name} fails in {location}: {summary_of(error)}"
        ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        value = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)[:60]
        raise ModelCodeError(
            f"the loss {custom.name} returns {value}; it must return one number, such as the mean "
            "over the rows"
        )
    if outputs.requires_grad and not loss.requires_grad:
        raise ModelCodeError(
            f"the loss {custom.name} does not depend on the outputs (it is detached, or computed "
            "in numpy), so nothing can be trained"
        )
    return loss.reshape(())
