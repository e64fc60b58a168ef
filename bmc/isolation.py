"""Check a bundle in a child process with limits of memory and time.

Runtimes parse model files in native code, and a damaged or hostile file can crash the process. Here
only the child crashes. The child writes no core dump and prints nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from bmc import bundle as bundles
from bmc import checking, console, targets
from bmc.checking import CheckResult
from bmc.errors import ArtifactError, BmcError, GateError, MissingError, SettingError
from bmc.targets import RuntimeOptions
from bmc.trust import trusted, trusting

try:
    import resource
except ModuleNotFoundError:  # Windows has none
    resource = None  # type: ignore[assignment]

_GIB = 1 << 30
_IMPORT_SECONDS = 120
_ERRORS = {error.exit_code: error for error in (ArtifactError, MissingError)}


@dataclass(frozen=True)
class Limits:
    """The limits of the child process.

    Args:
        memory_gb: address space in GiB, 0.1 to 1024, in addition to that of the imported runtime.
        seconds: wall time, 1 to 86400, for reading the bundle, and the same again for running it.

    Raises:
        SettingError: a limit is outside its range.
    """

    memory_gb: float = 2.0
    seconds: float = 20.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.memory_gb <= 1024:
            raise SettingError(f"memory limit is {self.memory_gb} GiB; it must lie in 0.1..1024")
        if not 1 <= self.seconds <= 86400:
            raise SettingError(f"time limit is {self.seconds} s; it must lie in 1..86400")


def check(folder: Path, threads: int, limits: Limits) -> CheckResult:
    """Check a bundle as `checking.check` does, in a child process.

    Args:
        folder: the bundle.
        threads: number of CPU threads; 0 means one, because each thread reserves memory.
        limits: limits of the child process.

    Raises:
        ArtifactError: the child crashed, or ran out of memory or time; or the bundle is damaged.
        GateError: the bundle's outputs on this device differ by more than its precision allows, or
            the bundle failed a check when it was exported.
        MissingError: the bundle's runtime is not installed, or the system cannot limit processes.
    """
    if resource is None:
        raise MissingError("a check in isolation needs a system with limits for processes (POSIX)")
    threads = threads or 1
    settings = {
        "folder": str(folder.absolute()),
        "threads": threads,
        "codes": sorted(trusted()),
        **asdict(limits),
    }
    # -P keeps the working folder out of sys.path: no module is imported from there.
    command = [sys.executable, "-P", "-m", "bmc.isolation", json.dumps(settings)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": str(threads)}
    try:
        process = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2 * limits.seconds + _IMPORT_SECONDS,  # the child's own alarm comes first
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _timeout_error(folder, limits) from None
    return result_of(folder, process, limits)


def result_of(
    folder: Path, process: subprocess.CompletedProcess[bytes], limits: Limits
) -> CheckResult:
    """Return the result of the child, or raise an error for its end or the error in its result.

    Args:
        folder: the bundle, for messages.
        process: the ended child.
        limits: limits of the child, for messages.
    """
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        if name in ("SIGALRM", "SIGXCPU"):
            raise _timeout_error(folder, limits)
        raise ArtifactError(
            f"bundle {folder}: its check ended in {name}; loading the bundle would crash any "
            "process: export it again, or get it from someone you trust"
        )
    try:
        result = json.loads(process.stdout)
    except ValueError:
        raise ArtifactError(
            f"bundle {folder}: its check ended with exit code {process.returncode} and no result "
            f"within {limits.memory_gb:g} GiB (--memory-limit allows more)"
        ) from None
    values = result.get("checked")
    checked = values and CheckResult(**{**values, "uncovered": tuple(values["uncovered"])})
    if "check" in result:
        raise GateError(result["error"], result["check"], checked)
    if "error" in result:
        raise _ERRORS.get(result["exit_code"], ArtifactError)(result["error"])
    return cast(CheckResult, checked)


def _timeout_error(folder: Path, limits: Limits) -> ArtifactError:
    return ArtifactError(
        f"bundle {folder}: its check did not end within {limits.seconds:g} s and was stopped "
        "(--time-limit allows more)"
    )


def main() -> NoReturn:
    """Run the check in the child: read settings as JSON, print the result as JSON."""
    settings = json.loads(sys.argv[1])
    result_stream = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # keeps what native code prints out of the result
    console.set_mode(quiet=True, json=True)
    folder, max_bytes = Path(settings["folder"]), int(settings["memory_gb"] * _GIB)
    result: dict[str, Any]
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = resource.getrlimit(resource.RLIMIT_AS)
        _limit_time(settings["seconds"])
        _limit_memory(max_bytes, before[1])
        target = bundles.read(folder).manifest.target
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Imports the runtime without a memory limit: libraries map gigabytes that they never use.
        targets.load(target).available()
        _limit_time(settings["seconds"])
        _limit_memory(max_bytes, None)
        with trusting(*settings["codes"]):
            checked = checking.check(folder, RuntimeOptions(threads=settings["threads"]))
        result = {"checked": asdict(checked)}
    except GateError as error:
        measured = asdict(error.result) if isinstance(error.result, CheckResult) else None
        result = {"error": str(error), "check": error.check, "checked": measured}
    except BmcError as error:
        result = {"error": str(error), "exit_code": error.exit_code}
    except MemoryError:
        text = f"bundle {folder}: its check needs more than {settings['memory_gb']:g} GiB of memory"
        result = {"error": f"{text} (--memory-limit allows more)", "exit_code": 2}
    os.write(result_stream, json.dumps(result).encode())
    with suppress(OSError):
        os.close(result_stream)
    os._exit(0)  # skips the runtime's clean-up, which a damaged model may crash


def _limit_time(seconds: float) -> None:
    """Let the system kill the process after a number of seconds from now."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(max_bytes: int, hard: int | None) -> None:
    """Limit the growth of the address space from now on.

    Args:
        max_bytes: number of bytes by which the address space may grow.
        hard: the hard limit to keep; None sets the hard limit as well.
    """
    statm = Path("/proc/self/statm")
    used_bytes = 0
    if statm.exists():  # without it (not Linux) the limit includes what is already mapped
        used_bytes = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    limit = used_bytes + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit if hard is None else hard))


if __name__ == "__main__":
    main()
