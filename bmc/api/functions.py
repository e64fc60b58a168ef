"""The caller's own loss and score functions, with the names under which they are recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from bmc.errors import UsageError
from bmc.measure.custom import CustomScore, ScoreFunction
from bmc.measure.scores import NAMES
from bmc.model import CustomLoss
from bmc.training.code_identity import identity_of_function

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of outputs and labels (rows) that returns the mean loss, a scalar. Outputs are logits
(rows, classes); in a regression they are values (rows)."""


def custom_loss_of(function: Loss | None) -> CustomLoss | None:
    """Return a caller's own loss with its name; None if the caller passed no loss.

    Args:
        function: the loss; an `nn.Module` is copied, because training may move it to another
            device.

    Raises:
        UsageError: the loss cannot be called, or is a class.
    """
    if function is None:
        return None
    name = _name_of(function, "loss")
    private = copy.deepcopy(function) if isinstance(function, nn.Module) else function
    return CustomLoss(name, private, identity_of_function(function))


def custom_score_of(function: ScoreFunction | None) -> CustomScore | None:
    """Return a caller's own score function with its name; None if the caller passed no function.

    Raises:
        UsageError: the function cannot be called, is a class, or has the name of a built-in score.
    """
    if function is None:
        return None
    name = _name_of(function, "score")
    if name in NAMES:
        raise UsageError(
            f"score is named {name!r}, as one of bmc's own is; give the function another name"
        )
    return CustomScore(name, function, identity=identity_of_function(function))


def _name_of(function: Any, what: str) -> str:
    """Return the name of a function; `what` for a lambda.

    Raises:
        UsageError: the function cannot be called, or is a class.
    """
    if not callable(function):
        raise UsageError(f"{what} is {function!r:.60}; it must be a function of outputs and labels")
    if isinstance(function, type):
        raise UsageError(
            f"{what} is the class {function.__name__}; give an instance: "
            f"{what}={function.__name__}()"
        )
    name = str(getattr(function, "__name__", type(function).__name__))
    return name if name.isidentifier() else what
