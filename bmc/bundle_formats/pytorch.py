"""Model directories, which PyTorch runs; other targets are compared with PyTorch."""

from __future__ import annotations

from pathlib import Path

from bmc.contracts import Format

_FILES = ("bmc.json", "config.json", "model.safetensors")


def files(folder: Path, model: str) -> tuple[str, ...]:
    """Return the paths, in the bundle, of the files that every model directory has."""
    return tuple(f"{model}/{name}" for name in _FILES)


FORMAT = Format(
    about="PyTorch in eager mode",
    session="bmc.targets.pytorch",
    exporter="bmc.export.pytorch",
    files=files,
    precisions=("f32", "bf16"),
    is_reference=True,
)
