"""Quantize an ONNX file of another tool to 8 bits, and write its bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.contracts.targets import exporter_of
from bmc.errors import BmcError, GateError, UsageError
from bmc.export import ExportOptions, onnx_flow
from bmc.export.onnx_compare import Limits
from bmc.export.onnx_scores import ScoreFunction, scorer_of
from bmc.export.onnx_source import OnnxSource, onnx_source, quantized_source
from bmc.onnx_models.finding import name_of
from bmc.onnx_models.logits import logits_of
from bmc.onnx_models.precision import precision_of
from bmc.onnx_models.reading import read
from bmc.workflows.export import Exported, check_targets, exported
from bmc.workflows.onnx_files import Arrays, samples_for
from bmc.workflows.options import Quantization, QuantizedFiles, SampledFiles
from bmc.workflows.outputs import refuse_output

DEFAULT_TARGETS = ("onnx",)
_MIN_AGREEMENT = 0.99
_MAX_DROP = 1.0  # points of the score
_CALIBRATOR = "mse"


def quantize_file(
    path: Path,
    quantization: Quantization,
    files: QuantizedFiles,
    arrays: Arrays | None = None,
    labels: NDArray[Any] | str | None = None,
    score: ScoreFunction | None = None,
    max_drop: float | None = None,
) -> Exported:
    """Quantize an ONNX file on samples, and write a bundle for each target.

    Args:
        path: the ONNX file.
        quantization: samples, calibrator, and layers to leave in float.
        files: targets, limits, and the output folder for a single target; the default is
            NAME-int8-TARGET in the workspace.
        arrays: samples in memory, in place of a path.
        labels: labels of the samples in memory, or their name; that of `files` when None.
        score: score function of the user, in place of accuracy or R2.
        max_drop: points of the score of labeled samples that may be lost; 1 when None.

    Raises:
        UsageError: there are no samples, the file is quantized already, or it has nothing to
            quantize.
        GateError: a bundle answers too differently, or is slower than in fp32; it is kept as
            NAME.failed.
    """
    targets, name = files.target or DEFAULT_TARGETS, name_of(path)
    check_targets(targets, files.output)
    outputs = {
        target: files.output or workspace.root() / f"{workspace.slug(name)}-int8-{target}"
        for target in targets
    }
    for target, output in outputs.items():
        exporter_of(target)
        refuse_output(output, files.force)
    file = read(path)
    if precision_of(file.model) != "fp32":
        raise UsageError(
            f"{path} is {precision_of(file.model)} already; bmc export {path} takes it as it is"
        )
    named = Path(quantization.samples) if quantization.samples is not None else None
    sampled = SampledFiles(files.output, files.force, files.data, named, files.random_samples)
    labels = files.labels if labels is None else labels
    if labels is None and (score is not None or max_drop is not None):
        raise UsageError("score and max_drop need labels: pass the labels of the samples")
    samples = samples_for(file, sampled, arrays, labels)
    in_float = quantization.typed_names()
    written: list[Bundle] = []
    failures: list[GateError] = []
    options = ExportOptions(allow_slower=files.allow_slower)
    with onnx_source(name, file, samples, options) as fp32:
        limits = _limits(fp32, files.min_agreement, score, max_drop)
        source = quantized_source(fp32, quantization.calibrator or _CALIBRATOR, in_float)
        for target in outputs:
            source.check(target)  # before the first of several is made
        for target, output in outputs.items():
            console.note(f"{target}: quantizing")
            try:
                written.append(
                    onnx_flow.quantize(source, fp32, target, output, files.force, limits)
                )
            except GateError as error:
                failures.append(error)
            except BmcError:
                for bundle in written:
                    console.note(f"wrote {bundle.path}")
                raise
    return exported(written, failures)


def _limits(
    source: OnnxSource,
    min_agreement: float | None,
    score: ScoreFunction | None,
    max_drop: float | None,
) -> Limits:
    """Return the limits: of the score where samples have labels, else of the agreement."""
    if not source.samples.labels:
        return Limits(_MIN_AGREEMENT if min_agreement is None else min_agreement)
    outputs = source.reference.run(source.samples.calls[0])
    scorer = scorer_of(source.samples, outputs, logits_of(source.file.graph), score)
    return Limits(min_agreement, scorer, _MAX_DROP if max_drop is None else max_drop)
