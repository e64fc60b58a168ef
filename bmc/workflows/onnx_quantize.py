"""Quantize an ONNX file of another tool to 8 bits, and write its bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmc import console, processor, workspace
from bmc.errors import UsageError
from bmc.export import ExportOptions, onnx_flow
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_scores import ScoreFunction, scorer_of
from bmc.export.onnx_source import OnnxSource, onnx_source, quantized_source
from bmc.onnx_models.finding import name_of
from bmc.onnx_models.logits import logits_of, thresholds_of
from bmc.workflows.bundles import Exported, check_targets, exported, outputs_for, write_each
from bmc.workflows.compress import settings_of, step_class
from bmc.workflows.onnx_files import InMemory, fp32_file
from bmc.workflows.onnx_samples import samples_for
from bmc.workflows.options import Quantization, QuantizedFiles, SampledFiles

DEFAULT_TARGETS = ("onnx",)
_MIN_AGREEMENT = 0.99
_MAX_DROP = 1.0  # points of the score
_CALIBRATOR = "mse"


def quantize_file(
    path: Path,
    quantization: Quantization,
    files: QuantizedFiles,
    samples: InMemory = InMemory(),
    max_drop: float | None = None,
) -> Exported:
    """Quantize an ONNX file on samples, and write a bundle for each target.

    Args:
        path: the ONNX file.
        quantization: samples, calibrator, layers to leave in float, and weight_bits and
            outlier_threshold among the settings.
        files: targets, limits, and the output folder for a single target; the default is
            NAME-int8-TARGET in the workspace.
        samples: samples, labels and score in memory.
        max_drop: points of the score of labeled samples that may be lost; 1 when None.

    Raises:
        UsageError: there are no samples, the file is quantized already, or it has nothing to
            quantize.
        SettingError: weight_bits is neither 7 nor 8.
        GateError: a bundle answers too differently, or is slower than in fp32; it is kept as
            NAME.failed.
    """
    static: Any = step_class("quantize", "static")
    settings = static(**settings_of(static, "static", quantization.settings, {}))
    targets, name = files.target or DEFAULT_TARGETS, name_of(path)
    check_targets(targets, files.output)
    folder = f"{workspace.slug(name)}-int8"
    outputs = outputs_for(targets, folder, files.output, files.force)
    file = fp32_file(path, f"bmc export {path} takes it as it is")
    sampled = SampledFiles(
        data=files.data,
        samples=quantization.samples,
        random_samples=files.random_samples,
        preprocess=files.preprocess,
    )
    labels = files.labels if samples.labels is None else samples.labels
    rows = samples_for(file, sampled, samples.arrays, labels)
    if settings.weight_bits == 8 and processor.saturates_int8():
        console.note(processor.WITHOUT_VNNI)
    calibrator, in_float = quantization.calibrator or _CALIBRATOR, quantization.typed_names()
    options = ExportOptions(allow_slower=files.allow_slower)
    with onnx_source(name, file, rows, options) as fp32:
        limits = limits_of(fp32, files.min_agreement, samples.score, max_drop)
        source = quantized_source(
            fp32, calibrator, in_float, settings.weight_bits, settings.outlier_threshold
        )
        return exported(
            *write_each(
                outputs,
                "quantizing",
                source.check,
                lambda target, output: onnx_flow.quantize(
                    source, fp32, target, output, files.force, limits
                ),
            )
        )


def limits_of(
    source: OnnxSource,
    min_agreement: float | None,
    score: ScoreFunction | None,
    max_drop: float | None,
) -> Limits:
    """Return the limits: of the score where samples have labels, else of the agreement.

    Args:
        source: the original file, with its samples.
        min_agreement: smallest agreement; 0.99 when None, and none where samples have labels.
        score: score function of the user, in place of accuracy or R2.
        max_drop: points of the score that may be lost; 1 when None.

    Raises:
        UsageError: there are no labels for a score or its limit, or they fit no output.
    """
    has_labels = bool(source.samples.labels)
    if not has_labels and (score is not None or max_drop is not None):
        raise UsageError("score and max_drop need labels: pass the labels of the samples")
    if not has_labels:
        return Limits(_MIN_AGREEMENT if min_agreement is None else min_agreement)
    outputs = source.reference.run(source.samples.calls[0])
    graph = source.file.graph
    scorer = scorer_of(source.samples, outputs, logits_of(graph), score, thresholds_of(graph))
    if scorer.output and len(outputs) > 1:
        console.note(
            f"labels score output {scorer.output!r}; the other outputs must agree by "
            f"{_MIN_AGREEMENT}"
        )
    drop = _MAX_DROP if max_drop is None else max_drop
    return Limits(min_agreement, scorer, drop, others_agreement=_MIN_AGREEMENT)
