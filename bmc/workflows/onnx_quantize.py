"""Quantize an ONNX file of another tool to 8 bits, and write its bundles."""

from __future__ import annotations

from pathlib import Path

from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.contracts.targets import exporter_of
from bmc.errors import BmcError, GateError, UsageError
from bmc.export import ExportOptions, onnx_flow
from bmc.export.onnx_source import onnx_source, quantized_source
from bmc.onnx_models.finding import name_of
from bmc.onnx_models.precision import precision_of
from bmc.onnx_models.reading import read
from bmc.workflows.export import Exported, check_targets, exported
from bmc.workflows.onnx_files import Arrays, samples_for
from bmc.workflows.options import Quantization, QuantizedFiles, SampledFiles
from bmc.workflows.outputs import refuse_output

DEFAULT_TARGETS = ("onnx",)
_MIN_AGREEMENT = 0.99
_CALIBRATOR = "mse"


def quantize_file(
    path: Path,
    quantization: Quantization,
    files: QuantizedFiles,
    arrays: Arrays | None = None,
) -> Exported:
    """Quantize an ONNX file on samples, and write a bundle for each target.

    Args:
        path: the ONNX file.
        quantization: samples, calibrator, and layers to leave in float.
        files: targets, limits, and the output folder for a single target; the default is
            NAME-int8-TARGET in the workspace.
        arrays: samples in memory, in place of a path.

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
    samples = samples_for(file, sampled, arrays)
    least = _MIN_AGREEMENT if files.min_agreement is None else files.min_agreement
    in_float = quantization.typed_names()
    written: list[Bundle] = []
    failures: list[GateError] = []
    options = ExportOptions(allow_slower=files.allow_slower)
    with onnx_source(name, file, samples, options) as fp32:
        source = quantized_source(fp32, quantization.calibrator or _CALIBRATOR, in_float)
        for target in outputs:
            source.check(target)  # before the first of several is made
        for target, output in outputs.items():
            console.note(f"{target}: quantizing")
            try:
                written.append(onnx_flow.quantize(source, fp32, target, output, files.force, least))
            except GateError as error:
                failures.append(error)
            except BmcError:
                for bundle in written:
                    console.note(f"wrote {bundle.path}")
                raise
    return exported(written, failures)
