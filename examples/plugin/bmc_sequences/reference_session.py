"""Run a bundle with ONNX's reference implementation."""

from __future__ import annotations

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from bmc.bundle import Bundle
from bmc.contracts import Runtime
from bmc.errors import ArtifactError, SettingError, reason_of
from bmc.targets import Arrays, Availability, BaseSession, RuntimeOptions, cannot_run, check_names


def available() -> Availability:
    """Return the installed version of onnx, and the device."""
    return Availability(onnx.__version__, ("CPU",))


def load(bundle: Bundle, options: RuntimeOptions) -> ReferenceSession:
    """Load a bundle's ONNX file.

    Raises:
        ArtifactError: the file is not an ONNX file, or has an operator of another domain.
        SettingError: the options have another precision than f32.
    """
    if options.precision != "f32":
        raise SettingError(f"onnx-reference computes as the file says, not in {options.precision}")
    return ReferenceSession(bundle)


class ReferenceSession(BaseSession):
    """A session with an evaluator that has no state, so threads can share it."""

    def __init__(self, bundle: Bundle) -> None:
        try:
            self._evaluator = ReferenceEvaluator(str(bundle.model_path))
        except Exception as error:  # onnx raises errors of many kinds
            raise ArtifactError(
                f"onnx cannot load {bundle.model_path}: {reason_of(error)}"
            ) from error
        self._bundle = bundle
        self._outputs = list(self._evaluator.output_names)
        check_names(bundle, self._evaluator.input_names, self._outputs)
        self.execution: dict[str, Any] = {
            "device": "CPU",
            "threads": 1,
            "precision": bundle.manifest.precision,
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays."""
        try:
            outputs = self._evaluator.run(self._outputs, dict(inputs))
        except Exception as error:  # numpy and onnx raise errors of many kinds
            raise cannot_run(self._bundle, error) from error
        return dict(zip(self._outputs, outputs, strict=True))


RUNTIME = Runtime(available=available, load=load)
