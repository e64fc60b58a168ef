"""What verbs do with an ONNX file of another tool: read it, its samples, export it, inspect it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx_ir import DataType

from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.errors import GateError, UsageError
from bmc.export import ExportOptions, onnx_flow
from bmc.export.onnx_scores import ScoreFunction
from bmc.export.onnx_source import onnx_source
from bmc.inspect.settings import InspectSettings
from bmc.onnx_models.batches import with_batch
from bmc.onnx_models.costs import OnnxCosts, costs_of
from bmc.onnx_models.finding import name_of
from bmc.onnx_models.precision import precision_of, quantized_operators
from bmc.onnx_models.reading import Declared, OnnxFile, all_nodes, read
from bmc.workflows.bundles import outputs_for, write_each
from bmc.workflows.onnx_samples import SamplesInMemory, samples_for
from bmc.workflows.options import Files, SampledFiles


@dataclass(frozen=True)
class InMemory:
    """Samples that a Python caller passes in place of files.

    Args:
        arrays: samples by input name, or an iterable of them; None where a path is named.
        labels: labels of the samples, or the name of their array; None for the option's.
        score: score function of the user, in place of accuracy or R2.
    """

    arrays: SamplesInMemory | None = None
    labels: NDArray[Any] | str | None = None
    score: ScoreFunction | None = None


@dataclass(frozen=True)
class InspectedOnnx:
    """An ONNX file of another tool: what it takes, returns, holds and costs.

    Args:
        path: the file.
        producer: name and version of the tool that wrote it.
        opsets: version of the operators of each domain.
        inputs: inputs that a caller passes.
        outputs: outputs.
        operators: number of nodes of each operator, those inside If, Loop and Scan included.
        parameters: number of weights; a shared weight counts once.
        bytes: size of the weights.
        precision: precision of the file, a key of `bmc.precision.PRECISIONS`.
        quantized: number of nodes of each operator that quantizes or computes with integers.
        costs: costs by layer.
    """

    path: Path
    producer: str
    opsets: Mapping[str, int]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    operators: Mapping[str, int]
    parameters: int
    bytes: int
    precision: str
    quantized: Mapping[str, int]
    costs: OnnxCosts


def inspect_file(
    path: Path,
    settings: InspectSettings = InspectSettings(),
    files: Files = Files(),
) -> InspectedOnnx:
    """Describe an ONNX file, and run it once on generated inputs for its costs by layer.

    Raises:
        UsageError: an option is set that only models with training data have.
        ArtifactError: the file is damaged.
    """
    if settings != InspectSettings() or files.data or files.output:
        raise UsageError(
            f"{path} is an ONNX file, which has no training data and gets no page: leave out "
            "--sensitivity, --length, --rows, --examples, --data and --output"
        )
    file = read(path)
    weights = file.weights()
    unique = {id(tensor): tensor for tensor in weights.values()}.values()
    return InspectedOnnx(
        path=path,
        producer=f"{file.model.producer_name or ''} {file.model.producer_version or ''}".strip(),
        opsets={
            domain or "ai.onnx": version for domain, version in file.model.opset_imports.items()
        },
        inputs=file.inputs,
        outputs=file.outputs,
        operators=dict(Counter(node.op_type for node in all_nodes(file.model))),
        parameters=sum(int(tensor.size) for tensor in unique),
        bytes=sum(tensor.nbytes for tensor in unique),
        precision=precision_of(file.model),
        quantized=dict(quantized_operators(file.model)),
        costs=costs_of(file),
    )


def export_file(
    path: Path,
    targets: Sequence[str],
    options: ExportOptions,
    files: SampledFiles,
    arrays: SamplesInMemory | None = None,
) -> tuple[list[Bundle], list[GateError]]:
    """Write a bundle of an ONNX file for each target, and compare its outputs with the file's.

    Args:
        path: the ONNX file.
        targets: names of targets, which exist.
        options: settings of the export.
        files: samples, and the output folder for a single target; the default is NAME-TARGET in the
            workspace.
        arrays: samples in memory, in place of a path.

    Returns:
        the bundles that passed, and the errors of those that failed, which are kept.

    Raises:
        UsageError: there are no samples, or a target cannot execute the file.
        ArtifactError: the file is damaged.
    """
    name = name_of(path)
    outputs = outputs_for(targets, workspace.slug(name), files.output, files.force)
    file = read(path)
    if options.batch is not None:
        file = with_batch(file, options.batch)
    samples = samples_for(file, files, arrays, are_scored=False)
    with onnx_source(name, file, samples, options) as source:
        if source.signature.single:
            console.note(f"bundles have no batch axis: {source.signature.single}")
        if source.precision != "fp32":
            console.note(f"{path} is {source.precision} already; it is exported as it is")
        return write_each(
            outputs,
            "exporting",
            source.check,
            lambda target, output: onnx_flow.export(source, target, output, files.force),
        )


def fp32_file(path: Path, way_out: str) -> OnnxFile:
    """Read an ONNX file whose weights are to be changed.

    Raises:
        UsageError: it is quantized, or in half or double precision.
    """
    file = read(path)
    dtypes = {tensor.dtype for tensor in file.weights().values()}
    if DataType.DOUBLE in dtypes and DataType.FLOAT not in dtypes:
        raise UsageError(
            f"{path} computes in float64, whose layers are not changed; export the model in "
            "float32 (in PyTorch: model.float() before the export)"
        )
    if (precision := precision_of(file.model)) != "fp32":
        raise UsageError(f"{path} is {precision} already; {way_out}")
    return file
