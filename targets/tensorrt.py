"""TensorRT on an NVIDIA GPU; TensorRT for RTX also builds engines on machines without a GPU.

bmc imports NVIDIA's full `tensorrt` where it is installed, else `tensorrt-rtx`; both have the same
API. TensorRT for RTX does not run on every GPU: an H100 (compute capability 9.0) needs the full
TensorRT. An engine runs on one version of TensorRT and, with the full TensorRT, on one kind of GPU.
The bundle also holds the ONNX file that the engine was built from, and `rebuild` builds the engine
again on the device.
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
from bmc.targets import Arrays, Availability, BaseSession, RuntimeOptions, refuse_forked_child
from bmc.writing import write_atomically

try:
    import tensorrt as trt
except ModuleNotFoundError:
    import tensorrt_rtx as trt

try:
    from cuda.bindings import runtime as cuda
except ModuleNotFoundError:  # needed only to run engines; `load` raises MissingError without it
    cuda = None

_TYPICAL_LENGTH = 32
RTX = trt.__name__ == "tensorrt_rtx"
_TURING = (7, 5)  # TensorRT for RTX builds for this compute capability only on request
_IMAGE_AXES = ("height", "width")
_IMPORTED_BY = os.getpid()
_PRECISIONS = {trt.DataType.HALF: "float16", trt.DataType.BF16: "bfloat16"}


def available() -> Availability:
    """Return the installed TensorRT, and the GPUs that can run an engine."""
    detected_gpus = gpus()
    reason = _reason_against(detected_gpus)
    if reason:
        return Availability(version(), (), f"engines are built here; {reason}")
    return Availability(version(), tuple(gpu.name for gpu in detected_gpus))


def load(bundle: Bundle, options: RuntimeOptions) -> TensorRtSession:
    """Load a bundle's engine.

    Raises:
        MissingError: there is no NVIDIA GPU that can run it, or cuda-bindings is not installed.
        StaleEngineError: the engine was built for another version or GPU.
        UsageError: this process was forked from a process that had loaded TensorRT.
    """
    refuse_forked_child(bundle, _IMPORTED_BY, "the NVIDIA driver")
    if cuda is None:
        raise MissingError(
            "running a TensorRT engine needs the package cuda-bindings: "
            "pip install 'bmc-toolkit[tensorrt]'"
        )
    detected_gpus = gpus()
    reason = _reason_against(detected_gpus)
    if reason:
        raise MissingError(f"{bundle.path}: built, not run here: {reason}")
    return TensorRtSession(bundle, detected_gpus[0].name)


class TensorRtSession(BaseSession):
    """A deserialized engine with one context and one stream; calls of `run` wait for each other."""

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
        self._lock = threading.Lock()
        self._outputs = [info.name for info in bundle.manifest.outputs]
        self._inputs = {
            info.name: np.dtype(trt.nptype(engine.get_tensor_dtype(info.name)))
            for info in bundle.manifest.inputs
        }
        self._limits = bundle.manifest.build.get("limits", {})
        self.execution = {
            "device": device,
            "threads": 0,
            "precision": bundle.manifest.precision,
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Copy the inputs to the GPU, run the engine, and copy the outputs back.

        Raises:
            ArtifactError: the inputs are not those of the engine, or of other types; or a batch or
                a sequence is larger than the engine was built for.
        """
        self._check(inputs)
        with self._lock:
            return self._run(inputs)

    def _check(self, inputs: Arrays) -> None:
        """Refuse what the engine would read as other numbers: it is given addresses alone."""
        if inputs.keys() != self._inputs.keys():
            raise ArtifactError(
                f"the engine takes the inputs {', '.join(self._inputs)}, and was given "
                f"{', '.join(inputs) or 'none'}"
            )
        for name, array in inputs.items():
            if array.dtype != self._inputs[name]:
                raise ArtifactError(
                    f"input {name} is {array.dtype}; the engine takes {self._inputs[name]}"
                )

    def _run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        buffers: list[int] = []
        try:
            for name, array in inputs.items():
                if not self._context.set_input_shape(name, array.shape):
                    raise ArtifactError(
                        f"input {name} of shape {array.shape} exceeds the engine's limits "
                        f"({self._limits})"
                    )
                contiguous = np.ascontiguousarray(array)
                address = self._allocate(buffers, contiguous.nbytes, name)
                kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
                _call(cuda.cudaMemcpy(address, contiguous.ctypes.data, contiguous.nbytes, kind))
            outputs: dict[str, NDArray[Any]] = {}
            addresses: dict[str, int] = {}
            for name in self._outputs:
                shape = tuple(self._context.get_tensor_shape(name))
                outputs[name] = np.empty(shape, trt.nptype(self._engine.get_tensor_dtype(name)))
                addresses[name] = self._allocate(buffers, outputs[name].nbytes, name)
            if not self._context.execute_async_v3(int(self._stream)):
                raise ArtifactError("TensorRT could not run the engine; its log says why")
            _call(cuda.cudaStreamSynchronize(self._stream))
            for name, array in outputs.items():
                kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
                _call(cuda.cudaMemcpy(array.ctypes.data, addresses[name], array.nbytes, kind))
            return outputs
        finally:
            for address in buffers:
                _call(cuda.cudaFree(address))

    def close(self) -> None:
        """Free the context and the stream; the engine is freed with the session object."""
        with self._lock:
            stream, self._stream, self._context = self._stream, None, None
            if stream is not None:
                _call(cuda.cudaStreamDestroy(stream))

    def _allocate(self, buffers: list[int], size: int, name: str) -> int:
        address = int(_call(cuda.cudaMalloc(max(size, 1))))
        buffers.append(address)
        self._context.set_tensor_address(name, address)
        return address


def version() -> str:
    """Return the name and version of the imported TensorRT, such as "tensorrt_rtx 1.7.1.116"."""
    return f"{trt.__name__} {trt.__version__}"


def build_engine(path: Path, inputs: Sequence[TensorInfo], limits: Mapping[str, int]) -> bytes:
    """Build an engine from an ONNX file; TensorRT for RTX needs no GPU to build.

    Args:
        path: path of the ONNX file, whose types and quantizers set the precision of each layer.
        inputs: the graph's inputs; a named axis is dynamic.
        limits: largest size of each dynamic axis, by the axis' name.

    Raises:
        ArtifactError: TensorRT cannot parse or build the graph.
    """
    builder, network, _parser = _parsed(path)
    profile = builder.create_optimization_profile()
    for info in inputs:
        smallest, typical, largest = (
            [size if isinstance(size, int) else choose(size, limits[size]) for size in info.shape]
            for choose in (_min_size, _typical_size, _max_size)
        )
        profile.set_shape(info.name, smallest, typical, largest)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    if RTX and [gpu.capability for gpu in gpus()[:1]] == [_TURING]:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)
    config.clear_flag(trt.BuilderFlag.TF32)  # a bundle in fp32 multiplies in fp32
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ArtifactError(f"TensorRT cannot build {path}: {_LOG.first()}")
    return bytes(engine)


def layers_of(path: Path) -> list[tuple[str, str, str]]:
    """Return type, input precision and name of each convolution and matrix product of an ONNX file.

    A layer whose input is dequantized counts as int8: TensorRT can fuse the layer with the
    dequantization. What TensorRT really fuses is known only after the engine is built.
    """
    _, network, _parser = _parsed(path)
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    dequantized = {
        layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE
    }
    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    multiplications = []
    for layer in [layer for layer in layers if layer.type in kinds]:
        source = layer.get_input(0)
        precision = (
            "int8" if source.name in dequantized else _PRECISIONS.get(source.dtype, "float32")
        )
        multiplications.append((layer.type.name, precision, layer.name))
    return multiplications


def _parsed(path: Path) -> tuple[Any, Any, Any]:
    """Return a builder, the network that it parsed from an ONNX file, and the parser."""
    _LOG.forget()
    builder = trt.Builder(_LOG)
    if builder is None:
        raise ArtifactError(f"TensorRT cannot start here: {_LOG.first()}")
    # TensorRT 10 needs the flag for strong typing; TensorRT 11 and RTX always type strongly.
    flags = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flags is None else 1 << int(flags))
    parser = trt.OnnxParser(network, _LOG)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise ArtifactError(f"TensorRT cannot parse {path}: {(errors or [_LOG.first()])[0]}")
    return builder, network, parser


def _min_size(axis: str, limit: int) -> int:
    return limit // 4 if axis in _IMAGE_AXES else 1  # networks of images fail on 1 x 1 pixels


def _typical_size(axis: str, limit: int) -> int:
    if axis in _IMAGE_AXES:
        return limit // 2  # about the size of the images in training
    return 1 if axis == "batch" else min(_TYPICAL_LENGTH, limit)


def _max_size(axis: str, limit: int) -> int:
    return limit


def rebuild(bundle: Bundle) -> Bundle:
    """Build a bundle's engine again for this device, from the ONNX file in the bundle.

    Raises:
        ArtifactError: the bundle holds no ONNX file, or TensorRT cannot build the file.
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
    manifest = replace(bundle.manifest, build={**build, "tensorrt": version()})
    bundles.write(bundle.path, manifest, bundle.files)
    return bundles.read(bundle.path)


class _Log(trt.ILogger):  # type: ignore[misc]
    """Keep TensorRT's errors for bmc's error messages, and print none of them."""

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


_LOG = _Log()  # one for the process: TensorRT keeps the first logger and ignores later ones


@dataclass(frozen=True)
class Gpu:
    """A GPU by name and compute capability."""

    name: str
    capability: tuple[int, int]


def runs_on(capability: tuple[int, int]) -> bool:
    """Tell whether this TensorRT runs on GPUs of a compute capability, such as (8, 6).

    NVIDIA's full TensorRT reports an unsupported GPU itself. TensorRT for RTX lists the compute
    capabilities that it supports, and also runs on later GPUs.
    """
    if not RTX:
        return True
    digits = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    supported = {(int(number[:-1]), int(number[-1])) for number in digits}
    return capability in supported or capability > max(supported)


def _reason_against(detected_gpus: Sequence[Gpu]) -> str:
    """Return why the first GPU cannot run an engine; "" when it can."""
    if not detected_gpus:
        return "running one needs an NVIDIA GPU"
    gpu = detected_gpus[0]
    if runs_on(gpu.capability):
        return ""
    capability = ".".join(str(number) for number in gpu.capability)
    return (
        f"{trt.__name__} does not run on the GPU here ({gpu.name}, compute capability "
        f"{capability}); NVIDIA's full TensorRT does: pip install tensorrt"
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
    properties = [_call(cuda.cudaGetDeviceProperties(number)) for number in range(count)]
    return tuple(Gpu(gpu.name.decode(), (gpu.major, gpu.minor)) for gpu in properties)


def _call(result: Any) -> Any:
    """Return the value of a CUDA call's result; raise where the result holds an error number."""
    error, *values = result
    if int(error) != 0:
        raise MissingError(f"the NVIDIA driver reports error {int(error)}: see nvidia-smi")
    return values[0] if values else None


RUNTIME = Runtime(available=available, load=load, rebuild=rebuild)
