"""The inference form of a model: the module that bmc exports and quantizes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from bmc.contracts import families
from bmc.errors import UsageError
from bmc.inference.folding import fold_max_norm
from bmc.inference.half_precision import HalfPrecisionLayer
from bmc.inference.quantized_layers import QuantizedLayer
from bmc.model import Form, Model

_MARK = "is_quantized_form"


def is_quantized(module: nn.Module) -> bool:
    """Tell whether a network is a quantized inference form, even if all layers are in float."""
    layers = (QuantizedLayer, HalfPrecisionLayer)
    return getattr(module, _MARK, False) or any(isinstance(m, layers) for m in module.modules())


def inference_form(model: Model) -> nn.Module:
    """Return the module that is exported, in evaluation mode.

    Args:
        model: any model; the module of a quantized model already is its inference form.

    Returns:
        the family's inference form, or the model's module where the family defines none.
    """
    family = families.network(model.family)
    if is_quantized(model.module) or family.inference_form is None:
        return model.module.eval()
    return family.inference_form(model).eval()


def training_form(model: Model) -> Form | None:
    """Return the function that computes a model's outputs fastest in PyTorch; None if none does.

    A quantized model is an inference form, for which a family has no training form.
    """
    build = families.network(model.family).training_form
    return None if build is None or is_quantized(model.module) else build(model.module)


def become_inference_form(model: Model) -> None:
    """Replace a model's module by the model's inference form, whose layers can be quantized.

    Raises:
        UsageError: the model is quantized already.
    """
    if is_quantized(model.module):
        raise UsageError(
            "the model is quantized already; quantize the unquantized model that it came from"
        )
    form = inference_form(model)
    is_own = form is not model.module  # else it has the user's parameters, some of them frozen
    model.module = form if is_own else copy.deepcopy(form)
    setattr(model.module, _MARK, True)
    # PyTorch's fused attention reads the weights of layers directly, without calling the layers,
    # and would use the unquantized weights.
    torch.backends.mha.set_fastpath_enabled(False)
    fold_max_norm(model.module)
    for parameter in model.module.parameters() if is_own else ():
        parameter.requires_grad = parameter.is_floating_point()


def output_linear(form: nn.Module) -> str | None:
    """Return the path of the linear layer that computes the network's output; None if none does.

    Args:
        form: an inference form. A user's network has a method `output_linear` for this.
    """
    if getattr(form, "is_user_network", False):
        return form.output_linear()  # type: ignore[operator, no-any-return]
    linears = [path for path, part in form.named_modules() if isinstance(part, nn.Linear)]
    return linears[-1] if linears else None
