"""PyTorch on the CPU, the reference that other targets are compared with.

A bundle of this target holds the model directory that it was exported from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

from bmc import artifact
from bmc._telemetry import no_temporary_files
from bmc.bundle import Bundle
from bmc.contracts import Runtime
from bmc.model import output_of
from bmc.targets import Arrays, Availability, BaseSession, RuntimeOptions, cannot_run

_IMPORTED_BY = os.getpid()


def available() -> Availability:
    """Return the installed version of PyTorch, and its devices."""
    gpu = ("cuda",) if torch.cuda.is_available() else ()
    return Availability(torch.__version__, ("CPU", *gpu))


def load(bundle: Bundle, options: RuntimeOptions) -> PyTorchSession:
    """Load a bundle's model directory."""
    return PyTorchSession(bundle, options)


class PyTorchSession(BaseSession):
    """An eager module on the CPU; PyTorch has its number of threads while it runs."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        if os.getpid() != _IMPORTED_BY:
            _one_thread()
        self._threads = options.threads if os.getpid() == _IMPORTED_BY else 1
        self._bundle = bundle
        with no_temporary_files():
            self._module = artifact.load(bundle.model_path).module.eval()
        self._dtype = torch.bfloat16 if options.precision == "bf16" else None
        self.execution = {
            "device": "CPU",
            "threads": self._threads or torch.get_num_threads(),
            "precision": options.precision,
        }

    @torch.inference_mode()
    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute the logits for named input arrays."""
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        try:
            with (
                _threads(self._threads),
                torch.autocast("cpu", self._dtype, enabled=self._dtype is not None),
            ):
                outputs = output_of(self._module, tensors)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise cannot_run(self._bundle, error) from error
        return {self._bundle.manifest.outputs[0].name: outputs.float().numpy()}

    def after_fork(self) -> bool:
        """Keep the module in a forked child, with one thread."""
        _one_thread()
        self._threads = self.execution["threads"] = 1
        return True


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch compute with a number of threads while the block runs; 0 leaves it as it is."""
    before = torch.get_num_threads()
    if count in (0, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_thread() -> None:
    """Compute in the calling thread alone.

    After a fork, OpenMP in the child would wait for ever for the parent's threads.
    """
    torch.set_num_threads(1)


RUNTIME = Runtime(available=available, load=load)
