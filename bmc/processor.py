"""What the processor of this machine is, and which instructions it has."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    # of ARM: vectors, dot products of 8 bits, matrix products of 8 bits, half precision, bfloat16
    "asimd",
    "asimddp",
    "i8mm",
    "asimdhp",
    "sve",
    "bf16",
)
WITHOUT_VNNI = (
    "this processor has no VNNI: int8 accumulators saturate in ONNX Runtime and OpenVINO here; "
    "bmc quantize --set weight_bits=7 avoids that"
)
"""What users are told where `saturates_int8`."""
_X86 = ("x86_64", "AMD64")
_VNNI = {"avx512_vnni", "avx_vnni"}


def name() -> str:
    """Return the processor's name; "" if the system does not tell."""
    return _facts().get("model name", "")


def instructions() -> list[str]:
    """Return the instruction sets of this processor on which a latency depends; [] if unknown."""
    facts = _facts()
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return [flag for flag in _INSTRUCTIONS if flag in flags]


def saturates_int8() -> bool:
    """Tell whether int8 accumulators saturate here: on x86 processors without VNNI.

    Their kernels add two products of uint8 and int8 in 16 bits. False where the system does not
    tell the instruction sets.
    """
    known = set(instructions())
    return platform.machine() in _X86 and bool(known) and not _VNNI & known


@cache
def _facts() -> dict[str, str]:
    """Return the fields of the last processor in /proc/cpuinfo; {} on other systems than Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.splitlines())
    return {field.strip(): value.strip() for field, _, value in lines}
