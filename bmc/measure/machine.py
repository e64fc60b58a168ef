"""Describe the machine that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

_INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
)
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


def describe() -> dict[str, Any]:
    """Return processor, relevant instruction sets, cores, memory and operating system."""
    fields: dict[str, str] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in _INSTRUCTIONS if flag in flags],
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
