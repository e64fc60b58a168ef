"""Prune or share the weights of an ONNX file of another tool, and write its bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir

from bmc import workspace
from bmc.errors import UsageError
from bmc.export import ExportOptions, onnx_flow
from bmc.export.onnx_source import compressed_source, onnx_source
from bmc.onnx_models.finding import name_of
from bmc.workflows.bundles import Exported, check_targets, exported, outputs_for, write_each
from bmc.workflows.onnx_files import InMemory, fp32_file
from bmc.workflows.onnx_quantize import DEFAULT_TARGETS, limits_of
from bmc.workflows.onnx_samples import may_have_labels, no_labels, samples_for
from bmc.workflows.options import CompressedFiles, SampledFiles
from bmc.workflows.tuning import Tuning

Change = Callable[[onnx_ir.Model], dict[str, Any]]


def compress_file(
    path: Path,
    step: str,
    change: Change,
    files: CompressedFiles,
    samples: InMemory = InMemory(),
    max_drop: float | None = None,
) -> Exported:
    """Change the weights of an ONNX file, and write a bundle for each target.

    Args:
        path: the ONNX file.
        step: kind and method, such as "prune/unstructured".
        change: function that changes a graph in place, and returns the record of the step.
        files: samples, targets, limits, and the output folder for a single target; the default is
            NAME-METHOD-TARGET in the workspace.
        samples: samples, labels and score in memory.
        max_drop: points of the score of labeled samples that may be lost; 1 when None.

    Raises:
        UsageError: there are no samples, the file is quantized, or there is nothing to change.
        GateError: a bundle answers too differently; it is kept as NAME.failed.
    """
    targets, name, method = files.target or DEFAULT_TARGETS, name_of(path), step.partition("/")[2]
    check_targets(targets, files.output)
    folder = f"{workspace.slug(name)}-{method}"
    outputs = outputs_for(targets, folder, files.output, files.force)
    file = fp32_file(path, f"bmc {step.partition('/')[0]} comes before a quantization")
    sampled = SampledFiles(
        data=files.data,
        samples=files.samples,
        random_samples=files.random_samples,
        preprocess=files.preprocess,
    )
    labels = files.labels if samples.labels is None else samples.labels
    rows = samples_for(file, sampled, samples.arrays, labels)
    with onnx_source(name, file, rows, ExportOptions()) as original:
        limits = limits_of(original, files.min_agreement, samples.score, max_drop)
        source = compressed_source(original, step, change)
        return exported(
            *write_each(
                outputs,
                f"{method}, writing",
                source.check,
                lambda target, output: onnx_flow.export(
                    source, target, output, files.force, limits
                ),
            )
        )


def refuse_training(path: Path, tuning: Tuning, files: CompressedFiles, samples: InMemory) -> None:
    """Refuse settings of a training, and a limit of the score without labels.

    Raises:
        UsageError: such a setting is not its default.
    """
    if replace(tuning, max_drop=None) != Tuning():
        raise UsageError(f"{path} is an ONNX file, which is not trained: leave its options out")
    has_labels = files.labels is not None or samples.labels is not None
    if tuning.max_drop is not None and not has_labels and not may_have_labels(files.samples):
        raise no_labels(path)
