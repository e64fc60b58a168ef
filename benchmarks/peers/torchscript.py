"""Peer: the plain `torch.onnx.export` with its older, tracing exporter."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from peers import plain


def export(model: Path, path: Path) -> None:
    """Export by TorchScript tracing, dynamic batch and sequence."""
    module, example = plain.load(model)
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            module,
            tuple(example.values()),
            path,
            dynamo=False,
            opset_version=18,
            input_names=list(example),
            output_names=["logits"],
            dynamic_axes=dict.fromkeys(example, axes) | {"logits": {0: "batch"}},
        )
