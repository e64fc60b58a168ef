"""Describe the machine that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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
_X86 = ("x86_64", "AMD64")
_VNNI = {"avx512_vnni", "avx_vnni"}
_BOARD = Path("/proc/device-tree/model")
_RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "torch")


@dataclass(frozen=True)
class Hardware:
    """The facts about a machine on which its latencies depend."""

    processor: str
    instructions: list[str]
    cores: int | None


HARDWARE = tuple(field.name for field in fields(Hardware))


def runtime_versions() -> dict[str, str]:
    """Return the versions of the installed runtimes, by package."""
    versions = {}
    for package in _RUNTIMES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def saturates_int8() -> bool:
    """Tell whether int8 accumulators saturate here: on x86 processors without VNNI.

    Their kernels add two products of uint8 and int8 in 16 bits.
    """
    return platform.machine() in _X86 and not _VNNI & set(describe()["instructions"])


def describe() -> dict[str, Any]:
    """Return processor, relevant instruction sets, cores, memory and operating system."""
    fields: dict[str, str] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "processor": fields.get("model name")
        or _read(_BOARD).strip("\0\n ")
        or platform.processor()
        or platform.machine(),
        "instructions": [flag for flag in _INSTRUCTIONS if flag in flags],
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        import psutil  # noqa: PLC0415  devices do not need it

        return int(psutil.virtual_memory().total)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
