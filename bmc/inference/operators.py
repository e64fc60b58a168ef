"""Modules of inference forms that are each exported as one ONNX operator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# By PyTorch's mode: ONNX's operator, the indices of ONNX's gates among PyTorch's gates, attributes.
_RECURRENT: Mapping[str, tuple[str, tuple[int, ...], dict[str, int]]] = {
    "RNN_TANH": ("RNN", (0,), {}),
    "LSTM": ("LSTM", (0, 3, 1, 2), {}),
    "GRU": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
}


class Add(nn.Module):
    """Adds two tensors; as a module it has a path, under which a record can name it."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum of two tensors of one shape."""
        return first + second


class RecurrentOperator(nn.Module):
    """A recurrent layer that is exported as one ONNX operator; torch.onnx would unroll its steps.

    Args:
        layer: PyTorch's layer, with one direction. It computes the outputs outside of an export.
    """

    weight: Tensor
    recurrence: Tensor
    bias: Tensor

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.operator, self.gate_order, self.attributes = _RECURRENT[layer.mode]
        self.update_onnx_weights()

    def update_onnx_weights(self) -> None:
        """Copy the layer's weights for an export, with the gates in ONNX's order."""
        weights = {name: value.detach() for name, value in self.layer.named_parameters()}
        biases = [self.in_onnx_order(weights[name]) for name in ("bias_ih_l0", "bias_hh_l0")]
        onnx_weights = {
            "weight": self.in_onnx_order(weights["weight_ih_l0"]),
            "recurrence": self.in_onnx_order(weights["weight_hh_l0"]),
            "bias": torch.cat(biases),
        }
        for name, value in onnx_weights.items():
            self.register_buffer(name, value[None], persistent=False)

    def in_onnx_order(self, rows: Tensor) -> Tensor:
        """Return the rows of a tensor (gates x hidden, ...) in the order of ONNX's gates."""
        gates = rows.chunk(len(self.gate_order))
        return torch.cat([gates[index] for index in self.gate_order])

    def onnx_weights(self) -> tuple[Tensor, Tensor]:
        """Return the weights of inputs and states, each (1, gates x hidden, in), for an export."""
        return self.weight, self.recurrence

    def forward(self, vectors: Tensor) -> tuple[Tensor, None]:
        """Return states (rows, length, hidden) for vectors (rows, length, in)."""
        if not torch.onnx.is_in_onnx_export():
            return self.layer(vectors)[0], None
        steps_first = vectors.transpose(0, 1)
        hidden = self.layer.hidden_size
        states: Tensor = torch.onnx.ops.symbolic(
            self.operator,
            (steps_first, *self.onnx_weights(), self.bias),
            attrs={"hidden_size": hidden, **self.attributes},
            dtype=vectors.dtype,
            shape=(steps_first.shape[0], 1, steps_first.shape[1], hidden),
        )
        return states.squeeze(1).transpose(0, 1), None
