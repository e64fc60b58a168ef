"""Why torch's exporter does not take a network as it is: the line of it, and the reason."""

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
from bmc.foreign import line_of, line_of_call, summary_of

Tensors = dict[str, Tensor]
Axes = dict[str, dict[int, Any]]


def refused(error: Exception) -> BmcError:
    """Say that torch's exporter does not take a network, with the line and the innermost reason."""
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


def fixing_line(module: nn.Module, example: Tensors, axes: Axes) -> str:
    """Return the line of a network that makes a constant of a free size; "" where none is found.

    Args:
        module: in evaluation mode.
        example: inputs to trace with.
        axes: the free axes of each.
    """
    lines: list[str] = []
    with _watched(lines), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.export.export(module, (), example, dynamic_shapes=axes, strict=False)
        except Exception as error:  # noqa: BLE001  it is known to fail; its line is asked for
            lines.append(line_of(error))
    return next(filter(None, lines), "")


@contextmanager
def _watched(lines: list[str]) -> Iterator[None]:
    """Note the line at which torch makes a number of a symbolic size."""
    shapes: Any = ShapeEnv
    before = shapes._set_replacement

    def set_replacement(env: Any, symbol: Any, becomes: Any, *given: Any) -> Any:
        if getattr(becomes, "is_number", False):
            lines.append(line_of_call(sys._getframe(1)))
        return before(env, symbol, becomes, *given)

    shapes._set_replacement = set_replacement
    try:
        yield
    finally:
        shapes._set_replacement = before
