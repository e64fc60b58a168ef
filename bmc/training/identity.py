"""Hashes of the inputs of a computation, to compare before a stored result is reused."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bmc.contracts import families
from bmc.inputs.image import ImageEncoder
from bmc.inputs.text import TextEncoder
from bmc.model import Model


def structure_of(model: Model) -> str:
    """Return a sha256 of everything besides the weights that a model's outputs depend on.

    These are its family and settings, its classes in order, its encoder with the tokenizer, and the
    records of its compression steps, such as the bits of quantizers (scales are among the weights).
    """
    encoder = model.encoder
    tokenizer = encoder.tokenizer.to_str() if isinstance(encoder, TextEncoder) else ""
    steps = [[step.method, step.record] for step in model.steps]
    parts = [model.family, model.spec, model.task, model.labels, encoder.to_json(), steps]
    content = json.dumps([*parts, tokenizer], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def input_key(model: Model) -> Sequence[object]:
    """Return the preprocessing of a model; models with equal keys read the same tensors."""
    encoder = model.encoder
    if isinstance(encoder, ImageEncoder):
        return "image", replace(encoder.settings, any_size=False)
    tokenizer = encoder.tokenizer.to_str() if isinstance(encoder, TextEncoder) else ""
    return encoder.to_json(), tokenizer


def weights_of(module: nn.Module) -> str:
    """Return a sha256 of a module's current parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def start_of(model: Model) -> str:
    """Return a sha256 of the model that training starts from.

    A network from the user's code may have random weights in each process. For such a network the
    hash is of the file of the code, without the modules that the file imports.
    """
    if not families.family(model.family).runs_user_code:
        return weights_of(model.module)
    module = sys.modules.get(str(model.spec.get("code")).partition(":")[0])
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
