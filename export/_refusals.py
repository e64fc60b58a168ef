"""Explain why torch.onnx refuses a network: the line of the network, and the reason."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from bmc.errors import BmcError, ExportError
from bmc.user_code import line_of, line_of_call, summary_of

Tensors = dict[str, Tensor]
Axes = dict[str, dict[int, Any]]


def export_error(error: Exception) -> BmcError:
    """Return the error for a network that torch.onnx refuses, with line and reason."""
    if isinstance(error, BmcError):
        return error
    where = line_of(error)
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, BmcError):
        cause = cause.__cause__
    if isinstance(cause, BmcError):
        return cause
    network = f"the network ({where})" if where else "the network"
    return ExportError(
        f"torch.onnx cannot export {network}: {summary_of(cause)}; "
        "--target pytorch runs it as it is"
    )


def line_that_fixes_a_size(module: nn.Module, example: Tensors, axes: Axes) -> str:
    """Return the line of a network that turns a free size into a constant; "" if there is none.

    Args:
        module: the network in evaluation mode.
        example: inputs to trace with, by name.
        axes: the free axes of each input.
    """
    lines: list[str] = []
    with _collecting(lines), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.export.export(module, (), example, dynamic_shapes=axes, strict=False)
        except Exception as error:  # noqa: BLE001  the error is expected; only its line is needed
            lines.append(line_of(error))
    return next(filter(None, lines), "")


@contextmanager
def _collecting(lines: list[str]) -> Iterator[None]:
    """Append to `lines` each line at which torch replaces a symbolic size by a number."""
    shapes: Any = ShapeEnv
    original = shapes._set_replacement

    def set_replacement(env: Any, symbol: Any, replacement: Any, *rest: Any) -> Any:
        if getattr(replacement, "is_number", False):
            lines.append(line_of_call(sys._getframe(1)))
        return original(env, symbol, replacement, *rest)

    shapes._set_replacement = set_replacement
    try:
        yield
    finally:
        shapes._set_replacement = original
