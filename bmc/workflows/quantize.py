"""Quantize the weights and activations of a model, and calibrate the ranges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bmc import console, processor
from bmc.errors import UsageError
from bmc.model import Model, Step, Work
from bmc.workflows.bundles import Exported
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.encoder_folders import as_model, onnx_file, texts_and_tuning
from bmc.workflows.onnx_quantize import quantize_file
from bmc.workflows.onnx_samples import may_have_labels, no_labels
from bmc.workflows.options import Files, Quantization, QuantizedFiles
from bmc.workflows.results import Compressed
from bmc.workflows.tuning import Tuning


def quantize(
    reference: str | None,
    quantization: Quantization = Quantization(),
    tuning: Tuning = Tuning(epochs=0),
    files: QuantizedFiles = QuantizedFiles(),
) -> Compressed | Exported:
    """Quantize a model directory, or an ONNX file, of which bundles are written.

    Args:
        reference: as for `quantize_model`, or an ONNX file.
        quantization: the technique and its settings; an ONNX file takes static.
        tuning: settings of the training (qat) of a model directory.
        files: what `quantize_model` takes, and the targets and limits of an ONNX file.

    Raises:
        UsageError: an option does not fit a model directory, or an ONNX file.
        GateError: a bundle answers too differently, or is slower than in fp32.
    """
    names_file = quantization.samples is not None and not quantization.samples.isdecimal()
    path = onnx_file(reference, names_file or any(files.of_onnx_files().values()))
    if path is None:
        files.refuse_for(reference or "the newest model")
        return quantize_model(reference, quantization, tuning, files)
    _refuse_for_files(path, quantization, tuning, files)
    return quantize_file(path, quantization, files, max_drop=tuning.max_drop)


def _refuse_for_files(
    path: Path, quantization: Quantization, tuning: Tuning, files: QuantizedFiles
) -> None:
    """Refuse options that need a PyTorch model, and those that need labels where there are none.

    Raises:
        UsageError: such an option is set.
    """
    if quantization.method != "static" or quantization.bits is not None:
        raise UsageError(f"{path} is an ONNX file, which --method static alone quantizes")
    if other := sorted(set(quantization.settings) - {"weight_bits", "outlier_threshold"}):
        raise UsageError(
            f"{path} is an ONNX file, whose quantization takes no --set {other[0]}=; it takes "
            "--set weight_bits= and outlier_threshold="
        )
    has_labels = files.labels is not None or may_have_labels(quantization.samples)
    if tuning.max_drop is not None and not has_labels:
        raise no_labels(path)
    if replace(tuning, max_drop=None) != Tuning(epochs=0):
        raise UsageError(f"{path} is an ONNX file, which is not trained: leave its options out")


def quantize_model(
    reference: str | None,
    quantization: Quantization = Quantization(),
    tuning: Tuning = Tuning(epochs=0),
    files: Files = Files(),
) -> Compressed:
    """Quantize a model and write its model directory; the method qat also trains the model.

    Args:
        reference: a model directory, a model's name in the workspace, or the folder of a sentence
            encoder; the newest when None.
        quantization: the technique and its settings; unknown settings are refused.
        tuning: settings of the training (qat); `max_drop` also limits the loss of mixed.
        files: present location of the model's data, or the texts of a sentence encoder, and the
            output; the default is MODEL-METHOD in the workspace.

    Raises:
        UnknownError: there is no such model or technique.
        UsageError: the method has no such setting, or an option on training is set for a method
            that does not train.
        GateError: more was lost than `tuning.max_drop`; the model is kept as NAME.failed.
    """
    texts, tuning = texts_and_tuning(reference, files.data, tuning)
    method, typed = quantization.method, quantization.typed()
    technique = step_class("quantize", method)
    if quantization.bits is not None and method != "weights":
        raise UsageError(f"{method} has no --bits; --method weights has: --method weights --bits 4")
    if method == "mixed":
        typed["max_drop"] = tuning.max_drop
    step: Step = technique(**settings_of(technique, method, quantization.settings, typed))
    if method == "qat":
        tuning = replace(tuning, epochs=tuning.epochs or 1, distill=tuning.teacher is None)
    elif option := _of_training(tuning):
        raise UsageError(f"{method} trains nothing, so it takes no {option}; --method qat does")

    def choose(model: Model, work: Work) -> Step:
        return step

    if getattr(step, "weight_bits", None) == 8 and processor.saturates_int8():
        console.note(processor.WITHOUT_VNNI)
    reference, files = as_model(reference, texts, files)
    return compress("quantize", method, reference, choose, tuning, files)


def _of_training(tuning: Tuning) -> str:
    """Return the first option on training that the user set; "" if there is none."""
    typed = {
        "--epochs": tuning.epochs,
        "--learning-rate": tuning.learning_rate,
        "--batch-size": tuning.batch_size,
        "--accumulate": tuning.accumulate,
        "--distill": tuning.distill,
        "--teacher": tuning.teacher,
        "--transfer": tuning.transfer != "none",
        "--checkpoint-every": tuning.checkpoint_every,
    }
    return next((option for option, value in typed.items() if value), "")
