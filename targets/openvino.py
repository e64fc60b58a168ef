"""OpenVINO on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import openvino
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.contracts import Runtime
from bmc.errors import ArtifactError, reason_of
from bmc.inputs import TensorInfo
from bmc.targets import (
    Arrays,
    Availability,
    Closing,
    RuntimeOptions,
    cannot_run,
    check_names,
    refuse_forked_child,
)
from bmc.targets.pool import Pool

_IMPORTED_BY = os.getpid()
# One stream computes one request at a time; a second is filled and read out meanwhile.
_REQUESTS = 2


def available() -> Availability:
    """Say which version of OpenVINO is here."""
    version = openvino.__version__.partition("-")[0]
    return Availability(version, ("CPU",))


def load(bundle: Bundle, options: RuntimeOptions) -> OpenVinoSession:
    """Load and compile a bundle's IR.

    Raises:
        ArtifactError: OpenVINO cannot load the file.
        UsageError: this process was forked from one that had imported OpenVINO.
    """
    refuse_forked_child(bundle, _IMPORTED_BY, "OpenVINO")
    return OpenVinoSession(bundle, options)


class OpenVinoSession(Closing):
    """A compiled model with a pool of requests: a request serves one caller at a time.

    The precision hint is always set: left alone, OpenVINO runs fp32 files in bf16 where the
    processor can, and a latency would be reported for something that was not asked for.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": options.precision,
        }
        if options.threads:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        try:
            compiled = openvino.Core().compile_model(str(bundle.model_path), "CPU", settings)
        except RuntimeError as error:
            why = reason_of(error, line=-1)
            raise ArtifactError(f"OpenVINO cannot load {bundle.model_path}: {why}") from error
        self._requests = Pool(compiled.create_infer_request, _REQUESTS)
        self._bundle = bundle
        self._outputs = _names(compiled.outputs, bundle.manifest.outputs)
        check_names(bundle, _names(compiled.inputs, bundle.manifest.inputs), self._outputs)
        rest = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        held = bundle.manifest.precision
        self.execution = {
            "device": "CPU",
            "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
            "precision": rest if held == "fp32" else f"{held}, the rest {rest}",
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""
        with self._requests.borrowed() as request:
            try:
                request.infer(dict(inputs), share_inputs=True)
            except RuntimeError as error:
                raise cannot_run(self._bundle, error) from error
            return {  # copies, made before the next caller's answers take their place
                name: request.get_output_tensor(number).data.copy()
                for number, name in enumerate(self._outputs)
            }


def _names(tensors: Iterable[Any], said: Iterable[TensorInfo]) -> list[str]:
    """Return tensors' names, the manifest's where one has several: OpenVINO left a cast out."""
    known = {info.name for info in said}
    return [next(iter(one.get_names() & known), one.get_any_name()) for one in tensors]


RUNTIME = Runtime(available=available, load=load)
