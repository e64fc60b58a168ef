"""OpenVINO on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import openvino
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.bundle_formats.openvino import weights_of
from bmc.contracts import Runtime
from bmc.errors import ArtifactError, reason_of
from bmc.inputs import TensorInfo
from bmc.targets import (
    Arrays,
    Availability,
    BaseSession,
    RuntimeOptions,
    cannot_run,
    check_names,
    refuse_forked_child,
)
from bmc.targets.pool import Pool

_IMPORTED_BY = os.getpid()
# One stream computes one request at a time; meanwhile another thread can copy inputs and outputs of
# a second request.
_MAX_REQUESTS = 2


def available() -> Availability:
    """Return the installed version of OpenVINO, and its device."""
    version = openvino.__version__.partition("-")[0]
    return Availability(version, ("CPU",))


def load(bundle: Bundle, options: RuntimeOptions) -> OpenVinoSession:
    """Load and compile a bundle's IR.

    Raises:
        ArtifactError: OpenVINO cannot load the file.
        UsageError: this process was forked from a process that had imported OpenVINO.
    """
    refuse_forked_child(bundle, _IMPORTED_BY, "OpenVINO")
    return OpenVinoSession(bundle, options)


class OpenVinoSession(BaseSession):
    """A compiled model with a pool of inference requests; a request serves one thread at a time.

    The precision hint is always set: without the hint, OpenVINO runs fp32 files in bf16 on
    processors that support bf16, and bmc would report the latency of another precision.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": options.precision,
        }
        if options.threads:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        core = openvino.Core()
        try:
            compiled = core.compile_model(_model(core, bundle), "CPU", settings)
        except RuntimeError as error:
            reason = reason_of(error, line=-1)
            raise ArtifactError(f"OpenVINO cannot load {bundle.model_path}: {reason}") from error
        self._requests = Pool(compiled.create_infer_request, _MAX_REQUESTS)
        self._bundle = bundle
        self._outputs = _names(compiled.outputs, bundle.manifest.outputs)
        check_names(bundle, _names(compiled.inputs, bundle.manifest.inputs), self._outputs)
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        file_precision = bundle.manifest.precision
        self.execution = {
            "device": "CPU",
            "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
            "precision": hint if file_precision == "fp32" else f"{file_precision}, the rest {hint}",
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""
        with self._requests.borrowed() as request:
            try:
                request.infer(dict(inputs), share_inputs=True)
            except RuntimeError as error:
                raise cannot_run(self._bundle, error) from error
            return {  # copies: the next call of the request overwrites its output tensors
                name: request.get_output_tensor(number).data.copy()
                for number, name in enumerate(self._outputs)
            }


def _model(core: openvino.Core, bundle: Bundle) -> Any:
    """Return what OpenVINO compiles: the path of a model, or a packed bundle's model in memory."""
    if bundle.archive is None:
        return str(bundle.model_path)
    name = bundle.manifest.model
    return core.read_model(bundle.read_file(name), bundle.read_file(weights_of(name)))


def _names(tensors: Iterable[Any], infos: Iterable[TensorInfo]) -> list[str]:
    """Return the names of tensors; of a tensor with several names, the name in the manifest.

    A tensor has several names where OpenVINO removed a cast between two tensors.

    Args:
        tensors: inputs or outputs of a compiled model.
        infos: the same tensors in the manifest.
    """
    names = {info.name for info in infos}
    return [next(iter(tensor.get_names() & names), tensor.get_any_name()) for tensor in tensors]


RUNTIME = Runtime(available=available, load=load)
