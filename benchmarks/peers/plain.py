"""Peer: the plain `torch.onnx.export` of the transformers model, as it comes from the folder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, BertForSequenceClassification

_TEXTS = ["an hour of wit and charm", "no film"]  # two lengths, so that the example has padding


def export(model: Path, path: Path) -> None:
    """Export with the exporter that is torch's default, dynamic batch and sequence."""
    module, example = load(model)
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}
    torch.onnx.export(
        module,
        kwargs=example,
        f=path,
        dynamo=True,
        opset_version=18,
        input_names=list(example),
        output_names=["logits"],
        dynamic_shapes=dict.fromkeys(example, dynamic),
        external_data=False,
        verbose=False,
    )


def load(folder: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Load the model, and encode an example with all that its tokenizer gives."""
    module: torch.nn.Module = BertForSequenceClassification.from_pretrained(folder)
    encoded = AutoTokenizer.from_pretrained(folder)(_TEXTS, padding=True, return_tensors="pt")
    names = ("input_ids", "attention_mask", "token_type_ids")
    return module.eval(), {name: encoded[name] for name in names}
