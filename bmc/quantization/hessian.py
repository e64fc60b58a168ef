"""Hessians for GPTQ: how rounding errors of two columns of a weight add up in the outputs.

Source: Frantar et al. 2023, "GPTQ", section 3 (inputs); Kim et al. 2025, "GuidedQuant: Large
Language Model Quantization via Exploiting End Loss Guidance", section 3 (weighted by gradients).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.inference.run import batches_of
from bmc.inputs import Encoder
from bmc.model import output_of
from bmc.quantization.observers import not_finite

_ROWS, _STEPS = 16, 2048  # of a batch, whose activations are kept for the backward pass
_TINY = torch.finfo(torch.float32).tiny


def hessians(
    form: nn.Module, layers: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the Hessian of each layer's weight, (columns, columns), by path.

    For a linear layer it is the sum of two: the products of its inputs, with all positions alike
    (GPTQ), and the same weighted by the squared gradients of its outputs, since some words of a
    sentence matter more (GuidedQuant). For an embedding it is the identity plus the products of its
    gradients. Each part is scaled to a mean of 1 on its diagonal.

    Args:
        form: in float.
        layers: its linear layers and embeddings, by path.
        encoder: of the rows.
        rows: calibration samples: raw rows of the training part.

    Raises:
        DataError: a layer read NaN or infinity.
    """
    of_inputs: dict[str, Tensor] = {}
    of_gradients: dict[str, Tensor] = {}

    def add_inputs(path: str, values: Tensor) -> None:
        if not isinstance(layers[path], nn.Embedding):
            values = _flat(values)
            of_inputs[path] = of_inputs.get(path, 0) + values.t() @ values

    def add_gradients(path: str, values: Tensor, gradient: Tensor) -> None:
        gradient = _flat(gradient)
        if isinstance(layers[path], nn.Embedding):
            of_gradients[path] = of_gradients.get(path, 0) + gradient.t() @ gradient
        else:
            values, weights = _flat(values), gradient.square().sum(dim=1, keepdim=True)
            of_gradients[path] = of_gradients.get(path, 0) + (values * weights).t() @ values

    _observe_gradients(form, layers, encoder, rows, add_inputs, add_gradients)
    found: dict[str, Tensor] = {}
    for path in layers:
        unweighted, weighted = of_inputs.pop(path, None), of_gradients.pop(path, None)
        if unweighted is not None and not unweighted.isfinite().all():
            raise not_finite(path)
        if weighted is not None and not weighted.isfinite().all():
            weighted = None  # a gradient may be infinite where all outputs are finite
        if unweighted is None and weighted is not None:
            unweighted = torch.eye(len(weighted))
        parts = [_scaled(part) for part in (unweighted, weighted) if part is not None]
        if parts:
            found[path] = torch.stack(parts).sum(dim=0)
    return found


def _observe_gradients(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    add_inputs: Callable[[str, Tensor], None],
    add_gradients: Callable[[str, Tensor, Tensor], None],
) -> None:
    """Show what layers read (..., in), and with it the gradient of their outputs (..., out).

    The gradient is that of a sum of the network's outputs with random signs: its mean square is
    that of all outputs' together. Where the outputs do not depend on a layer there is none.
    """

    def hook_of(path: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if not inputs:
                return None  # called by the name of its argument
            values = inputs[0].detach().clone()  # the input may be written into later
            add_inputs(path, values)
            output = output if output.requires_grad else output.detach().requires_grad_()

            def on_gradient(gradient: Tensor) -> None:
                add_gradients(path, values, gradient)

            output.register_hook(on_gradient)  # type: ignore[no-untyped-call]
            return output.clone()  # whatever follows may write into it

        return hook

    requires_grad = {name: value.requires_grad for name, value in form.named_parameters()}
    hooks = [layer.register_forward_hook(hook_of(path)) for path, layer in layers.items()]
    signs = torch.Generator().manual_seed(0)
    size = max(1, min(_ROWS, _STEPS // max(encoder.longest().values(), default=1)))
    try:
        form.requires_grad_(False)
        with console.progress("computing Hessians", len(rows)) as advance, torch.enable_grad():
            for places, tensors in batches_of(encoder, rows, size):
                outputs = output_of(form, tensors)
                sign = 2.0 * torch.randint(0, 2, outputs.shape, generator=signs) - 1
                if outputs.requires_grad:
                    (outputs * sign).sum().backward()  # type: ignore[no-untyped-call]
                advance(len(places))
    finally:
        for hook in hooks:
            hook.remove()
        for name, value in form.named_parameters():
            value.requires_grad_(requires_grad[name])


def _flat(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]).float()


def _scaled(products: Tensor) -> Tensor:
    """Return products scaled to a mean of 1 on the diagonal; zeros stay zeros."""
    return products / products.diagonal().mean().clamp(min=_TINY)
