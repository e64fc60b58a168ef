"""Check a bundle in a child process with limits: what kills a runtime ends the child alone.

Runtimes parse a model's file with native code of their own, where a damaged or hostile one can end
the process. The child may use so much memory and time, keeps no core dump, and prints nothing.
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
from typing import Any, NoReturn

from bmc import bundle as bundles
from bmc import checking, console, targets
from bmc.checking import Checked
from bmc.errors import ArtifactError, BmcError, GateError, MissingError, SettingError
from bmc.targets import RuntimeOptions

try:
    import resource
except ModuleNotFoundError:  # Windows has none
    resource = None  # type: ignore[assignment]

_GIB = 1 << 30
_IMPORT_SECONDS = 120
_ERRORS = {error.exit_code: error for error in (GateError, ArtifactError, MissingError)}


@dataclass(frozen=True)
class Limits:
    """What the child may use.

    Args:
        memory_gb: GiB of address space beyond what the imported runtime takes.
        seconds: wall time of reading the bundle, and again of running it.
    """

    memory_gb: float = 2.0
    seconds: float = 20.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.memory_gb <= 1024:
            raise SettingError(f"memory limit is {self.memory_gb} GiB; it must lie in 0.1..1024")
        if not 1 <= self.seconds <= 86400:
            raise SettingError(f"time limit is {self.seconds} s; it must lie in 1..86400")


def check(folder: Path, threads: int, limits: Limits) -> Checked:
    """Check a bundle as `checking.check` does, in a child process.

    Args:
        folder: the bundle.
        threads: threads of the CPU; 0 takes one, as each thread reserves memory.
        limits: what the child may use.

    Raises:
        ArtifactError: the child crashed, or ran out of memory or time; or the bundle is damaged.
        GateError: it answers otherwise here.
        MissingError: its runtime is not here, or this system has no limits for processes.
    """
    if resource is None:
        raise MissingError("a check in isolation needs a system with limits for processes (POSIX)")
    threads = threads or 1
    settings = {"folder": str(folder.absolute()), "threads": threads, **asdict(limits)}
    # -P: a file named like a module, in the current folder, is not imported.
    command = [sys.executable, "-P", "-m", "bmc.isolation", json.dumps(settings)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2 * limits.seconds + _IMPORT_SECONDS,  # the child's own alarm comes first
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _late(folder, limits) from None
    return answer_of(folder, done, limits)


def answer_of(folder: Path, done: subprocess.CompletedProcess[bytes], limits: Limits) -> Checked:
    """Return what the child found, or raise what it says, or how it ended."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        if name in ("SIGALRM", "SIGXCPU"):
            raise _late(folder, limits)
        raise ArtifactError(
            f"bundle {folder}: its check ended in {name}; loading it would end any process that "
            "does: export it again, or have it from someone you trust"
        )
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise ArtifactError(
            f"bundle {folder}: its check ended with exit code {done.returncode} and no answer "
            f"within {limits.memory_gb:g} GiB (--memory-limit allows more)"
        ) from None
    if "error" in said:
        raise _ERRORS.get(said["exit_code"], ArtifactError)(said["error"])
    return Checked(**{**said, "uncovered": tuple(said["uncovered"])})


def _late(folder: Path, limits: Limits) -> ArtifactError:
    return ArtifactError(
        f"bundle {folder}: its check did not end within {limits.seconds:g} s and was stopped "
        "(--time-limit allows more)"
    )


def main() -> NoReturn:
    """Be the child: settings as JSON in the first argument, the answer as JSON on stdout."""
    settings = json.loads(sys.argv[1])
    answering = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # what native code prints is no answer
    console.set_mode(quiet=True, json=True)
    folder, most = Path(settings["folder"]), int(settings["memory_gb"] * _GIB)
    said: dict[str, Any]
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = resource.getrlimit(resource.RLIMIT_AS)
        _limit_time(settings["seconds"])
        _limit_memory(most, before[1])
        target = bundles.read(folder).manifest.target
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        targets.load(target).available()  # libraries map gigabytes that they never touch
        _limit_time(settings["seconds"])
        _limit_memory(most, None)
        said = asdict(checking.check(folder, RuntimeOptions(threads=settings["threads"])))
    except BmcError as error:
        said = {"error": str(error), "exit_code": error.exit_code}
    except MemoryError:
        text = f"bundle {folder}: its check needs more than {settings['memory_gb']:g} GiB of memory"
        said = {"error": f"{text} (--memory-limit allows more)", "exit_code": 2}
    os.write(answering, json.dumps(said).encode())
    with suppress(OSError):
        os.close(answering)
    os._exit(0)  # a damaged model may crash a runtime's clean-up, after the answer


def _limit_time(seconds: float) -> None:
    """Let the kernel end the process after so many seconds from here on, whatever it does."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(most: int, hard: int | None) -> None:
    """Let the address space grow by so many bytes from here on."""
    statm = Path("/proc/self/statm")
    used = 0
    if statm.exists():  # elsewhere the limit holds for all that is mapped
        used = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    limit = used + most
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit if hard is None else hard))


if __name__ == "__main__":
    main()
