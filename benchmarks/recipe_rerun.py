"""How long does a finished recipe of 30 steps take to be run again?

    python benchmarks/recipe_rerun.py                   (five minutes; RUNS=3 is a trial)

`bmc run` runs a recipe of 30 steps (a training, a sweep of 14 prunings, a bundle of each, one
in 8 bits), measures the 14 bundles and writes a report. The same command is then typed RUNS more
times, each in a process of its own, as a person would. No file of the results may change,
and torch may not be imported.

Writes benchmarks/results/recipe_rerun.json. Exit code 1: the median is above 3 s, anything was
computed again, or torch was imported.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import PROGRAM, Bar, finish

STEPS, RATIOS, MOST_SECONDS = 30, 14, 3.0
_WITHOUT = {"BMC_HOME", "PYTHONDONTWRITEBYTECODE"}  # of the commands' environment
RUNS = int(os.environ.get("RUNS", "9"))
RECIPE = f"""
name = "thirty"
data = "digits"

[steps.base]
verb = "train"
model = "mlp"
epochs = 2
settings.width = 32

[steps.pruned]
verb = "prune"
model = "base"
method = "unstructured"
epochs = 0
ratio = [{", ".join(str(round(0.05 * number, 2)) for number in range(1, RATIOS + 1))}]

[steps.int8]
verb = "quantize"
model = "base"
method = "dynamic"

[steps.bundle]
verb = "export"
model = "pruned"
target = "onnx"

[bench]
threads = [1]
launches = 2
rounds = 2

[report]
floor = false
texts = false
"""


def main() -> int:
    """Run the recipe, run it again, and judge the time."""
    folder = Path(tempfile.mkdtemp(prefix="recipe-rerun-"))
    (folder / "thirty.toml").write_text(RECIPE, encoding="utf-8")
    first, _, _ = _run(folder)
    before = _times(folder)
    seals = len(list(folder.glob("bmc-runs/.steps/*/step.json")))
    runs = [_run(folder) for _ in range(RUNS)]
    changed = sorted(name for name, at in _times(folder).items() if before.get(name) != at)
    seconds = [taken for taken, _, _ in runs]
    median = statistics.median(seconds)
    processor = [used for _, used, _ in runs]
    with_torch = any(torch for _, _, torch in runs)
    shutil.rmtree(folder)
    bars = [
        Bar(f"{STEPS} steps", f"{seals} results", seals == STEPS),
        Bar(f"rerun <= {MOST_SECONDS:.0f} s", f"{median:.2f} s (median)", median <= MOST_SECONDS),
        Bar("nothing is computed again", f"{len(changed)} files changed", not changed),
        Bar("torch is not imported", "it is" if with_torch else "it is not", not with_torch),
    ]
    content = {
        "steps": seals,
        "seconds_of_the_first_run": round(first, 1),
        "seconds_of_reruns": [round(taken, 2) for taken in seconds],
        "processor_seconds_of_reruns": [round(used, 2) for used in processor],
        "changed": changed,
    }
    return finish("recipe_rerun", bars, content)


def _run(folder: Path) -> tuple[float, float, bool]:
    """Run the recipe; return wall and processor seconds, and whether torch was imported."""
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", "thirty.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key not in _WITHOUT},
    )
    taken = time.monotonic() - started
    if process.returncode != 0:
        sys.exit(f"bmc run failed:\n{process.stderr}")
    *_, used, torch = process.stderr.split()
    return taken, float(used), torch == "True"


def _times(folder: Path) -> dict[str, int]:
    """Return the time of modification of every result, name, bench and report."""
    kept = [path for path in folder.rglob("*") if path.is_file() and ".recipes" not in path.parts]
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in kept
        if path.name != ".hashes.json"
    }


if __name__ == "__main__":
    sys.exit(main())
