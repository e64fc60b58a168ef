"""Read an ONNX file of another tool: bounded, and nothing outside its folder."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
import onnx_ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir import DataType
from onnx_ir.passes import common

from bmc.arrays import DTYPES
from bmc.errors import ArtifactError, UsageError, reason_of
from bmc.onnx_files import external_files
from bmc.onnx_models.functions import inline
from bmc.onnx_models.sparse import make_dense
from bmc.untrusted import open_regular

MAX_BYTES = 2 << 30
"""Bytes of an ONNX file without its external data; protobuf has no larger messages."""
_MAX_TENSORS = 16  # inputs or outputs of a bundle
_STANDARD = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_WHAT = "ONNX file"
_UNREADABLE = (DecodeError, ValueError, TypeError, LookupError, OSError, RuntimeError)
_WEIGHTS = (DataType.INT8, DataType.UINT8, DataType.INT4, DataType.UINT4)


@dataclass(frozen=True)
class Declared:
    """An input or output as the file declares it.

    Args:
        name: name of the tensor.
        dtype: name of its numpy dtype.
        shape: size of each axis; a name for a dynamic axis; None where the file declares no rank.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file and its graph; external data is mapped into memory, not copied.

    Args:
        path: path of the file.
        model: the graph.
        external: the files of external data, beside the file.
        had_functions: whether the graph has the nodes of functions that the file has.
    """

    path: Path
    model: onnx_ir.Model
    external: tuple[Path, ...] = ()
    had_functions: bool = False

    @property
    def graph(self) -> onnx_ir.Graph:
        """The main graph."""
        return self.model.graph

    @cached_property
    def inputs(self) -> tuple[Declared, ...]:
        """The inputs that a caller must pass; initializers that are listed as inputs are left out.

        Raises:
            UsageError: bmc has no bundle for inputs of this type or number.
        """
        graph = self.graph
        inputs = [value for value in graph.inputs if value.name not in graph.initializers]
        return _declared(self.path, "input", inputs)

    @cached_property
    def outputs(self) -> tuple[Declared, ...]:
        """The outputs.

        Raises:
            UsageError: bmc has no bundle for outputs of this type or number.
        """
        return _declared(self.path, "output", self.graph.outputs)

    @property
    def opset(self) -> int:
        """Version of the standard operators; 0 for a file that uses none."""
        imports = self.model.opset_imports
        return imports.get("", imports.get("ai.onnx", 0))

    def weights(self) -> Mapping[str, onnx_ir.TensorProtocol]:
        """Return the weights by name: constants of floats, or of integers of at most 8 bits."""
        return weights_of(self.model)


def read(path: Path) -> OnnxFile:
    """Read an ONNX file of another tool.

    Raises:
        ArtifactError: the file is not an ONNX file, is cut, or names external data that is missing
            or lies outside its folder.
        UsageError: the file has operators that no runtime of bmc has.
    """
    external = _external(path)
    try:
        proto = onnx.load(path, load_external_data=False)
        _refuse_maps(path, proto)
        make_dense(proto, path)
        model = onnx_ir.from_proto(proto)
        has_functions = inline(model)
        for graph in (model.graph, *(each.graph for each in model.functions.values())):
            onnx_ir.external_data.set_base_dir(graph, path.parent)
        _lift_external(model)
    except _UNREADABLE as error:
        raise ArtifactError(f"{path} is not a readable ONNX file: {reason_of(error)}") from error
    if not len(model.graph) and not model.graph.outputs:
        raise ArtifactError(f"{path} is not a readable ONNX file: it has no operators")
    _check_external(path, model)
    _check_operators(path, model)
    _check_values(path, model.graph)
    return OnnxFile(path, model, external, has_functions)


def constant_of(value: onnx_ir.Value | None) -> onnx_ir.TensorProtocol | None:
    """Return the constant that a value is: an initializer, or the output of a Constant node."""
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value
    node = value.producer()
    if node is None or node.op_type != "Constant" or "value" not in node.attributes:
        return None
    return node.attributes["value"].as_tensor()


def weights_of(model: onnx_ir.Model) -> Mapping[str, onnx_ir.TensorProtocol]:
    """Return the weights by name: constants of floats, or of integers of at most 8 bits.

    Graphs inside If, Loop and Scan may use a name that others use; there it gets an apostrophe.
    """
    weights: dict[str, onnx_ir.TensorProtocol] = {}
    for graph in _graphs(model):
        constants = [node.outputs[0] for node in graph if node.op_type == "Constant"]
        for value in (*graph.initializers.values(), *constants):
            tensor, name = constant_of(value), str(value.name)
            if tensor is not None and is_weight(tensor):
                while name in weights:
                    name += "'"
                weights[name] = tensor
    return weights


def name_of_node(node: onnx_ir.Node, index: int) -> str:
    """Return a node's name; one without a name is called after its operator and its index."""
    return node.name or f"{node.op_type}_{index}"


def name_nodes(model: onnx_ir.Model) -> None:
    """Give unnamed nodes of the main graph, in place, the names that `name_of_node` returns."""
    taken = {node.name for node in model.graph}
    for index, node in enumerate(model.graph):
        if (name := name_of_node(node, index)) not in taken:
            node.name = name


def is_weight(tensor: onnx_ir.TensorProtocol) -> bool:
    """Tell whether a constant counts as a weight: indices, shapes and scalars do not."""
    return bool(tensor.shape) and (tensor.dtype.is_floating_point() or tensor.dtype in _WEIGHTS)


def all_nodes(model: onnx_ir.Model) -> Iterator[onnx_ir.Node]:
    """Yield the nodes of the main graph, and of the graphs inside If, Loop and Scan."""
    return iter(onnx_ir.traversal.RecursiveGraphIterator(model.graph))


def _graphs(model: onnx_ir.Model) -> list[onnx_ir.Graph]:
    """Return the main graph, and the graphs inside its nodes."""
    graphs = [model.graph, *(node.graph for node in all_nodes(model) if node.graph is not None)]
    return list({id(graph): graph for graph in graphs}.values())


def _external(path: Path) -> tuple[Path, ...]:
    """Return the files of external data; none may lie outside the folder, or be a link."""
    with open_regular(path, _WHAT, MAX_BYTES, links=True) as file:
        if not file.read(1):
            raise ArtifactError(f"{path} is not a readable ONNX file: it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                locations = sorted(external_files(content))
            except ValueError as error:
                raise ArtifactError(f"{path} is not a readable ONNX file: {error}") from error
    files = []
    for location in locations:
        parts = (PurePosixPath(location), PureWindowsPath(location))
        is_name = location and "\0" not in location
        if not is_name or any(part.is_absolute() or ".." in part.parts for part in parts):
            raise ArtifactError(
                f"{path} reads weights from {location!r:.80}, outside its folder: move them there"
            )
        file_path = path.parent / location
        if file_path.is_symlink():
            raise ArtifactError(
                f"{path}: external data: {file_path} is a link, and links are not followed; "
                f"refused. Copy the folder with the files themselves: cp -rL {path.parent} COPY"
            )
        if not file_path.parent.resolve().is_relative_to(path.parent.resolve()):
            raise ArtifactError(
                f"{path} reads weights from {location!r:.80}, which a link leads outside its "
                "folder; refused"
            )
        with open_regular(file_path, f"{path}: external data") as data:
            if os.fstat(data.fileno()).st_nlink > 1:  # onnx_ir refuses it when it reads a weight
                raise ArtifactError(
                    f"{path}: external data: {file_path} has other names (hard links), and is not "
                    f"read; refused. Copy the folder: cp -r {path.parent} COPY"
                )
            files.append(file_path)
    return tuple(files)


def _lift_external(model: onnx_ir.Model) -> None:
    """Make initializers of Constant nodes with external data, in place: the others are saved."""
    constants = [node for node in all_nodes(model) if node.op_type == "Constant"]
    if any(isinstance(constant_of(node.outputs[0]), onnx_ir.ExternalTensor) for node in constants):
        common.LiftConstantsToInitializersPass(size_limit=0)(model)


def _refuse_maps(path: Path, model: onnx.ModelProto) -> None:
    """Refuse inputs and outputs that are maps, which onnx_ir does not read."""
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            data_type = value.type
            while data_type.WhichOneof("value") in ("sequence_type", "optional_type"):
                data_type = getattr(data_type, data_type.WhichOneof("value")).elem_type
            if data_type.WhichOneof("value") == "map_type":
                raise _no_tensor(path, kind, value.name)


def _no_tensor(path: Path, kind: str, name: str) -> UsageError:
    return UsageError(
        f"{path}: {kind} {name!r} is not a tensor, and a bundle takes tensors only; export the "
        "model with tensors (skl2onnx: options={'zipmap': False})"
    )


def _check_external(path: Path, model: onnx_ir.Model) -> None:
    """Refuse external data that ends before its tensors do."""
    for graph in _graphs(model):
        for tensor in (value.const_value for value in graph.initializers.values()):
            if not isinstance(tensor, onnx_ir.ExternalTensor):
                continue
            end, size = (tensor.offset or 0) + tensor.nbytes, Path(tensor.path).stat().st_size
            if end > size:
                raise ArtifactError(
                    f"{path}: external data: {tensor.path} is cut: {tensor.name!r:.80} ends at "
                    f"byte {end:,}, and the file has {size:,}; copy it again"
                )


def _check_operators(path: Path, model: onnx_ir.Model) -> None:
    own = {(function.domain, function.name) for function in model.functions.values()}
    for node in all_nodes(model):
        if node.domain not in _STANDARD and (node.domain, node.op_type) not in own:
            raise UsageError(
                f"{path} has the custom operator {node.domain}:{node.op_type} "
                f"({node.name or 'unnamed'}), which no target of bmc runs; export the model with "
                "standard operators"
            )


def _check_values(path: Path, graph: onnx_ir.Graph) -> None:
    """Refuse values that come from nowhere."""
    known = {id(value) for value in (*graph.inputs, *graph.initializers.values())}
    for node in graph:
        for value in node.inputs:
            if value is not None and value.producer() is None and id(value) not in known:
                raise ArtifactError(
                    f"{path} is not a readable ONNX file: node {node.name!r:.80} reads "
                    f"{str(value.name)!r:.80}, which nothing computes"
                )


def _declared(path: Path, kind: str, values: Iterable[onnx_ir.Value]) -> tuple[Declared, ...]:
    declared = [_describe(path, kind, value) for value in values]
    if not 1 <= len(declared) <= _MAX_TENSORS:
        raise UsageError(
            f"{path} has {len(declared)} {kind}s; a bundle takes 1 to {_MAX_TENSORS}: export the "
            "model with that many"
        )
    return tuple(declared)


def _describe(path: Path, kind: str, value: onnx_ir.Value) -> Declared:
    name, data_type = str(value.name), value.type
    if not isinstance(data_type, onnx_ir.TensorType):
        raise _no_tensor(path, kind, name)
    dtype = "text" if data_type.dtype == DataType.STRING else _dtype_name(data_type.dtype)
    if dtype not in DTYPES:
        raise UsageError(
            f"{path}: {kind} {name!r} is {dtype}, and a bundle takes numeric tensors only "
            f"({', '.join(DTYPES)}); export the model with numbers there"
        )
    if value.shape is None:
        return Declared(name, dtype, None)
    sizes = tuple(
        size if isinstance(size, int) and size >= 0 else _axis_name(size, name, index)
        for index, size in enumerate(value.shape)
    )
    return Declared(name, dtype, sizes)


def _axis_name(size: int | onnx_ir.SymbolicDim, tensor: str, index: int) -> str:
    """Return the name of a dynamic axis, which old exporters write as -1."""
    named = not isinstance(size, int) and size.value
    return str(named) if named else f"{tensor}_{index}"


def _dtype_name(dtype: DataType) -> str:
    try:
        return np.dtype(dtype.numpy()).name
    except TypeError:
        return dtype.name.lower()
