"""PyTorch on the CPU, the reference that other targets are compared with.

A bundle of this target holds the model directory that it was exported from.
"""

from __future__ import annotations

import os
import threading
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
                _Borrowed.threads(self._threads),
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


class _Borrowed:
    """The threads of the process while sessions with a number of their own run."""

    lock = threading.Lock()
    sessions = 0
    before = 0

    @classmethod
    @contextmanager
    def threads(cls, count: int) -> Iterator[None]:
        """Let PyTorch compute with a number of threads in the block; 0 leaves it as it is."""
        if count in (0, torch.get_num_threads()) and not cls.sessions:
            yield
            return
        with cls.lock:
            if not cls.sessions:
                cls.before = torch.get_num_threads()
            cls.sessions += 1
            torch.set_num_threads(count or cls.before)
        try:
            yield
        finally:
            with cls.lock:
                cls.sessions -= 1
                if not cls.sessions:
                    torch.set_num_threads(cls.before)


def _one_thread() -> None:
    """Compute in the calling thread alone.

    After a fork, OpenMP in the child would wait for ever for the parent's threads, and a lock that
    one of them held would stay held.
    """
    _Borrowed.lock, _Borrowed.sessions = threading.Lock(), 0
    torch.set_num_threads(1)


RUNTIME = Runtime(available=available, load=load)
