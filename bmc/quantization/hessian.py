"""Hessians for GPTQ: how the rounding errors of two columns of a weight add up in the outputs.

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

# Largest number of rows and of tokens or time steps in a batch; the backward pass needs memory for
# the activations of a whole batch.
_MAX_ROWS, _MAX_STEPS = 16, 2048
_TINY = torch.finfo(torch.float32).tiny


def hessians(
    form: nn.Module, layers: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the Hessian of each layer's weight, (columns, columns), by path.

    The Hessian of a linear layer is the sum of two matrices: X^T X of the layer's inputs X (GPTQ),
    and the same with each position weighted by the squared gradient of its outputs, since some
    words of a sentence matter more (GuidedQuant). The Hessian of an embedding is the identity plus
    G^T G of the gradients G of its outputs. Both matrices are scaled to a mean diagonal of 1.

    Args:
        form: an inference form in float.
        layers: linear layers and embeddings of the form, by path.
        encoder: encoder of the rows.
        rows: calibration samples: raw rows of the training split.

    Raises:
        DataError: an input of a layer is NaN or infinite.
    """
    if not layers:
        return {}
    from_inputs: dict[str, Tensor] = {}
    from_gradients: dict[str, Tensor] = {}

    def add_inputs(path: str, values: Tensor) -> None:
        if not isinstance(layers[path], nn.Embedding):
            values = _flat(values)
            from_inputs[path] = from_inputs.get(path, 0) + values.t() @ values

    def add_gradients(path: str, values: Tensor, gradient: Tensor) -> None:
        gradient = _flat(gradient)
        if isinstance(layers[path], nn.Embedding):
            from_gradients[path] = from_gradients.get(path, 0) + gradient.t() @ gradient
        else:
            values, weights = _flat(values), gradient.square().sum(dim=1, keepdim=True)
            from_gradients[path] = from_gradients.get(path, 0) + (values * weights).t() @ values

    _observe_gradients(form, layers, encoder, rows, add_inputs, add_gradients)
    result: dict[str, Tensor] = {}
    for path in layers:
        unweighted, weighted = from_inputs.pop(path, None), from_gradients.pop(path, None)
        if unweighted is not None and not unweighted.isfinite().all():
            raise not_finite(path)
        if weighted is not None and not weighted.isfinite().all():
            weighted = None  # a gradient may be infinite although all outputs are finite
        if unweighted is None and weighted is not None:
            unweighted = torch.eye(len(weighted))
        parts = [_scaled(part) for part in (unweighted, weighted) if part is not None]
        if parts:
            result[path] = torch.stack(parts).sum(dim=0)
    return result


def _observe_gradients(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    add_inputs: Callable[[str, Tensor], None],
    add_gradients: Callable[[str, Tensor, Tensor], None],
) -> None:
    """Run a network on rows, and pass on inputs of layers and gradients of the layers' outputs.

    `add_inputs` gets each layer's inputs (..., in); `add_gradients` gets the inputs together with
    the gradient of the layer's outputs (..., out). The gradient is taken of the sum of the
    network's outputs with random signs; its mean square is the mean squared gradient of all
    outputs. `add_gradients` is not called for layers that the outputs do not depend on.
    """

    def hook_of(path: str) -> Any:
        def hook(
            _: nn.Module, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor], output: Tensor
        ) -> Tensor:
            read = inputs[0] if inputs else next(iter(keywords.values()))
            values = read.detach().clone()  # later code may change the input in place
            add_inputs(path, values)
            output = output if output.requires_grad else output.detach().requires_grad_()

            def on_gradient(gradient: Tensor) -> None:
                add_gradients(path, values, gradient)

            output.register_hook(on_gradient)  # type: ignore[no-untyped-call]
            return output.clone()  # later code may change the output in place

        return hook

    requires_grad = {name: value.requires_grad for name, value in form.named_parameters()}
    hooks = [
        layer.register_forward_hook(hook_of(path), with_kwargs=True)
        for path, layer in layers.items()
    ]
    signs = torch.Generator().manual_seed(0)
    size = max(1, min(_MAX_ROWS, _MAX_STEPS // max(encoder.longest().values(), default=1)))
    try:
        form.requires_grad_(False)
        with console.progress("computing Hessians", len(rows)) as advance, torch.enable_grad():
            for indices, tensors in batches_of(encoder, rows, size):
                outputs = output_of(form, tensors)
                sign = 2.0 * torch.randint(0, 2, outputs.shape, generator=signs) - 1
                if outputs.requires_grad:
                    (outputs * sign).sum().backward()  # type: ignore[no-untyped-call]
                advance(len(indices))
    finally:
        for hook in hooks:
            hook.remove()
        for name, value in form.named_parameters():
            value.requires_grad_(requires_grad[name])


def _flat(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]).float()


def _scaled(products: Tensor) -> Tensor:
    """Return a matrix of products scaled to a mean diagonal of 1; a zero matrix stays zero."""
    return products / products.diagonal().mean().clamp(min=_TINY)
