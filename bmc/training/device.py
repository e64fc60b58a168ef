"""Where training computes, and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bmc.errors import MissingError


def device_of(name: str) -> torch.device:
    """Return the device of a setting.

    Args:
        name: "cpu", "cuda", or "auto", which takes a GPU if there is one.

    Raises:
        MissingError: there is no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            "no CUDA device here: use --device cpu, or install a CUDA build of torch"
        )
    return torch.device(name)


def has_bf16() -> bool:
    """Tell whether this processor computes in bf16 natively."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in bf16 where the precision says so.

    Args:
        precision: "fp32", "bf16", or "auto", which takes bf16 where the device has it.
        device: where it is computed.
    """
    native = device.type == "cuda" or has_bf16()
    with torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and native)
    ):
        yield
