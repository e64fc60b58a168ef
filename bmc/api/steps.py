"""The verbs that change a model: prune, share, quantize, as functions; each returns a handle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc.api._calls import Progress, call, path_of
from bmc.api.handles import ModelHandle, reference_of
from bmc.api.references import Reference, TeacherReference
from bmc.api.wording import worded
from bmc.workflows.options import Files, Pruning, Quantization, Sharing
from bmc.workflows.prune import prune_model as workflows_prune
from bmc.workflows.quantize import quantize_model as workflows_quantize
from bmc.workflows.settings import settings_from
from bmc.workflows.share import share_model as workflows_share
from bmc.workflows.tuning import Tuning


@worded()
def prune(
    model: Reference,
    method: str = "structured",
    *,
    ratio: float | None = None,
    target_macs: int | str | None = None,
    target_params: int | str | None = None,
    target_size: int | str | None = None,
    epochs: int = 3,
    max_drop: float | None = None,
    distill: bool = False,
    teacher: TeacherReference | None = None,
    tuning: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Prune a model, then fine-tune it.

    Args:
        model: a handle, a model directory, a workspace name, or the folder of a sentence encoder.
        method: "structured", "depth", "unstructured", "movement", "nm" or "vocabulary".
        ratio: fraction to remove, 0 to 1; searched when a target or `max_drop` is given.
        target_macs: maximum of multiply-accumulates per row: a number, or a fraction of the present
            number, such as "0.25x".
        target_params: maximum of parameters: a number, or a fraction of the present number.
        target_size: maximum of bytes of the weights: a number, or a fraction of the present size.
        epochs: epochs of fine-tuning; 0 for none.
        max_drop: points of the validation score that may be lost.
        distill: fine-tune with the unpruned model as teacher, in addition to the true labels.
        teacher: another model as teacher instead.
        tuning: further fields of `bmc.workflows.tuning.Tuning`, such as learning_rate or seed.
        data: present location of the model's data, if the data was moved; for the folder of a
            sentence encoder, its texts: a .txt file, a table, or the name of a data set.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: the method's own settings, such as criterion="taylor".

    Returns:
        a handle of the pruned model.

    Raises:
        UnknownError: there is no such model, method or setting.
        SettingError: a setting is out of range or of another type.
        GateError: a target was not met, or more was lost than `max_drop`; the model is kept as
            NAME.failed.

    Example:
        >>> smaller = bmc.prune(model, ratio=0.5, epochs=5)
    """
    limits = _text(target_macs), _text(target_params), _text(target_size)
    pruning = Pruning(method, ratio, *limits, settings)
    tuned = _tuning(epochs, max_drop, distill, teacher, tuning)
    with call(verbose, progress, model, teacher):
        result = workflows_prune(reference_of(model), pruning, tuned, _files(data, output, force))
    return ModelHandle(result.path, result.code or "")


@worded()
def share(
    model: Reference,
    method: str = "lowrank",
    *,
    epochs: int = 3,
    max_drop: float | None = None,
    distill: bool = False,
    teacher: TeacherReference | None = None,
    tuning: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Factorize or share a model's parameters, then fine-tune it.

    Args:
        model: a handle, a model directory, a workspace name, or the folder of a sentence encoder.
        method: "layers", "embedding", "lowrank", "cluster" or "tie".
        epochs: epochs of fine-tuning; 0 for none.
        max_drop: points of the validation score that may be lost.
        distill: fine-tune with the unchanged model as teacher, in addition to the true labels.
        teacher: another model as teacher instead.
        tuning: further fields of `bmc.workflows.tuning.Tuning`, such as learning_rate or seed.
        data: present location of the model's data, if the data was moved; for the folder of a
            sentence encoder, its texts: a .txt file, a table, or the name of a data set.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: the method's own settings, such as energy=0.8.

    Returns:
        a handle of the shared model.

    Raises:
        UnknownError: there is no such model, method or setting.
        SettingError: a setting is out of range or of another type.
        GateError: more was lost than `max_drop`; the model is kept as NAME.failed.

    Example:
        >>> smaller = bmc.share(model, method="lowrank", energy=0.9)
    """
    tuned = _tuning(epochs, max_drop, distill, teacher, tuning)
    sharing = Sharing(method, settings)
    with call(verbose, progress, model, teacher):
        result = workflows_share(reference_of(model), sharing, tuned, _files(data, output, force))
    return ModelHandle(result.path, result.code or "")


@worded()
def quantize(
    model: Reference,
    method: str = "static",
    *,
    samples: int | None = None,
    epochs: int = 0,
    max_drop: float | None = None,
    teacher: TeacherReference | None = None,
    tuning: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Quantize a model's weights and activations to fewer bits.

    Args:
        model: a handle, a model directory, a workspace name, or the folder of a sentence encoder.
        method: "static" (8 bits, calibrated), "qat" (static, then quantization-aware training),
            "mixed" (static, with the most sensitive layers in float), "dynamic" (8 bits, activation
            ranges at each call), "weights" (weights of 8 or 4 bits, computed in float), "fp16" or
            "bf16".
        samples: calibration samples, drawn from the training rows.
        epochs: epochs of training (qat; 0 stands for 1). The other methods train nothing.
        max_drop: points of the validation score that may be lost.
        teacher: model whose outputs are learned (qat); the unchanged model when None.
        tuning: further fields of `bmc.workflows.tuning.Tuning`, such as learning_rate or seed.
        data: present location of the model's data, if the data was moved; for the folder of a
            sentence encoder, its texts: a .txt file, a table, or the name of a data set.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: the method's own settings, such as calibrator="minmax", bits=4 or
            in_float=["classifier"].

    Returns:
        a handle of the quantized model.

    Raises:
        UnknownError: there is no such model, method or setting.
        SettingError: a setting is out of range or of another type.
        GateError: more was lost than `max_drop`; the model is kept as NAME.failed.

    Example:
        >>> small = bmc.quantize(student, method="static", samples=256)
    """
    tuned = _tuning(epochs, max_drop, False, teacher, tuning)
    quantization = Quantization(method, _text(samples), settings=settings)
    files = _files(data, output, force)
    with call(verbose, progress, model, teacher):
        result = workflows_quantize(reference_of(model), quantization, tuned, files)
    return ModelHandle(result.path, result.code or "")


def _tuning(
    epochs: int,
    max_drop: float | None,
    distill: bool,
    teacher: TeacherReference | None,
    more: Mapping[str, Any] | None,
) -> Tuning:
    """Return how a model is fine-tuned; what `more` holds goes before the arguments."""
    values: dict[str, Any] = {
        "epochs": epochs,
        "max_drop": max_drop,
        "distill": distill,
        "teacher": None if teacher is None else reference_of(teacher),
    }
    return Tuning(**{**values, **settings_from(Tuning, more or {}, "tuning")})


def _files(data: str | Path | None, output: str | Path | None, force: bool) -> Files:
    return Files(path_of(output), force, _text(data))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
