"""What the benchmarks share: a bar that is met or not, and one way to write what was found."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bmc import artifact
from bmc.measure import machine

HERE = Path(__file__).parent
RUNS = HERE / "runs"  # git-ignored: raw samples, and files made to be measured
_LOAD = os.getloadavg()  # before the script itself loads the machine


@dataclass(frozen=True)
class Bar:
    """Something that must hold, what was found, and whether it holds."""

    must: str
    found: str
    met: bool


def finish(name: str, bars: Sequence[Bar], content: Mapping[str, Any]) -> int:
    """Print the bars, write benchmarks/results/NAME.json, and return the exit code."""
    for bar in bars:
        print(f"{'met' if bar.met else 'NOT MET':8}{bar.must}: {bar.found}")
    found = {
        "machine": machine.describe(),
        "load_average_at_start": _LOAD,
        "versions": artifact.versions(),
        "bars": [asdict(bar) for bar in bars],
        **content,
    }
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return 0 if all(bar.met for bar in bars) else 1
