"""The source of an export: an ONNX file of another tool, with samples of its inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx_ir
from onnx_ir.passes import common
from onnxscript import version_converter

from bmc.contracts.targets import TARGETS, dialect_of
from bmc.errors import ExportError, UsageError, reason_of
from bmc.export import ExportOptions
from bmc.export.graph_files import save_graph
from bmc.inputs import TensorInfo
from bmc.inputs.tensors import TensorsEncoder
from bmc.onnx_models.precision import precision_of
from bmc.onnx_models.reading import OnnxFile
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Samples
from bmc.onnx_models.signature import Signature, signature_of
from bmc.writing import scratch


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
    """

    name: str
    file: OnnxFile
    samples: Samples
    reference: Reference
    signature: Signature
    options: ExportOptions
    work: Path

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
        model = self.file.model.clone()
        if self.options.opset is not None and self.options.opset != self.file.opset:
            convert(model, self.options.opset, self.file.path)
        common.ClearMetadataAndDocStringPass()(model)
        return model

    @property
    def opset(self) -> int:
        """The version of the ONNX operators."""
        return self.graph.opset_imports.get("", self.file.opset)

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


def convert(model: onnx_ir.Model, opset: int, path: Path) -> None:
    """Convert a graph to another opset, in place.

    Args:
        model: the graph.
        opset: version of the ONNX operators.
        path: the file of the graph, for messages.

    Raises:
        ExportError: an operator has no equivalent in that opset.
    """
    before = model.opset_imports.get("")
    try:
        version_converter.convert_version(model, opset, fallback=True)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ExportError(
            f"{path} cannot be converted from opset {before} to {opset}: {reason_of(error)}; leave "
            "--opset out"
        ) from error
    if model.opset_imports.get("") != opset:
        raise ExportError(
            f"{path} cannot be converted from opset {before} to {opset}; leave --opset out"
        )


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
