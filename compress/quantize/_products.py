"""How errors of a weight's columns count together: what a layer reads, and what comes of it.

Source: Frantar et al. 2023, "GPTQ", section 3 (what is read); Kim et al. 2025, "GuidedQuant: Large
Language Model Quantization via Exploiting End Loss Guidance", section 3 (counted by gradients).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console, inputs
from bmc.compress.quantize._watching import no_number
from bmc.inputs import Encoder
from bmc.model import output_of

_ROWS, _STEPS = 16, 2048  # a batch, whose activations are kept for the way back
_TINY = torch.finfo(torch.float32).tiny


def products_of(
    form: nn.Module, layers: Mapping[str, nn.Module], encoder: Encoder, rows: Sequence[Any]
) -> dict[str, Tensor]:
    """Return how errors of two of a weight's columns count together, (columns, columns), by path.

    For a linear layer that is the products of what it reads: half with all of it alike, half by how
    far the network's outputs move with the layer's, since of a sentence some words count more. For
    a table it is half the products of the gradients themselves, half every column alike.

    Args:
        form: in float.
        layers: its linear layers and tables, by path.
        encoder: of the rows.
        rows: raw rows, of the training part.

    Raises:
        DataError: a layer read NaN or infinity.
    """
    read: dict[str, Tensor] = {}
    moved: dict[str, Tensor] = {}

    def see(path: str, values: Tensor) -> None:
        if not isinstance(layers[path], nn.Embedding):
            values = _flat(values)
            read[path] = read.get(path, 0) + values.t() @ values

    def feel(path: str, values: Tensor, gradient: Tensor) -> None:
        gradient = _flat(gradient)
        if isinstance(layers[path], nn.Embedding):
            moved[path] = moved.get(path, 0) + gradient.t() @ gradient
        else:
            values, counts = _flat(values), gradient.square().sum(dim=1, keepdim=True)
            moved[path] = moved.get(path, 0) + (values * counts).t() @ values

    _watch_gradients(form, layers, encoder, rows, see, feel)
    found: dict[str, Tensor] = {}
    for path in layers:
        alike, own = read.pop(path, None), moved.pop(path, None)
        if alike is not None and not alike.isfinite().all():
            raise no_number(path)
        if own is not None and not own.isfinite().all():
            own = None  # a gradient may be infinite where all answers are numbers
        if alike is None and own is not None:
            alike = torch.eye(len(own))
        parts = [_scaled(one) for one in (alike, own) if one is not None]
        if parts:
            found[path] = torch.stack(parts).sum(dim=0)
    return found


def _watch_gradients(
    form: nn.Module,
    layers: Mapping[str, nn.Module],
    encoder: Encoder,
    rows: Sequence[Any],
    see: Callable[[str, Tensor], None],
    feel: Callable[[str, Tensor, Tensor], None],
) -> None:
    """Show what layers read (..., in), and with it the gradient of what they made (..., out).

    The gradient is that of a sum of the outputs, their signs drawn at random: its mean square is
    that of all outputs' together. Where outputs do not depend on a layer there is none.
    """

    def hook_of(path: str) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor | None:
            if not given:
                return None  # called by the name of its argument
            values = given[0].detach().clone()  # what it read may be written into later
            see(path, values)
            made = made if made.requires_grad else made.detach().requires_grad_()

            def of(gradient: Tensor) -> None:
                feel(path, values, gradient)

            made.register_hook(of)  # type: ignore[no-untyped-call]
            return made.clone()  # whatever follows may write into it

        return hook

    learning = {name: own.requires_grad for name, own in form.named_parameters()}
    hooks = [part.register_forward_hook(hook_of(path)) for path, part in layers.items()]
    signs = torch.Generator().manual_seed(0)
    size = max(1, min(_ROWS, _STEPS // max(encoder.longest().values(), default=1)))
    try:
        form.requires_grad_(False)
        with console.progress("what its weights change", len(rows)) as advance, torch.enable_grad():
            for places, arrays in inputs.ordered_batches(encoder, encoder.encode(rows), size):
                tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
                made = output_of(form, tensors)
                sign = 2.0 * torch.randint(0, 2, made.shape, generator=signs) - 1
                if made.requires_grad:
                    (made * sign).sum().backward()  # type: ignore[no-untyped-call]
                advance(len(places))
    finally:
        for hook in hooks:
            hook.remove()
        for name, own in form.named_parameters():
            own.requires_grad_(learning[name])


def _flat(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]).float()


def _scaled(products: Tensor) -> Tensor:
    """Return products whose mean square is 1; none stay none."""
    return products / products.diagonal().mean().clamp(min=_TINY)
