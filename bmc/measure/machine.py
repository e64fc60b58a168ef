"""Describe the machine that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bmc import processor

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


def describe() -> dict[str, Any]:
    """Return processor, relevant instruction sets, cores, memory and operating system."""
    return {
        "processor": processor.name()
        or _read(_BOARD).strip("\0\n ")
        or platform.processor()
        or platform.machine(),
        "instructions": processor.instructions(),
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
