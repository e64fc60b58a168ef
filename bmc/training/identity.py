"""What a computation depends on, to be compared before its result is used again."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch
from torch import nn

from bmc.contracts import families
from bmc.inputs.text import TextEncoder
from bmc.model import Model


def structure_of(model: Model) -> str:
    """Return a sha256 of all that a model computes by beside its weights.

    That is its family and settings, its classes in order, how rows become tensors (the tokenizer,
    too), and what its compressions made of it: quantizers stand in records, not among the weights.
    """
    encoder = model.encoder
    tokenizer = encoder.tokenizer.to_str() if isinstance(encoder, TextEncoder) else ""
    steps = [[step.method, step.record] for step in model.steps]
    known = [model.family, model.spec, model.task, model.labels, encoder.to_json(), steps]
    content = json.dumps([*known, tokenizer], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def weights_of(module: nn.Module) -> str:
    """Return a sha256 of a module's parameters and buffers as they are now."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def start_of(model: Model) -> str:
    """Return a sha256 of what training starts from.

    A network of the user's own code may draw its weights as it likes: there it is the code's file,
    without what that imports.
    """
    if not families.family(model.family).runs_foreign_code:
        return weights_of(model.module)
    module = sys.modules.get(str(model.spec.get("code")).partition(":")[0])
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
