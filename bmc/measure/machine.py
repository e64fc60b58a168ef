"""The machine that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_RUN_TIMES = ("onnxruntime", "openvino", "tensorrt", "torch")


@dataclass(frozen=True)
class Telling:
    """What tells one machine's latencies from another's."""

    processor: str
    instructions: list[str]
    cores: int | None


TELLING = tuple(field.name for field in fields(Telling))


def run_times() -> dict[str, str]:
    """Return the versions of the run times that are installed."""
    found = {}
    for package in _RUN_TIMES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    """Return processor, its telling instruction sets, cores, memory and operating system."""
    fields: dict[str, str] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in _TELLING if flag in flags],
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
