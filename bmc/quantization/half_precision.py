"""Shared code of fp16 and bf16: the choice of fp32 layers, and the record."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from bmc.contracts.tasks import task as task_of
from bmc.errors import ArtifactError
from bmc.inference.form import become_inference_form, output_linear
from bmc.inference.half_precision import DTYPES, half_precision_layers, to_half_precision
from bmc.inference.layers import quantizable_layers, without
from bmc.model import Model, Record


def layers_in_fp32(form: nn.Module, task: str, in_float: tuple[str, ...]) -> set[str]:
    """Return the paths of the layers that the user or the task keeps in fp32.

    The last layer of a regression stays in fp32: near 2000, for example, fp16 numbers are 1 apart
    and bf16 numbers 8.

    Args:
        form: an inference form.
        task: name of the task.
        in_float: fnmatch patterns of paths that the user keeps in fp32.
    """
    layers = quantizable_layers(form)
    paths = layers.keys() - without(layers, in_float).keys()
    last = output_linear(form) if task_of(task).is_numeric else None
    return paths | {last} if last else paths


def apply(model: Model, form: nn.Module, precision: str, keep: Iterable[str]) -> Record:
    """Replace a model's module by its inference form in 16 bits, and return the record.

    Args:
        model: a model in fp32.
        form: the model's inference form.
        precision: "fp16" or "bf16".
        keep: paths of layers that stay in fp32.

    Returns:
        the record; empty where no layer can have 16 bits, and the model is unchanged.
    """
    record: Record = {"precision": precision, "keep": sorted(keep)}
    if not half_precision_layers(form, record["keep"]):
        return {}
    rebuild(model, record)
    return record


def rebuild(model: Model, record: Record) -> None:
    """Replace a newly built model's module by its inference form in the recorded precision.

    Args:
        model: a newly built model.
        record: the record; it may come from a file, and is checked.

    Raises:
        ArtifactError: the record is malformed.
    """
    precision, keep = record.get("precision"), record.get("keep")
    are_paths = isinstance(keep, list) and all(isinstance(path, str) for path in keep)
    if precision not in DTYPES or not are_paths:
        raise ArtifactError(f"a precision is recorded as {record!r:.80}")
    become_inference_form(model)
    to_half_precision(model.module, str(precision), keep or [])
