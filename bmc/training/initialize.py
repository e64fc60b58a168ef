"""Initialization: random weights of linear, convolutional and recurrent layers."""

from __future__ import annotations

from torch import Tensor, nn

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
_STD = 0.02


def initialize(module: nn.Module, how: str) -> None:
    """Draw new weights, and set the biases of linear layers and convolutions to zero.

    Args:
        module: a new network; its normalization layers and embeddings are not changed.
        how: "default" (do nothing), "normal" (standard deviation 0.02), "xavier" or "he".

    Source: Glorot and Bengio 2010, "Understanding the Difficulty of Training Deep Feedforward
    Neural Networks"; He et al. 2015, "Delving Deep into Rectifiers".
    """
    if how == "default":
        return
    for layer in module.modules():
        if isinstance(layer, _LAYERS):
            _fill(layer.weight, how)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.RNNBase):
            for name, weight in layer.named_parameters(recurse=False):
                if name.startswith("weight"):
                    _fill(weight, how)


def _fill(weight: Tensor, how: str) -> None:
    if how == "normal":
        nn.init.normal_(weight, std=_STD)
    elif how == "xavier":
        nn.init.xavier_uniform_(weight)
    else:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
