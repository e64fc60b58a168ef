"""TensorRT on an NVIDIA GPU; engines build without one with the RTX flavour.

NVIDIA's full `tensorrt` is taken where it is installed, else `tensorrt-rtx`; both have one API.
The RTX flavour does not run on every GPU: an H100 (compute capability 9.0) needs the full one.
An engine is a cache, tied to a version and (but for RTX) to a GPU: the bundle holds the ONNX file
that it was built from, and `rebuild` makes it again on the device.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc.bundle import Bundle
from bmc.bundle_formats.tensorrt import ENGINE_SOURCE
from bmc.contracts import Runtime
from bmc.errors import ArtifactError, MissingError, StaleEngineError
from bmc.inputs import TensorInfo
from bmc.targets import Arrays, Availability, Closing, RuntimeOptions, refuse_forked_child
from bmc.writing import write_atomically

try:
    import tensorrt as trt
except ModuleNotFoundError:
    import tensorrt_rtx as trt

try:
    from cuda.bindings import runtime as cuda
except ModuleNotFoundError:  # engines still build; running one asks for it by name
    cuda = None

_TYPICAL_LENGTH = 32
RTX = trt.__name__ == "tensorrt_rtx"
_TURING = (7, 5)  # the RTX flavour builds for it only where it is asked to
_SIZES = ("height", "width")  # an image of one pixel is no image
_IMPORTED_BY = os.getpid()
_PRECISIONS = {trt.DataType.HALF: "float16", trt.DataType.BF16: "bfloat16"}


def available() -> Availability:
    """Say which TensorRT is here, and whether there is a GPU to run on."""
    found = gpus()
    why_not = _why_not(found)
    if why_not:
        return Availability(flavour(), (), f"engines are built here; {why_not}")
    return Availability(flavour(), tuple(gpu.name for gpu in found))


def load(bundle: Bundle, options: RuntimeOptions) -> TensorRtSession:
    """Load a bundle's engine.

    Raises:
        MissingError: there is no NVIDIA GPU that can run it, or cuda-bindings is not installed.
        StaleEngineError: the engine was built for another version or GPU.
        UsageError: this process was forked from one that had loaded TensorRT.
    """
    refuse_forked_child(bundle, _IMPORTED_BY, "the NVIDIA driver")
    if cuda is None:
        raise MissingError(
            "running a TensorRT engine needs the package cuda-bindings: "
            "pip install 'bmc-toolkit[tensorrt]'"
        )
    found = gpus()
    why_not = _why_not(found)
    if why_not:
        raise MissingError(f"{bundle.path}: built, not run here: {why_not}")
    return TensorRtSession(bundle, found[0].name)


class TensorRtSession(Closing):
    """A deserialized engine with one context and one stream; its callers take turns."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        _LOG.forget()
        self._runtime = trt.Runtime(_LOG)
        engine = self._runtime.deserialize_cuda_engine(bundle.model_path.read_bytes())
        if engine is None:
            raise StaleEngineError(
                f"{bundle.model_path} was built for another TensorRT or GPU "
                f"({bundle.manifest.build.get('tensorrt')}; {_LOG.first()}): "
                f"bmc check {bundle.path} rebuilds it"
            )
        self._engine = engine
        self._context = engine.create_execution_context()
        self._stream = _call(cuda.cudaStreamCreate())
        self._turn = threading.Lock()
        self._outputs = [info.name for info in bundle.manifest.outputs]
        self._limits = bundle.manifest.build.get("limits", {})
        self.execution = {
            "device": device,
            "threads": 0,
            "precision": bundle.manifest.precision,
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Copy inputs to the GPU, compute, copy the outputs back, wait.

        Raises:
            ArtifactError: a batch or a sequence is larger than the engine was built for.
        """
        with self._turn:
            return self._run(inputs)

    def _run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        held: list[int] = []
        try:
            for name, array in inputs.items():
                if not self._context.set_input_shape(name, array.shape):
                    raise ArtifactError(
                        f"input {name} of shape {array.shape} exceeds the engine's limits "
                        f"({self._limits})"
                    )
                contiguous = np.ascontiguousarray(array)
                address = self._hold(held, contiguous.nbytes, name)
                kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
                _call(cuda.cudaMemcpy(address, contiguous.ctypes.data, contiguous.nbytes, kind))
            outputs: dict[str, NDArray[Any]] = {}
            addresses: dict[str, int] = {}
            for name in self._outputs:
                shape = tuple(self._context.get_tensor_shape(name))
                outputs[name] = np.empty(shape, trt.nptype(self._engine.get_tensor_dtype(name)))
                addresses[name] = self._hold(held, outputs[name].nbytes, name)
            if not self._context.execute_async_v3(int(self._stream)):
                raise ArtifactError("TensorRT could not run the engine; its log says why")
            _call(cuda.cudaStreamSynchronize(self._stream))
            for name, array in outputs.items():
                kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
                _call(cuda.cudaMemcpy(array.ctypes.data, addresses[name], array.nbytes, kind))
            return outputs
        finally:
            for address in held:
                _call(cuda.cudaFree(address))

    def close(self) -> None:
        """Free the context and the stream; the engine goes with the object."""
        with self._turn:
            stream, self._stream, self._context = self._stream, None, None
            if stream is not None:
                _call(cuda.cudaStreamDestroy(stream))

    def _hold(self, held: list[int], size: int, name: str) -> int:
        address = int(_call(cuda.cudaMalloc(max(size, 1))))
        held.append(address)
        self._context.set_tensor_address(name, address)
        return address


def flavour() -> str:
    """Return which TensorRT this is, such as "tensorrt_rtx 1.7.1.116"."""
    return f"{trt.__name__} {trt.__version__}"


def build_engine(path: Path, inputs: Sequence[TensorInfo], limits: Mapping[str, int]) -> bytes:
    """Build an engine from an ONNX file; with the RTX flavour this needs no GPU.

    Args:
        path: the ONNX file; precisions are as it says.
        inputs: its inputs; axes with a name are dynamic.
        limits: largest size of each dynamic axis.

    Raises:
        ArtifactError: TensorRT cannot parse or build the graph.
    """
    builder, network, _parser = _parsed(path)
    profile = builder.create_optimization_profile()
    for info in inputs:
        least, usual, most = (
            [size if isinstance(size, int) else pick(size, limits[size]) for size in info.shape]
            for pick in (_least, _usual, _most)
        )
        profile.set_shape(info.name, least, usual, most)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    if RTX and [gpu.capability for gpu in gpus()[:1]] == [_TURING]:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ArtifactError(f"TensorRT cannot build {path}: {_LOG.first()}")
    return bytes(engine)


def layers_of(path: Path) -> list[tuple[str, str, str]]:
    """Return type, input precision and name of each multiplication of a parsed ONNX file.

    An input that was dequantized counts as int8: TensorRT fuses such a layer with it, or can.
    """
    _, network, _parser = _parsed(path)
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    dequantized = {
        layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE
    }
    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    found = []
    for layer in [one for one in layers if one.type in kinds]:
        read = layer.get_input(0)
        precision = "int8" if read.name in dequantized else _PRECISIONS.get(read.dtype, "float32")
        found.append((layer.type.name, precision, layer.name))
    return found


def _parsed(path: Path) -> tuple[Any, Any, Any]:
    """Return a builder, the network that it parsed from an ONNX file, and the parser."""
    _LOG.forget()
    builder = trt.Builder(_LOG)
    if builder is None:
        raise ArtifactError(f"TensorRT cannot start here: {_LOG.first()}")
    # TensorRT 10 asks for strong typing; 11 and RTX know nothing else.
    flags = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flags is None else 1 << int(flags))
    parser = trt.OnnxParser(network, _LOG)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise ArtifactError(f"TensorRT cannot parse {path}: {(errors or [_LOG.first()])[0]}")
    return builder, network, parser


def _least(axis: str, limit: int) -> int:
    return limit // 4 if axis in _SIZES else 1


def _usual(axis: str, limit: int) -> int:
    if axis in _SIZES:
        return limit // 2  # about the size that the model was trained at
    return 1 if axis == "batch" else min(_TYPICAL_LENGTH, limit)


def _most(axis: str, limit: int) -> int:
    return limit


def rebuild(bundle: Bundle) -> Bundle:
    """Build a bundle's engine again for this device, from the bundle's own ONNX file.

    Raises:
        ArtifactError: the bundle holds no ONNX file, or TensorRT does not take it.
    """
    source = bundle.path / ENGINE_SOURCE
    if not source.is_file():
        raise ArtifactError(f"{bundle.path} holds no {ENGINE_SOURCE} to rebuild its engine from")
    build = bundle.manifest.build
    axes = {size for info in bundle.manifest.inputs for size in info.shape if isinstance(size, str)}
    if not axes <= build.get("limits", {}).keys():
        raise ArtifactError(f"{bundle.path} does not say for which sizes its engine was built")
    engine = build_engine(source, bundle.manifest.inputs, build["limits"])
    write_atomically(bundle.model_path, engine)
    manifest = replace(bundle.manifest, build={**build, "tensorrt": flavour()})
    bundles.write(bundle.path, manifest, bundle.files)
    return bundles.read(bundle.path)


class _Log(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's complaints for our error messages instead of printing them."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: list[str] = []

    def log(self, severity: Any, text: str) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self._errors.append(text)

    def first(self) -> str:
        return self._errors[0] if self._errors else "no reason given"

    def forget(self) -> None:
        self._errors.clear()


_LOG = _Log()  # one for all: TensorRT keeps the first that it is given


@dataclass(frozen=True)
class Gpu:
    """A GPU by name and compute capability."""

    name: str
    capability: tuple[int, int]


def runs_on(capability: tuple[int, int]) -> bool:
    """Tell whether this TensorRT runs on GPUs of a compute capability, such as (8, 6).

    NVIDIA's full TensorRT says itself what it refuses; the RTX flavour names what it was made for,
    and runs on what came later.
    """
    if not RTX:
        return True
    made_for = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    known = {(int(digits[:-1]), int(digits[-1])) for digits in made_for}
    return capability in known or capability > max(known)


def _why_not(found: Sequence[Gpu]) -> str:
    """Say why no engine runs on these GPUs; nothing where the first can."""
    if not found:
        return "running one needs an NVIDIA GPU"
    first = found[0]
    if runs_on(first.capability):
        return ""
    shown = ".".join(str(number) for number in first.capability)
    return (
        f"{trt.__name__} does not run on the GPU here ({first.name}, compute capability {shown}); "
        "NVIDIA's full TensorRT does: pip install tensorrt"
    )


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs of this machine; none where there is no driver."""
    if cuda is None:
        return ()
    try:
        error, count = cuda.cudaGetDeviceCount()
    except RuntimeError:  # the driver's library is not installed
        return ()
    if int(error) != 0:
        return ()
    found = (_call(cuda.cudaGetDeviceProperties(number)) for number in range(count))
    return tuple(Gpu(one.name.decode(), (one.major, one.minor)) for one in found)


def _call(result: Any) -> Any:
    error, *values = result
    if int(error) != 0:
        raise MissingError(f"the NVIDIA driver reports error {int(error)}: see nvidia-smi")
    return values[0] if values else None


RUNTIME = Runtime(available=available, load=load, rebuild=rebuild)
