"""What fp16 and bf16 have in common: which layers stay in fp32, and the record."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from bmc.errors import ArtifactError
from bmc.inference.form import become_inference_form, output_linear
from bmc.inference.half_precision import DTYPES, half_precision_layers, to_half_precision
from bmc.inference.layers import quantizable_layers, without
from bmc.model import Model, Record


def layers_in_fp32(form: nn.Module, task: str, in_float: tuple[str, ...]) -> set[str]:
    """Return the paths of the layers that stay in fp32 by choice.

    A regression's last layer is one: 16 bits have few steps at a level like 2000.

    Args:
        form: an inference form.
        task: "classification", "regression" or "generation".
        in_float: fnmatch patterns.
    """
    layers = quantizable_layers(form)
    paths = layers.keys() - without(layers, in_float).keys()
    last = output_linear(form) if task == "regression" else None
    return paths | {last} if last else paths


def apply(model: Model, form: nn.Module, precision: str, keep: Iterable[str]) -> Record:
    """Make a model its inference form in 16 bits; return the record, empty where nothing changes.

    Args:
        model: in fp32.
        form: its inference form.
        precision: "fp16" or "bf16".
        keep: paths of layers that stay in fp32.
    """
    record: Record = {"precision": precision, "keep": sorted(keep)}
    if not half_precision_layers(form, record["keep"]):
        return {}
    rebuild(model, record)
    return record


def rebuild(model: Model, record: Record) -> None:
    """Give a freshly built model the recorded precision.

    Raises:
        ArtifactError: the record, which may come from a file, is malformed.
    """
    precision, keep = record.get("precision"), record.get("keep")
    is_known = isinstance(keep, list) and all(isinstance(path, str) for path in keep)
    if precision not in DTYPES or not is_known:
        raise ArtifactError(f"a precision is recorded as {record!r:.80}")
    become_inference_form(model)
    to_half_precision(model.module, str(precision), keep or [])
