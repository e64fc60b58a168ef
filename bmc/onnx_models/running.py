"""Run an ONNX file of another tool in ONNX Runtime, as the reference of its bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from bmc.errors import ArtifactError, DataError, reason_of

Arrays = Mapping[str, NDArray[Any]]


class Reference:
    """A session of the original file, whose memory can be freed between two runs.

    Args:
        path: the ONNX file.
        optimized: whether ONNX Runtime may fuse operators.
        profile: prefix of the file that timings of operators, with one thread, are
            written to; "" for none.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, optimized: bool = True, profile: str = "") -> None:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        # Another runtime computes the same samples meanwhile; idle threads would slow it down.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not optimized:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            settings.graph_optimization_level = level
        if profile:
            settings.enable_profiling = True
            settings.intra_op_num_threads = 1
            settings.profile_file_prefix = profile
        self._path, self._settings = path, settings
        self._session: onnxruntime.InferenceSession | None = None
        self._outputs = [output.name for output in self._loaded().get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the outputs for named input arrays.

        Raises:
            DataError: the file cannot compute these inputs.
        """
        session = self._loaded()
        try:
            values = session.run(self._outputs, dict(inputs))
        except Exception as error:  # ONNX Runtime's own classes have no public base
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise DataError(
                f"{self._path} does not run on these samples ({shapes:.200}): {reason_of(error)}"
            ) from error
        return dict(zip(self._outputs, values, strict=True))

    def release(self) -> None:
        """Free the session, which takes as much memory as the weights; the next run loads it."""
        self._session = None

    def end_profiling(self) -> Path:
        """Return the file of timings."""
        return Path(self._loaded().end_profiling())

    def _loaded(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            try:
                self._session = onnxruntime.InferenceSession(
                    str(self._path), self._settings, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime's own classes have no public base
                raise ArtifactError(
                    f"ONNX Runtime cannot load {self._path}: {reason_of(error)}"
                ) from error
        return self._session
