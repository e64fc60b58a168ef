"""Check a bundle's golden outputs in a process of its own: `python -m bmc.remote.golden BUNDLE`.

The runtime is loaded in that process alone: a crash does not end the runner, and the memory is free
again before anything is measured.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from bmc import checking
from bmc.errors import BmcError, GateError, MissingError
from bmc.measure.latency import LIMIT_SECONDS
from bmc.measure.results import GoldenCheck
from bmc.targets import RuntimeOptions


def check(bundle: Path) -> GoldenCheck:
    """Check a bundle's files and golden outputs on this device.

    Raises:
        GateError: the outputs differ by more than the bundle's precision allows.
        MissingError: the bundle's runtime, or the device that it needs, is missing.
        BmcError: the bundle is damaged, or the runtime crashes.
    """
    command = [sys.executable, "-m", "bmc.remote.golden", str(bundle)]
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BmcError(f"its check did not end within {LIMIT_SECONDS:g} seconds") from None
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise BmcError(f"its runtime crashed in the check of its golden outputs ({name})")
    try:
        result = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BmcError(
            f"the check of its golden outputs ended with code {process.returncode}"
        ) from None
    if "error" in result:
        kinds = {GateError.exit_code: GateError, MissingError.exit_code: MissingError}
        raise kinds.get(result["exit_code"], BmcError)(result["error"])
    return GoldenCheck(**result)


def main() -> None:
    """Check the bundle that the command line names, and print the result as the last line."""
    try:
        checked = checking.check(Path(sys.argv[1]), RuntimeOptions())
        result = {
            "max_error": checked.max_error,
            "allowed": checked.allowed,
            "rows": checked.rows,
        }
    except BmcError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}), flush=True)
    else:
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
