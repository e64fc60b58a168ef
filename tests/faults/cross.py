"""Every strange network through every verb: what a verb writes with exit 0 the next one opens.

    python tests/faults/cross.py OUTPUT.json [NETWORK ...]

One process a network, with a limit of memory; each command ends within a minute, with exit 0 or
with one sentence that does not blame bmc. The file lists what does not.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SECONDS = 60
BYTES = 2 * 2**30  # beyond what the packages take by themselves
PRUNE = ("structured", "unstructured", "nm", "movement", "depth")
SHARE = ("lowrank", "cluster", "layers", "tie")
QUANTIZE = ("static", "qat", "mixed", "dynamic", "weights", "fp16", "bf16")
TARGETS = ("onnx", "openvino", "pytorch")


def write_images(path: Path) -> None:
    """Write 150 small images of three colors."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 150)
    noise = random.integers(0, 90, (150, 12, 12, 3))
    images = np.clip(noise + 90 * np.eye(3)[labels][:, None, None], 0, 255)
    np.savez(path, images=images.astype(np.uint8), labels=labels)


def steps() -> list[tuple[str, ...]]:
    """Return what is done to a trained network: verb and method."""
    return [
        *[("prune", method) for method in PRUNE],
        *[("share", method) for method in SHARE],
        *[("quantize", method) for method in QUANTIZE],
    ]


class Runner:
    """Runs commands in this process, and keeps what each ended with."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.rows: list[dict[str, Any]] = []

    def __call__(self, *words: object) -> bool:
        """Run a command with the network's code; return whether it ended with exit 0."""
        from bmc import cli

        line = [str(word) for word in words]
        started = time.monotonic()
        signal.alarm(SECONDS)
        with (
            contextlib.redirect_stderr(io.StringIO()) as err,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            try:
                code: object = cli.run(line)
            except TimeoutError:
                code = "no end"
            except BaseException as error:  # noqa: BLE001  whatever ends a command is kept
                code = f"raw {type(error).__name__}: {error}"
            finally:
                signal.alarm(0)
        message = [row for row in err.getvalue().splitlines() if row.startswith("bmc: ")]
        self.rows.append(
            {
                "network": self.network,
                "command": " ".join(line[:4]),
                "exit": code,
                "said": message[-1] if message else err.getvalue()[-300:] if code else "",
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        return code == 0


def is_right(row: dict[str, Any]) -> bool:
    """Tell whether a command ended as every command must."""
    if row["exit"] not in (0, 1, 2, 3) or row["seconds"] > SECONDS:
        return False
    return row["exit"] == 0 or (row["said"].startswith("bmc: ") and "bug in bmc" not in row["said"])


def cross(network: str) -> list[dict[str, Any]]:
    """Send a network through all verbs, in a folder of its own."""
    run = Runner(network)
    code = f"nets:{network}"
    write_images(Path("small.npz"))
    data = ("--data", "small.npz")
    if not run("train", f"python:{code}", *data, "--epochs", 1, "-o", "trained"):
        return run.rows
    opened: list[Path] = [Path("trained")]
    for verb, method in steps():
        tuning = ("--epochs", 1) if verb != "quantize" or method == "qat" else ()
        output = Path(f"{verb}-{method}")
        if run(verb, "trained", "--method", method, "--code", code, *tuning, "-o", output):
            opened.append(output)
    for folder in opened:
        name = folder.name
        plain = name == "trained" or name.startswith(("prune", "share"))
        run("inspect", folder, "--rows", 16, "--code", code, "-o", f"{name}.html", "--force")
        if plain and name != "trained":
            run("quantize", folder, "--method", "static", "--code", code, "-o", f"{name}-static")
        for target in TARGETS:
            output = Path(f"{name}-{target}")
            typed = ("--target", target, "--code", code, "--allow-slower")
            if run("export", folder, *typed, "-o", output):
                run("check", output, "--code", code)
    return run.rows


def main(output: Path, networks: list[str]) -> int:
    """Cross each network in a process of its own; write and print what is not right."""
    rows: list[dict[str, Any]] = []
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--one", network]
            environment = {**os.environ, "PYTHONPATH": str(HERE), "BMC_HOME": folder}
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            try:
                rows += json.loads(done.stdout.splitlines()[-1])
            except (IndexError, ValueError):
                message = done.stderr[-300:]
                rows.append(
                    {
                        "network": network,
                        "command": "",
                        "exit": done.returncode,
                        "said": message,
                        "seconds": 0,
                    }
                )
        entry = [row for row in rows if row["network"] == network]
        wrong = [row for row in entry if not is_right(row)]
        print(f"{network}: {len(entry)} commands, {len(wrong)} wrong", flush=True)
        for row in wrong:
            print("   ", row["command"], "|", row["exit"], "|", row["said"][:300], flush=True)
        counts = {str(code): sum(row["exit"] == code for row in rows) for code in (0, 1, 2, 3)}
        wrong = [row for row in rows if not is_right(row)]
        slowest = max((row["seconds"] for row in rows), default=0)
        summary = {"networks": networks, "commands": len(rows), "exits": counts, "slowest": slowest}
        refusals = [row for row in rows if row["exit"] and is_right(row)]
        result = {**summary, "wrong": wrong, "refusals": refusals}
        output.write_text(json.dumps(result, indent=2) + "\n")
    return int(any(not is_right(row) for row in rows))


def one(network: str) -> None:
    """Cross one network here, and print its rows as JSON."""
    import torch

    from bmc import cli  # noqa: F401  what is imported does not count as a command's memory
    from bmc.export import speed
    from bmc.measure.latency import BenchSettings

    speed.TIMING = BenchSettings(launches=2, rounds=2)  # which is faster is not asked

    def ring(*_: object) -> None:
        raise TimeoutError

    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES + 2**30, BYTES + 2**30))
    print(json.dumps(cross(network)))


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(sys.argv[2])
    else:
        sys.path.insert(0, str(HERE))
        nets = importlib.import_module("nets")
        sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or [*nets.TRAINED, *nets.REFUSED]))
