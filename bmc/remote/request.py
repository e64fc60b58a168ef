"""What is asked of a device: which bundles are measured, and how."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bmc.measure.latency import BenchSettings
from bmc.typed import read_as

FILE = "request.json"
RESULT = "result.json"
BUNDLES = "bundles"


@dataclass(frozen=True)
class Request:
    """What a runner measures.

    Args:
        bundles: sha256 of each bundle's manifest, by name of its folder; the first bundle is the
            reference of the speed-ups.
        threads: thread counts.
        settings: settings of the measurement.
        precision: "f32" or "bf16".
        packages: packages that the runner imports.
    """

    bundles: dict[str, str]
    threads: tuple[int, ...]
    settings: BenchSettings
    precision: str
    packages: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return the request as the content of request.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()


def read(folder: Path) -> Request:
    """Read the request of a runner's folder."""
    return read_as(Request, json.loads((folder / FILE).read_text(encoding="utf-8")))
