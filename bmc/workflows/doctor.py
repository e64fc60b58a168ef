"""Find out what works on this machine, and how to get the rest."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bmc import __version__, processor, targets
from bmc.contracts.data_sets import DATA_SETS
from bmc.contracts.families import FAMILIES
from bmc.contracts.targets import TARGETS
from bmc.errors import MissingError, PluginError
from bmc.measure import machine

_NEEDED = {
    "train": ("torch", "transformers", "safetensors", "sklearn", "torch_pruning"),
    "export": ("torch", "onnx", "onnxscript", "onnx_ir"),
    "report": ("altair", "vl_convert", "jinja2"),
    "parquet": ("pyarrow",),
    "images": ("PIL",),
    "audio": ("soundfile", "soxr"),
    "hub": ("datasets",),
    "timm": ("timm",),
    "search": ("optuna", "altair", "vl_convert"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "recipes": ("fsspec", "pydantic", "yaml"),
    "distributed": ("accelerate",),
    "ray": ("ray",),
}


@dataclass(frozen=True)
class Finding:
    """The state of one component on this machine.

    Args:
        name: name of an extra, a target or a refused plug-in, or "int8".
        works: whether it does.
        note: how to install the component, or a fact about it.
        version: version of a target's runtime; "" for other components.
        devices: devices that a target can use.
    """

    name: str
    works: bool
    note: str = ""
    version: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examined:
    """What works on this machine.

    Args:
        version: version of bmc.
        machine: processor, cores, memory and instructions.
        findings: extras, targets, refused plug-ins, and int8.
    """

    version: str
    machine: Mapping[str, Any]
    findings: tuple[Finding, ...]


def examine() -> Examined:
    """Find out what works on this machine; only the targets' runtimes are started."""
    about = machine.describe()
    findings = (
        *(_extra(name, packages) for name, packages in _NEEDED.items()),
        *(_target(name) for name in TARGETS.names()),
        *_refused(),
        Finding("int8", True, processor.WITHOUT_VNNI if processor.saturates_int8() else ""),
    )
    return Examined(__version__, about, findings)


def _extra(name: str, packages: tuple[str, ...]) -> Finding:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    how = f"pip install 'bmc-toolkit[{name}]' (lacks {', '.join(missing)})" if missing else ""
    return Finding(name, not missing, how)


def _target(name: str) -> Finding:
    try:
        available = targets.load(name).available()
    except (MissingError, PluginError, ImportError, OSError) as error:  # libraries may not load
        return Finding(f"target {name}", False, str(error))
    note = available.note or f"runs on {', '.join(available.devices)}"
    return Finding(
        f"target {name}", bool(available.devices), note, available.version, tuple(available.devices)
    )


def _refused() -> Iterator[Finding]:
    for kind in (FAMILIES, DATA_SETS):
        for name, refusal in kind.refused().items():
            yield Finding(f"{kind.what} {name}", False, str(refusal))
