"""The source of an export: an ONNX file of another tool, with samples of its inputs."""

from __future__ import annotations

import fnmatch
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnx_ir.passes import common
from onnxscript import version_converter

from bmc import console
from bmc.contracts.targets import TARGETS, dialect_of
from bmc.errors import ArtifactError, DataError, ExportError, UsageError, reason_of
from bmc.export import ExportOptions, onnx_qdq
from bmc.export.graph_files import save_graph
from bmc.export.onnx_bias import Errors, mean_errors
from bmc.export.onnx_qdq import Quantized
from bmc.export.onnx_simplify import simplify
from bmc.inputs import TensorInfo
from bmc.inputs.tensors import TensorsEncoder
from bmc.onnx_models.precision import precision_of
from bmc.onnx_models.reading import OnnxFile, name_nodes
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Arrays, Samples
from bmc.onnx_models.signature import Signature, signature_of
from bmc.writing import scratch

ROWS = 16  # of a batch of samples
_CALL_BYTES = 1 << 27  # of a call's inputs and outputs
_MAX_KEPT = 1 << 28  # bytes of the original file's outputs
_LEAST_OPSET = 13  # since then weights have a scale for each channel
# Ends of the names of values that QDQQuantizer and bmc add, each to the name of a tensor,
_ADDED_TO_TENSORS = (
    *("_scale", "_zero_point", "_quantized", "_QuantizeLinear_Output", "_DequantizeLinear_Output"),
    *("_QuantizeLinear_Input", "_shifted", "_shifted_by", "_before_shift", "_rounded"),
    *("_divided", "_divided_factors", "_integers", "_floats", "_scales"),
)
# or to that of a node or of a weight.
_ADDED = (
    *_ADDED_TO_TENSORS,
    *("_shift_bias", "_corrected_bias", "_vector", "_float", "_axis_0", "_axis_1", "_zeros"),
    *("_column", "_transposed", "_switched", "_of_switch"),
)
_WEIGHTS_ARE_NO_INPUTS = 4  # version of the format since which a weight need not be an input


@dataclass(frozen=True)
class ExportedFile:
    """What an exporter reads of an ONNX file.

    Args:
        encoder: the inputs.
        output_tensors: the outputs.
    """

    encoder: TensorsEncoder
    output_tensors: tuple[TensorInfo, ...]

    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of each output."""
        return self.output_tensors


class KeptOutputs:
    """Outputs of the original file by the samples of a call, as far as they are small."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[int, ...], Mapping[str, NDArray[Any]]] = {}
        self._bytes = 0

    def of(self, indices: tuple[int, ...]) -> Mapping[str, NDArray[Any]] | None:
        """Return the outputs for these samples; None where they are not kept."""
        return self._outputs.get(indices)

    def keep(self, indices: tuple[int, ...], outputs: Mapping[str, NDArray[Any]]) -> bool:
        """Keep outputs as long as all of them are small; return whether they are kept."""
        size = sum(array.nbytes for array in outputs.values())
        if self._bytes + size > _MAX_KEPT:
            return False
        self._outputs[indices] = outputs
        self._bytes += size
        return True


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX file to export; results that all targets share are computed once.

    Args:
        name: name of the model.
        file: the ONNX file.
        samples: samples of its inputs.
        reference: a session of the original file.
        signature: what a bundle takes and returns.
        options: the export's options.
        work: scratch folder for ONNX files.
        outputs: outputs of the original file, as far as they were computed and are small.
    """

    name: str
    file: OnnxFile
    samples: Samples
    reference: Reference
    signature: Signature
    options: ExportOptions
    work: Path
    outputs: KeptOutputs = field(default_factory=KeptOutputs, kw_only=True)

    @property
    def model(self) -> ExportedFile:
        """The inputs and outputs."""
        return ExportedFile(self.signature.encoder, self.signature.outputs)

    @property
    def batch(self) -> dict[str, Any]:
        """Entries of `build` for a model that computes one call at a time; empty otherwise."""
        return self.signature.max_batch()

    @cached_property
    def precision(self) -> str:
        """Precision of the file, a key of `bmc.precision.PRECISIONS`."""
        return precision_of(self.file.model)

    @cached_property
    def graph(self) -> onnx_ir.Model:
        """The graph that all targets get: that of the file, in the opset of the options.

        Node metadata is removed: it may contain paths of the machine that wrote the file.

        Raises:
            ExportError: the graph cannot be converted to the opset.
        """
        model = self._model.clone()
        if self.options.opset is not None and self.options.opset != self.file.opset:
            convert(model, self.options.opset, self.file.path, "leave --opset out")
        common.ClearMetadataAndDocStringPass()(model)
        # Old files list weights as inputs, which runtimes then do not fold into other constants.
        common.RemoveInitializersFromInputsPass()(model)
        model.ir_version = max(model.ir_version, _WEIGHTS_ARE_NO_INPUTS)
        if self.options.simplify and (removed := simplify(model)):
            console.note(f"simplified: {', '.join(removed)} folded")
        return model

    @property
    def _model(self) -> onnx_ir.Model:
        """The graph in the opset of the file."""
        return self.file.model

    @property
    def opset(self) -> int:
        """The version of the ONNX operators."""
        return self.graph.opset_imports.get("", self.file.opset)

    def groups(self, largest: int = ROWS) -> Iterator[tuple[int, ...]]:
        """Yield indices of samples that one call computes: rows of the same shapes.

        Args:
            largest: largest number of rows that the bundle computes in a call.
        """
        encoder, calls = self.signature.encoder, self.samples.calls
        is_batched = encoder.has_batch and largest >= ROWS
        alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for index, call in enumerate(calls):
            shapes = tuple(call[info.name].shape for info in encoder.inputs)
            alike.setdefault(shapes, []).append(index)
        for indices in alike.values():
            size = min(ROWS, self._fitting(indices[0])) if is_batched else 1
            for start in range(0, len(indices), size):
                yield tuple(indices[start : start + size])

    def _fitting(self, index: int) -> int:
        """Return how many rows like a sample one call computes with little memory."""
        sizes = (
            sum(array.nbytes for array in self.samples.calls[at].values()) for at in (index, 0)
        )
        taken, first = sizes
        return max(1, int(_CALL_BYTES * first // (self.signature.call_bytes * max(taken, 1))))

    def expected(self, indices: tuple[int, ...]) -> Mapping[str, NDArray[Any]]:
        """Return the original file's outputs for samples in one call; small ones are kept."""
        kept = self.outputs.of(indices)
        if kept is None:
            kept = self.reference.run(self.together(indices))
            self.outputs.keep(indices, kept)
        return kept

    def keep_expected(self, groups: Sequence[tuple[int, ...]]) -> None:
        """Compute the original file's outputs as far as they are kept, and free its session.

        A bundle that runs afterwards need not share the memory with the original file.

        Args:
            groups: indices of the samples of each call.
        """
        missing = [indices for indices in groups if self.outputs.of(indices) is None]
        if missing:
            self._keep(missing)
        self.reference.release()

    def _keep(self, groups: Sequence[tuple[int, ...]]) -> None:
        with console.progress("running the original file", sum(map(len, groups))) as advance:
            for indices in groups:
                self.expected(indices)
                advance(len(indices))
                if self.outputs.of(indices) is None:  # the next ones would not be kept, either
                    break

    def together(self, indices: Sequence[int]) -> Arrays:
        """Return the samples of these indices in one call."""
        calls = [self.samples.calls[index] for index in indices]
        if len(calls) == 1:
            return calls[0]
        return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}

    def check(self, target: str) -> None:
        """Refuse a target that cannot execute the file.

        Raises:
            UsageError: the target reads no ONNX, or cannot execute the file's precision.
        """
        dialects = {name: dialect_of(name) for name in TARGETS.usable()}
        able = [
            name
            for name, dialect in dialects.items()
            if dialect is not None and self.precision not in dialect.unsupported
        ]
        if target not in able:
            reason = "reads no ONNX" if dialect_of(target) is None else f"has no {self.precision}"
            raise UsageError(
                f"{target} {reason}, so it cannot run {self.file.path}; these can: --target "
                f"{','.join(able)}"
            )

    def onnx(self, target: str) -> tuple[Path, dict[str, int]]:
        """Return the ONNX file for a target, and its number of nodes by operator."""
        folder = self.work / target
        folder.mkdir(exist_ok=True)
        path = folder / "model.onnx"
        save_graph(self.graph, path)
        return path, dict(Counter(node.op_type for node in self.graph.graph))


@dataclass(frozen=True)
class QuantizedSource(OnnxSource):
    """An ONNX file that is written with 8-bit layers, in the dialect of each target.

    Args:
        quantized: the prepared graph and the ranges of its activations.
        in_float: names of the nodes that stay in float.
        weight_bits: bits of the weights of layers, 8 or 7.
        bias_errors: mean errors of convolutions by target, as far as they were measured.
    """

    quantized: Quantized
    in_float: tuple[str, ...]
    weight_bits: int = 8
    bias_errors: dict[str, Errors] = field(default_factory=dict, kw_only=True)

    @property
    def precision(self) -> str:
        """Precision of the bundles."""
        return "int8"

    @property
    def opset(self) -> int:
        """The version of the ONNX operators, to which an older file was converted."""
        return max(super().opset, _LEAST_OPSET)

    def file_for(self, target: str) -> Path:
        """Return the path of the quantized ONNX file for a target, which `onnx` writes."""
        return self.work / f"{target}-int8" / "model.onnx"

    def onnx(self, target: str) -> tuple[Path, dict[str, int]]:
        """Return the quantized ONNX file for a target, and its number of nodes by operator."""
        dialect = dialect_of(target)
        if dialect is None:
            raise ValueError(f"the format of {target} has no dialect of ONNX")
        path = self.file_for(target)
        path.parent.mkdir(exist_ok=True)
        if self.quantized.has_convolutions and target not in self.bias_errors:
            # Layers that return to float later do not change the errors of others.
            onnx_qdq.write(self.quantized, self.in_float, dialect, path, self.weight_bits)
            self.bias_errors[target] = self._bias_errors(path)
        errors = self.bias_errors.get(target, {})
        onnx_qdq.write(self.quantized, self.in_float, dialect, path, self.weight_bits, errors)
        model = onnx_ir.load(path)
        common.ClearMetadataAndDocStringPass()(model)
        save_graph(model, path)
        return path, dict(Counter(node.op_type for node in model.graph))

    def _bias_errors(self, path: Path) -> Errors:
        try:
            return mean_errors(self.quantized.path, path, self.samples.calls)
        except (ArtifactError, DataError) as error:
            console.note(f"the biases of convolutions are not corrected: {error}")
            return {}


@dataclass(frozen=True)
class CompressedSource(OnnxSource):
    """An ONNX file whose weights a technique changed.

    Args:
        changed: the graph with changed weights.
        step: kind and method of the technique, such as "prune/unstructured".
        record: what the technique did.
    """

    changed: onnx_ir.Model
    step: str
    record: Mapping[str, Any]

    @property
    def _model(self) -> onnx_ir.Model:
        return self.changed


def compressed_source(
    source: OnnxSource, step: str, change: Callable[[onnx_ir.Model], dict[str, Any]]
) -> CompressedSource:
    """Change the weights of an ONNX file.

    Args:
        source: the original file.
        step: kind and method of the technique.
        change: function that changes a graph in place, and returns the record of the step.
    """
    model = source.file.model.clone()
    record = change(model)
    values = {each.name: getattr(source, each.name) for each in fields(source)}
    return CompressedSource(**values, changed=model, step=step, record=record)


def quantized_source(
    source: OnnxSource,
    calibrator: str,
    in_float: Sequence[str],
    weight_bits: int = 8,
    outlier_threshold: float = 2.0,
) -> QuantizedSource:
    """Calibrate an ONNX file on its samples, and quantize its layers to 8 bits.

    Args:
        source: the file in fp32.
        calibrator: one of `bmc.quantization.observers.CALIBRATORS`.
        in_float: names (fnmatch patterns) of nodes that stay in float.
        weight_bits: bits of the weights of layers, 8 or 7.
        outlier_threshold: see `bmc.export.onnx_outliers.divide_outliers`.

    Raises:
        UsageError: nothing can be quantized, a pattern matches no layer, or there is one sample.
        ExportError: the graph cannot be converted.
    """
    if len(source.samples) < 2:
        raise UsageError(
            f"{source.samples.reference} holds one sample, which does not determine a range; use "
            "at least 2, better 200 or more"
        )
    source.reference.release()  # calibration has a session of its own
    model = source.graph.clone()
    name_nodes(model)
    _free_names(model)
    if 0 < source.opset < _LEAST_OPSET:
        way_out = f"export the model with opset {_LEAST_OPSET} or newer"
        convert(model, _LEAST_OPSET, source.file.path, way_out)
    path = source.work / "float.onnx"
    save_graph(model, path)
    calls = source.samples.calls
    quantized = onnx_qdq.prepare(path, calls, calibrator, source.work, outlier_threshold)
    for pattern in in_float:
        if not fnmatch.filter(quantized.layers, pattern):
            names = ", ".join(quantized.layers[:5])
            raise UsageError(f"--in-float {pattern!r} matches no layer; there are {names}, ...")
    kept = tuple(
        name
        for name in quantized.layers
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in in_float)
    )
    if len(kept) == len(quantized.layers):
        raise UsageError(
            f"--in-float leaves all {len(kept)} layers in float, so nothing would have 8 bits; "
            f"bmc export {source.file.path} takes the file as it is"
        )
    values = {each.name: getattr(source, each.name) for each in fields(source)}
    return QuantizedSource(**values, quantized=quantized, in_float=kept, weight_bits=weight_bits)


def _free_names(model: onnx_ir.Model) -> None:
    """Rename values that are called as what quantization adds to a graph, in place.

    Inputs and outputs keep their names. Where one of them is called so, it is the tensor after
    which it seems to be called that gets another name.

    Raises:
        UsageError: that tensor is an input or output, too.
    """
    graph = model.graph
    outside = {str(value.name): value for value in (*graph.inputs, *graph.outputs)}
    computed = [value for node in graph for value in node.outputs]
    inside = [
        value
        for value in (*computed, *graph.initializers.values())
        if str(value.name) not in outside
    ]
    stems = {
        name.removesuffix(end): (name, end in _ADDED_TO_TENSORS)
        for name in outside
        for end in _ADDED
        if name.endswith(end)
    }
    for value in inside:
        name = str(value.name)
        if name.endswith(_ADDED) or name in stems:
            value.name = f"{name}_of_file"
    for name, (other, is_of_tensor) in stems.items():
        if is_of_tensor and name in outside and outside[name].dtype == onnx_ir.DataType.FLOAT:
            raise UsageError(
                f"{name!r} and {other!r}, inputs or outputs, cannot both keep their names: 8 bits "
                f"add a tensor to {name!r} that may be called as the other; rename one at the "
                "export"
            )


def convert(model: onnx_ir.Model, opset: int, path: Path, way_out: str) -> None:
    """Convert a graph to another opset, in place.

    Args:
        model: the graph.
        opset: version of the ONNX operators.
        path: the file of the graph, for messages.
        way_out: what to do where that fails, for messages.

    Raises:
        ExportError: an operator has no equivalent in that opset.
    """
    before = model.opset_imports.get("")
    if model.functions:
        raise ExportError(
            f"{path} has functions, and cannot be converted from opset {before} to {opset}; "
            f"{way_out}"
        )
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # which converter it takes is no news
    try:
        version_converter.convert_version(model, opset, fallback=True)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ExportError(
            f"{path} cannot be converted from opset {before} to {opset}: {reason_of(error)}; "
            f"{way_out}"
        ) from error
    if model.opset_imports.get("") != opset:
        raise ExportError(f"{path} cannot be converted from opset {before} to {opset}; {way_out}")


@contextmanager
def onnx_source(
    name: str, file: OnnxFile, samples: Samples, options: ExportOptions
) -> Iterator[OnnxSource]:
    """Prepare an ONNX file for export.

    Args:
        name: name of the model.
        file: the ONNX file.
        samples: samples of its inputs.
        options: the export's options.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file.
        DataError: the file cannot compute the samples.
        UsageError: the file draws random numbers.
    """
    reference = Reference(file.path)
    signature = signature_of(file, samples, reference)
    with scratch() as work:
        yield OnnxSource(name, file, samples, reference, signature, options, work)
