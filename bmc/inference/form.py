"""The inference form of a model: the module that is exported, and whose layers are quantized."""

from __future__ import annotations

import copy

import torch
from torch import nn

from bmc.contracts import families
from bmc.errors import UsageError
from bmc.inference.half_precision import HalfPrecisionLayer
from bmc.inference.quantized_layers import QuantizedLayer
from bmc.model import Model

_MARK = "is_quantized_form"


def is_quantized(module: nn.Module) -> bool:
    """Tell whether a network is a quantized inference form, even if all its layers are in float."""
    layers = (QuantizedLayer, HalfPrecisionLayer)
    return getattr(module, _MARK, False) or any(isinstance(m, layers) for m in module.modules())


def inference_form(model: Model) -> nn.Module:
    """Return the module that is exported, in evaluation mode.

    Args:
        model: a quantized one is its inference form already.

    Returns:
        the family's inference form, or the model's own module where the family has none.
    """
    family = families.network(model.family)
    if is_quantized(model.module) or family.inference_form is None:
        return model.module.eval()
    return family.inference_form(model).eval()


def become_inference_form(model: Model) -> None:
    """Make a model's inference form its module, so that the layers of it can be quantized.

    Raises:
        UsageError: the model is quantized already.
    """
    if is_quantized(model.module):
        raise UsageError(
            "the model is quantized already; quantize the one that it was made from, once"
        )
    form = inference_form(model)
    model.module = copy.deepcopy(form) if form is model.module else form
    setattr(model.module, _MARK, True)
    # PyTorch's fused attention would read weights behind the back of the layers that hold them.
    torch.backends.mha.set_fastpath_enabled(False)
    for parameter in model.module.parameters():
        parameter.requires_grad = True


def output_linear(form: nn.Module) -> str | None:
    """Return the path of the linear layer whose output is the network's; None if there is none.

    Args:
        form: an inference form. A user's own network says it by itself.
    """
    if getattr(form, "is_foreign", False):
        return form.output_linear()  # type: ignore[operator, no-any-return]
    linears = [path for path, part in form.named_modules() if isinstance(part, nn.Linear)]
    return linears[-1] if linears else None
