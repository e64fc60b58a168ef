"""The device and the precision of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bmc.errors import MissingError


def device_of(name: str) -> torch.device:
    """Return the torch device that a setting names.

    Args:
        name: "cpu", "cuda", or "auto": a GPU if there is one, else the CPU.

    Raises:
        MissingError: the name is "cuda", and torch has no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "torch finds no CUDA device: use --device cpu, or install a CUDA build of torch"
        )
    return torch.device(name)


def has_bf16() -> bool:
    """Return whether this processor has bf16 instructions."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


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
