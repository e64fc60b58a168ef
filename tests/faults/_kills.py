"""Commands that are killed, or whose disk fills, at a chosen change on disk or moment.

Run as a program, it does so for several commands and prints what it saw as JSON: one warm process
that forks for every command, since importing takes longer than what is tested.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bmc import artifact, bundle, cli, disk
from bmc.checksums import check_files
from bmc.measure import results
from bmc.untrusted import read_json
from tests.faults._folders import cased

OPTIONS = ("--quiet", "--force")
VERBS: dict[str, tuple[str, ...]] = {
    "train": ("train", "mlp", "-d", "digits", "--epochs", "1", "--set", "width=8"),
    "prune": ("prune", "base", "--method", "unstructured", "--ratio", "0.2", "--epochs", "0"),
    "share": ("share", "base", "--method", "cluster", "--epochs", "0"),
    "quantize": ("quantize", "base", "--method", "dynamic"),
    "export-onnx": ("export", "base", "--target", "onnx"),
    "export-openvino": ("export", "base", "--target", "openvino"),
    "export-pytorch": ("export", "base", "--target", "pytorch"),
    "report": ("report", "--no-bench", "--no-floor"),
    "distill": (
        *("distill", "--teacher", "teacher", "--data", "{data}", "--transfer", "none"),
        *("--layers", "1", "--hidden", "8", "--heads", "2", "--epochs", "1"),
    ),
    "bench": ("bench", "base-onnx", "--threads", "1", "--launches", "2", "--rounds", "2"),
}
_BASE = ("train", "mlp", "-d", "digits", "--epochs", "2", "--set", "width=32")
WITHOUT_OUTPUT = {"bench": ("--quiet", "--save")}
"""What goes before the path instead of OPTIONS and --output."""
MANIFESTS = {"bmc.json": "model directory", "manifest.json": "bundle", "report.json": "report"}


class Bench:
    """A workspace with what commands need, a model, a bundle or a teacher, to be killed there."""

    def __init__(self, folder: Path, verbs: Sequence[str]) -> None:
        self.home, self.temporary = folder / "runs", folder / "tmp"
        self.home.mkdir(parents=True)
        self.temporary.mkdir()
        os.environ.update(BMC_HOME=str(self.home), TMPDIR=str(self.temporary))
        self.data = folder / "reviews.csv"
        texts = (f"a {('great', 'bad')[number % 2]} film {number}" for number in range(60))
        rows = (f"{text},{('good', 'bad')[number % 2]}" for number, text in enumerate(texts))
        self.data.write_text("\n".join(["text,label", *rows]) + "\n")
        small = cased(folder / "hugging-face")
        of_texts = ("--data", str(self.data), "--epochs", "1", "--max-length", "16")
        base, bundle_of_base, teacher = (
            (*_BASE, "-o", str(self.home / "base")),
            ("export", "base", "--target", "onnx", "-o", str(self.home / "base-onnx")),
            ("train", str(small), *of_texts, "-o", str(self.home / "teacher")),
        )
        needed: list[tuple[str, ...]] = [base]
        needed += [bundle_of_base] if {"report", "bench"} & set(verbs) else []
        needed += [teacher] if "distill" in verbs else []
        for command in needed:
            if self.run(command)[0] != 0:
                raise RuntimeError(f"{command} failed")
            self.warm()

    def warm(self) -> None:
        """Import what the last command did, so that the next ones need not.

        But not OpenVINO, which does not survive a fork.
        """
        for name in (self.temporary.parent / "modules").read_text().split("\n"):
            if "openvino" not in name and name not in ("__main__", "__mp_main__"):
                with contextlib.suppress(Exception):  # a name that its package made up
                    importlib.import_module(name)

    def output(self, verb: str) -> Path:
        return self.home / f"of-{verb}"

    def command(self, verb: str) -> list[str]:
        words = [word.format(data=self.data) for word in VERBS[verb]]
        return [*words, *WITHOUT_OUTPUT.get(verb, (*OPTIONS, "-o")), str(self.output(verb))]

    def run(
        self,
        command: Sequence[str],
        watcher: Callable[[str, Path], None] | None = None,
        kill_after: float | None = None,
    ) -> tuple[int, str]:
        """Run a command in a child; return its exit code and what it says on stderr."""
        message = self.temporary.parent / "stderr"
        started = time.monotonic()
        child = os.fork()
        if not child:
            out = os.open(message, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if watcher:
                disk.watch(watcher)
                sys.addaudithook(lambda event, values: self._audit(watcher, event, values))
            code = cli.run(command)
            if watcher is None:
                (self.temporary.parent / "modules").write_text("\n".join(list(sys.modules)))
            sys.stderr.flush()
            os._exit(code)
        if kill_after is not None:
            time.sleep(max(0.0, kill_after - (time.monotonic() - started)))
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, message.read_text(errors="replace")

    def _audit(self, watcher: Callable[[str, Path], None], event: str, values: Any) -> None:
        """Let the watcher see what libraries open for writing from Python."""
        writes = event == "open" and isinstance(values[2], int) and values[2] & 3
        if writes and isinstance(values[0], str) and str(self.home.parent) in values[0]:
            watcher("open by a library", Path(values[0]))

    def operations(self, verb: str) -> list[str]:
        """Return the changes on disk that a command makes, in order."""
        log = self.temporary.parent / "operations"
        log.write_text("")

        def watcher(operation: str, path: Path) -> None:
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)  # not seen: O_APPEND is no change
            os.write(descriptor, f"{operation}\n".encode())
            os.close(descriptor)

        code, message = self.run(self.command(verb), _once(watcher))
        if code != 0:
            raise RuntimeError(f"{verb}: {message}")
        return log.read_text().split("\n")[:-1]

    def kill_at(self, verb: str, number: int) -> None:
        """Kill a command before its change of that number, and check what it left."""
        before = hashes(self.output(verb))
        code, message = self.run(self.command(verb), _at(number, _kill))
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"{verb} at {number}: exit {code}: {message}")
        self.check(verb, before)

    def fill_at(self, verb: str, number: int) -> None:
        """Let the disk be full from a command's change of that number on."""
        before = hashes(self.output(verb))
        code, message = self.run(self.command(verb), _at(number, _no_space, from_there_on=True))
        last = message.splitlines()[-1:] or [""]
        if code != 0 and (code != 2 or "disk is full" not in last[0]):
            raise AssertionError(f"{verb} at {number}: exit {code}: {message}")
        self.check(verb, before)

    def kill_after(self, verb: str, seconds: float) -> int:
        """Kill a command after a time, and check what it left; return its exit code."""
        before = hashes(self.output(verb))
        code, _ = self.run(self.command(verb), kill_after=seconds)
        self.check(verb, before)
        return code

    def check(self, verb: str, before: dict[str, str]) -> None:
        """Check that the output is the old or a new one, whole; that the command ends right now.

        Raises:
            AssertionError: it is not so.
        """
        output = self.output(verb)
        if before or output.exists():
            left = whole(output)
            if before and not left:
                raise AssertionError(f"{verb}: nothing is left of {output}")
        code, message = self.run(self.command(verb))
        if code != 0:
            raise AssertionError(f"{verb}: the same command again is exit {code}: {message}")
        whole(output)
        hidden = [path.name for path in self.home.iterdir() if path.name.startswith(".")]
        hidden = [name for name in hidden if name not in (".cache", ".bench", ".inspect")]
        hidden += os.listdir(self.temporary)
        if hidden:
            raise AssertionError(f"{verb}: left behind: {hidden}")


def whole(output: Path) -> dict[str, str]:
    """Return the hashes of a folder that bmc wrote, which must be the recorded ones."""
    if output.is_file():
        results.read(output)
        return hashes(output)
    for manifest, what in MANIFESTS.items():
        if (output / manifest).is_file():
            content = read_json(output / manifest, what)
            check_files(output, content.get("files", {}), what)
            if what == "bundle":
                bundle.read(output)
            elif what == "model directory":
                artifact.describe(output)
            return hashes(output)
    raise AssertionError(f"{output} is half: {os.listdir(output)}")


def hashes(output: Path) -> dict[str, str]:
    paths = [output] if output.is_file() else output.glob("*")
    return {path.name: str(path.stat().st_mtime_ns) for path in paths}


def _once(watcher: Callable[[str, Path], None]) -> Callable[[str, Path], None]:
    """Keep a watcher from seeing what it does itself."""
    busy: list[bool] = []

    def watch(operation: str, path: Path) -> None:
        if not busy:
            busy.append(True)
            try:
                watcher(operation, path)
            finally:
                busy.clear()

    return watch


def _at(
    number: int, act: Callable[[str], None], from_there_on: bool = False
) -> Callable[[str, Path], None]:
    seen = [0]

    def watcher(operation: str, path: Path) -> None:
        seen[0] += 1
        if seen[0] == number or (from_there_on and seen[0] > number):
            act(operation)

    return watcher


def _kill(operation: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_space(operation: str) -> None:
    if operation not in ("unlink", "rename", "chmod"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def chosen(operations: Sequence[str], most: int | None) -> list[int]:
    """Return the numbers of changes to stop at: all, or one of each kind, the renames first."""
    numbers = list(range(1, len(operations) + 1))
    if most is None:
        return numbers
    order = sorted(numbers, key=lambda number: (operations[number - 1] != "rename", -number))
    kinds: dict[str, int] = {}
    for number in order:
        kinds.setdefault(operations[number - 1], number)
    return sorted({*kinds.values(), *order[:2]})[:most]


def main() -> None:
    """Kill commands and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verbs", nargs="*", default=list(VERBS))
    parser.add_argument("--most", type=int, help="changes of a command to stop at; all if left out")
    parser.add_argument("--random", type=int, default=0, help="kills at random moments, in all")
    parser.add_argument("--full", action="store_true", help="also fill the disk at each change")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork of a process with threads waits for them for ever
    os.fsync = lambda fd: None  # the commands are killed, not the machine
    bench = Bench(options.folder, options.verbs)
    result: dict[str, Any] = {"verbs": {}, "random": 0}
    seconds = {}
    generator = random.Random(0)
    for verb in options.verbs:
        bench.run(bench.command(verb))
        bench.warm()
        started = time.monotonic()
        operations = bench.operations(verb)
        seconds[verb] = time.monotonic() - started
        numbers = chosen(operations, options.most)
        for number in numbers:
            bench.kill_at(verb, number)
            if options.full:
                bench.fill_at(verb, number)
        result["verbs"][verb] = {"changes": len(operations), "stopped_at": len(numbers)}
        print(verb, result["verbs"][verb], file=sys.stderr, flush=True)
    index = 0
    while result["random"] < options.random:  # a command may end before it would be killed
        verb = options.verbs[index % len(options.verbs)]
        if index < len(options.verbs):
            shutil.rmtree(bench.output(verb), ignore_errors=True)
            with contextlib.suppress(OSError):
                bench.output(verb).unlink()
        code = bench.kill_after(verb, generator.uniform(0, 1.1 * seconds[verb]))
        result["random"] += code == -signal.SIGKILL
        index += 1
    print(json.dumps({**result, "python": platform.python_version(), "system": platform.system()}))


if __name__ == "__main__":
    main()
