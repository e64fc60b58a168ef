"""OpenVINO on the CPU."""

from __future__ import annotations

from typing import Any

import openvino
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.errors import ArtifactError
from bmc.targets import (
    Arrays,
    Availability,
    Closing,
    RuntimeOptions,
    cannot_run,
    check_names,
)


class OpenVinoTarget:
    """Load OpenVINO IR (.xml and .bin) on the CPU."""

    def available(self) -> Availability:
        """Say which version of OpenVINO is here."""
        version = openvino.__version__.partition("-")[0]
        return Availability(version, ("CPU",))

    def load(self, bundle: Bundle, options: RuntimeOptions) -> OpenVinoSession:
        """Load and compile a bundle's IR.

        Raises:
            ArtifactError: OpenVINO cannot load the file.
        """
        return OpenVinoSession(bundle, options)


class OpenVinoSession(Closing):
    """A compiled model with one request.

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
            first = str(error).strip().splitlines()[-1]
            raise ArtifactError(f"OpenVINO cannot load {bundle.model_path}: {first}") from error
        self._request = compiled.create_infer_request()
        self._bundle = bundle
        # A tensor has several names where OpenVINO left a cast out.
        said = {info.name for info in bundle.manifest.outputs}
        self._outputs = [
            next(iter(output.get_names() & said), output.get_any_name())
            for output in compiled.outputs
        ]
        check_names(bundle, [given.get_any_name() for given in compiled.inputs], self._outputs)
        self.execution = {
            "device": "CPU",
            "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
            "precision": compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""
        try:
            self._request.infer(dict(inputs), share_inputs=True)
        except RuntimeError as error:
            raise cannot_run(self._bundle, error) from error
        return {
            name: self._request.get_output_tensor(number).data.copy()
            for number, name in enumerate(self._outputs)
        }


TARGET = OpenVinoTarget()
