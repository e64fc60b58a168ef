"""ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.contracts import Runtime
from bmc.errors import ArtifactError, SettingError, reason_of
from bmc.targets import (
    Arrays,
    Availability,
    BaseSession,
    RuntimeOptions,
    cannot_run,
    check_names,
)


def available() -> Availability:
    """Return the installed version of ONNX Runtime, and its device."""
    return Availability(onnxruntime.__version__, ("CPU",))


def load(bundle: Bundle, options: RuntimeOptions) -> OnnxSession:
    """Load a bundle's ONNX file.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file.
        SettingError: `options.precision` is not "f32".
    """
    if options.precision != "f32":
        raise SettingError(
            "the onnx target computes in the precision of the ONNX file; "
            f"precision {options.precision!r} works on the openvino and pytorch targets"
        )
    return OnnxSession(bundle, options)


class OnnxSession(BaseSession):
    """An ONNX Runtime session; several threads may call `run` at the same time.

    `execution["precision"]` is the precision of the ONNX file.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        if bundle.manifest.model.endswith(".ort"):
            # From memory, ONNX Runtime would also load an ONNX file, which may name other files.
            settings.add_session_config_entry("session.load_model_format", "ORT")
        in_memory = bundle.archive is not None
        model = bundle.read_file(bundle.manifest.model) if in_memory else str(bundle.model_path)
        try:
            self._session = onnxruntime.InferenceSession(
                model, settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own classes have no public base
            raise _load_error(bundle, error) from error
        self._bundle = bundle
        self._outputs = [output.name for output in self._session.get_outputs()]
        check_names(bundle, [tensor.name for tensor in self._session.get_inputs()], self._outputs)
        self.execution = {
            "device": "CPU",
            "threads": options.threads,
            "precision": bundle.manifest.precision,
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # ONNX Runtime's own classes have no public base
            raise cannot_run(self._bundle, error) from error
        return dict(zip(self._outputs, values, strict=True))


def _load_error(bundle: Bundle, error: Exception) -> ArtifactError:
    return ArtifactError(f"ONNX Runtime cannot load {bundle.model_path}: {reason_of(error)}")


RUNTIME = Runtime(available=available, load=load)
