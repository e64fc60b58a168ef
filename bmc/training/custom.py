"""The loss and the score function that a model's caller gave, in place of those of its task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bmc.contracts import families
from bmc.data import Examples
from bmc.errors import ModelCodeError, SettingError
from bmc.foreign import line_of, summary_of
from bmc.measure.custom import CustomScore
from bmc.model import CustomLoss, Model, output_of
from bmc.training.batches import Rows
from bmc.training.settings import TrainingSettings

_MEASURES = {"classification": "accuracy", "regression": "r2"}
_CHECKED = 8
_UNREAD = ("class_weights", "label_smoothing")


def custom_score(model: Model) -> CustomScore | None:
    """Return the score function that a model was wrapped with; None where there is none.

    Raises:
        UnknownError: it was given in another process.
    """
    score = families.network(model.family).score
    return score(model) if score else None


def measure_of(model: Model) -> str:
    """Return the name of the score that a model's best epoch is chosen by, such as "accuracy"."""
    score = custom_score(model)
    return score.name if score else _MEASURES[model.task]


def custom_loss(
    model: Model, mean: Tensor, scale: Tensor
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the loss that a model was wrapped with, of outputs and labels as training has them.

    Rows without a label (-1, or NaN in a regression) are left out: the loss of the others is
    multiplied by their share.

    Args:
        model: any model.
        mean: of a regression's labels, which training removes from labels and outputs.
        scale: of a regression's labels, likewise.

    Returns:
        a function of outputs (rows, classes or 1) and labels (rows); None where there is none.

    Raises:
        UnknownError: it was given in another process.
    """
    loss = families.network(model.family).loss
    custom = loss(model) if loss else None
    if custom is None:
        return None
    is_regression = model.task == "regression"

    def loss_of(outputs: Tensor, labels: Tensor) -> Tensor:
        labeled = ~labels.isnan() if is_regression else labels >= 0
        share = float(labeled.float().mean())
        if not share:
            return outputs.sum() * 0
        if share < 1:
            outputs, labels = outputs[labeled], labels[labeled]
        if is_regression:
            unit, level = scale.to(labels.device), mean.to(labels.device)
            outputs, labels = outputs[:, 0] * unit + level, labels * unit + level
        return share * _called(custom, outputs, labels)

    return loss_of


def identity_of(model: Model) -> list[str]:
    """Return what tells a caller's own loss from another one of its name; nothing without one."""
    loss = families.network(model.family).loss
    custom = loss(model) if loss else None
    return [custom.identity] if custom else []


def refuse_unread(model: Model, settings: TrainingSettings) -> None:
    """Refuse settings that a loss of the caller's own does not read.

    Raises:
        SettingError: one differs from its default.
    """
    plain = TrainingSettings()
    for name in _UNREAD:
        if getattr(settings, name) != getattr(plain, name) and model.spec.get("loss"):
            raise SettingError(
                f"{name} is {getattr(settings, name)!r}, which the loss {model.spec['loss']} does "
                "not read: leave it out"
            )


def check_loss(model: Model, examples: Examples) -> None:
    """Call a caller's own loss on a few rows, so that what does not fit is said at once.

    Raises:
        ModelCodeError: it fails, or returns no number that depends on the outputs.
    """
    loss = custom_loss(model, torch.tensor(0.0), torch.tensor(1.0))
    if loss is None:
        return
    count = min(_CHECKED, len(examples))
    rows = Rows(examples.rows[:count], examples.labels[:count], model.encoder)
    batch = rows.batch(list(range(count)))
    with torch.enable_grad():
        loss(output_of(model.module, batch.inputs).float(), batch.labels)


def _called(custom: CustomLoss, outputs: Tensor, labels: Tensor) -> Tensor:
    """Call a loss of the caller's own.

    Raises:
        ModelCodeError: it fails, or returns no number that depends on the outputs.
    """
    if isinstance(custom.function, nn.Module):
        custom.function.to(outputs.device)
    try:
        loss = custom.function(outputs, labels)
    except Exception as error:  # what the code of others raises can be anything
        where = line_of(error) or "its own code"
        raise ModelCodeError(
            f"the loss {custom.name} fails in {where}: {summary_of(error)}"
        ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shown = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)[:60]
        raise ModelCodeError(
            f"the loss {custom.name} returns {shown}; it must return one number, such as the mean "
            "over the rows"
        )
    if outputs.requires_grad and not loss.requires_grad:
        raise ModelCodeError(
            f"the loss {custom.name} does not depend on the outputs (it is detached, or computed "
            "in numpy): nothing could be trained"
        )
    return loss.reshape(())
