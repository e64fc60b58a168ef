"""The device and the precision of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bmc import processes
from bmc.contracts.tasks import task
from bmc.errors import MissingError


def device_of(name: str) -> torch.device:
    """Return the torch device that a setting names; of several processes each has a GPU.

    Args:
        name: "cpu", "cuda", or "auto": a GPU if there is one, else the CPU.

    Raises:
        MissingError: the name is "cuda", and torch has no GPU; or there are fewer GPUs than
            processes on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "torch finds no CUDA device: use --device cpu, or install a CUDA build of torch"
        )
    if name == "cuda" and processes.count() > 1:
        return _own_gpu()
    return torch.device(name)


def _own_gpu() -> torch.device:
    """Return the GPU of this process, which becomes the one that "cuda" names."""
    wanted, present = processes.local_count(), torch.cuda.device_count()
    if wanted > present:
        raise MissingError(
            f"{wanted} processes on this machine need a GPU each, and torch finds {present}: start "
            f"{present}, or train with --device cpu"
        )
    torch.cuda.set_device(processes.local_number())
    return torch.device("cuda", processes.local_number())


def has_bf16() -> bool:
    """Return whether this processor has bf16 instructions."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def precision_of_answers(task_name: str, precision: str = "auto") -> str:
    """Return the precision in which a teacher answers: fp32 where its outputs are numbers.

    bf16 has 8 bits for a number's level and its differences together: years around 2000 become
    multiples of 8.

    Args:
        task_name: the teacher's task.
        precision: "fp32", "bf16" or "auto", for the other tasks.
    """
    return "fp32" if task(task_name).is_numeric else precision


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Run the block in a precision.

    Args:
        precision: "fp32", "bf16", or "auto": bf16 on a GPU and on CPUs with bf16 instructions.
        device: device of the computation.
    """
    has_native_bf16 = device.type == "cuda" or has_bf16()
    with torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=precision == "bf16" or (precision == "auto" and has_native_bf16),
    ):
        yield
