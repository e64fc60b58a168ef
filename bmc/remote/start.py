"""Measure the bundles in this folder: python run.py

Needs Python 3.10 or newer, and the packages that README.md names. The result is result.json.
"""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Check what is installed, then let bmc, which lies in this folder, measure."""
    folder = Path(__file__).resolve().parent
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    if sys.version_info < (3, 10):  # noqa: UP036  bmc needs 3.11; what it sends here runs on 3.10
        sys.exit("bmc: Python 3.10 or newer is needed: run this file with a newer one")
    missing = [name for name in request["packages"] if importlib.util.find_spec(name) is None]
    if missing:
        needed = " ".join(missing)
        sys.exit(f"bmc: packages are missing; run: {sys.executable} -m pip install {needed}")
    os.chdir(folder)  # so that no other bmc is imported from the working folder
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    sys.path.insert(0, str(folder))
    importlib.import_module("bmc.remote.runner").main(folder, "--watched" in sys.argv)


if __name__ == "__main__":
    main()
