"""How much disk and time does `pip install bmc-toolkit[onnx]` take on a device?

    python benchmarks/installation.py BUNDLE            (2 minutes; pip downloads 100 MB)
    python benchmarks/installation.py BUNDLE --trial    (one process for each figure)

BUNDLE is `tiny` for ONNX Runtime. This repository is installed with its extra `onnx` into a new
virtual environment, with the versions of constraints.txt. Measured are the bytes of the packages
(without pip, which every environment has), the time of `import bmc`, and the time from there to the
first prediction, each in processes of their own after one that is not counted. Then `python -m
bmc.slim --remove` runs, and everything is measured again: the label must be the same.

The environment must take 120 MB at most, `import bmc` 0.15 s, and the first prediction 0.5 s
(medians; the import is part of the prediction's time). Writes benchmarks/results/installation.json.
Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _common import HERE, Bar, finish

from bmc import workspace

ROOT = HERE.parent
MEGABYTES, IMPORT_SECONDS, ANSWER_SECONDS = 120, 0.15, 0.5
_IMPORT = """
import json, time
start = time.perf_counter()
import bmc
print(json.dumps({"seconds": time.perf_counter() - start}))
"""
_ANSWER = """
import json, sys, time
start = time.perf_counter()
import bmc
answer = bmc.load(sys.argv[1], threads=1, warm=False)("what a film")
seconds = time.perf_counter() - start
loaded = sorted({"torch", "typer", "rich", "huggingface_hub"} & set(sys.modules))
print(json.dumps({"seconds": seconds, "label": answer.label, "loaded": loaded}))
"""


def main() -> int:
    """Install, measure, remove what no bundle opens, and measure again."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("bundle")
    parser.add_argument("--processes", type=int, default=15)
    parser.add_argument("--trial", action="store_true", help="one process for each figure")
    options = parser.parse_args()
    processes = 1 if options.trial else options.processes
    bundle = workspace.find(options.bundle, "bundle").absolute()
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        python = _installed(environment)
        before = _measured(environment, python, bundle, processes)
        subprocess.run([python, "-m", "bmc.slim", "--remove"], check=True)
        after = _measured(environment, python, bundle, processes)
    bars = [*_bars(before, "as pip installs it"), *_bars(after, "after bmc.slim")]
    labels = {before["label"], after["label"]}
    bars.append(Bar("the same label before and after", ", ".join(labels), len(labels) == 1))
    return finish("installation", bars, {"installed": before, "slim": after})


def _installed(environment: Path) -> str:
    """Install bmc-toolkit[onnx] into a new environment; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", f"{ROOT}[onnx]"], check=True)
    return python


def _measured(environment: Path, python: str, bundle: Path, processes: int) -> dict[str, Any]:
    by_package = _megabytes(environment)
    imports = [_run(python, _IMPORT)["seconds"] for _ in range(processes + 1)][1:]
    answers = [_run(python, _ANSWER, str(bundle)) for _ in range(processes + 1)][1:]
    return {
        "megabytes": sum(by_package.values()),
        "megabytes_by_package": by_package,
        "import_seconds": imports,
        "first_answer_seconds": [answer["seconds"] for answer in answers],
        "label": answers[0]["label"],
        "loaded": answers[0]["loaded"],
    }


def _megabytes(environment: Path) -> dict[str, float]:
    """Return the bytes of each installed package in MB, the largest first, without pip's own."""
    (site,) = environment.glob("lib/python*/site-packages")
    sizes: dict[str, float] = {}
    for path in site.iterdir():
        name = path.name.partition("-")[0].removesuffix(".libs").removesuffix(".py")
        if name in ("pip", "setuptools", "pkg_resources", "distutils", "_distutils_hack"):
            continue
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        sizes[name] = sizes.get(name, 0.0) + sum(each.stat().st_size for each in files) / 1e6
    ranked = sorted(sizes.items(), key=lambda item: -item[1])
    return {name: round(size, 3) for name, size in ranked}


def _run(python: str, program: str, *arguments: str) -> dict[str, Any]:
    command = [python, "-I", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _bars(measured: dict[str, Any], when: str) -> list[Bar]:
    size = measured["megabytes"]
    imported = statistics.median(measured["import_seconds"])
    answered = statistics.median(measured["first_answer_seconds"])
    return [
        Bar(f"{when}: <= {MEGABYTES} MB", f"{size:.1f} MB", size <= MEGABYTES),
        Bar(
            f"{when}: import bmc <= {IMPORT_SECONDS} s",
            f"{imported:.3f} s",
            imported <= IMPORT_SECONDS,
        ),
        Bar(
            f"{when}: first answer <= {ANSWER_SECONDS} s",
            f"{answered:.3f} s",
            answered <= ANSWER_SECONDS,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
