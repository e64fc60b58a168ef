"""Does a recipe that is killed at any moment give the same results when it is run again?

    python benchmarks/recipe_kills.py --kills 40                (ten minutes beside other work)
    python benchmarks/recipe_kills.py --kills 10 --processes

A recipe of eight steps (trainings with checkpoints every five steps, a distillation, pruning,
clusters, 8 bits, ONNX) is killed with SIGKILL after a random part of its time, each time in an
empty workspace, and run again. What it leaves then is compared, file by file, with what a run
leaves that nothing stopped. Times and command lines, which bmc.json and manifest.json record, are
left out. The steps run in one process that is forked from a warm one, so that kills fall on the
work and not on imports; with --processes in two processes of their own, of which the first is
killed, or, every other time, one of those that it started. Calls with different --seed add up.

Writes benchmarks/results/recipe_kills.json. Exit code 1: a result differs, or something is left.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from _common import HERE, Bar, finish

from bmc.recipes.execute import run_plan
from bmc.recipes.local_runner import LocalRunner
from bmc.recipes.plan import Plan, Step
from bmc.recipes.runners import InProcess
from bmc.recipes.store import StepStore

MUST = 50
_TRAIN = {"data": "digits", "width": 32, "epochs": 8, "checkpoint_every": 5}
_PRUNE = {"method": "unstructured", "epochs": 2, "checkpoint_every": 5}
_OF_BASE = {"model": "base"}
PLAN = Plan(
    "killed",
    (
        Step("base", "train", {}, {"model": "mlp", **_TRAIN}),
        Step("other", "train", {}, {"model": "mlp", **_TRAIN, "seed": 1}),
        Step("taught", "distill", {"teacher": "base"}, {"student": "mlp", **_TRAIN, "width": 8}),
        Step("pruned[ratio=0.2]", "prune", _OF_BASE, {**_PRUNE, "ratio": 0.2}),
        Step("pruned[ratio=0.4]", "prune", _OF_BASE, {**_PRUNE, "ratio": 0.4}),
        Step("shared", "share", _OF_BASE, {"method": "cluster", "values": 16, "epochs": 2}),
        Step("int8", "quantize", {"model": "pruned[ratio=0.2]"}, {"method": "dynamic"}),
        Step("file", "export", {"model": "pruned[ratio=0.4]"}, {"target": "onnx"}),
    ),
    report=None,
)
_TIMES = {"seconds", "commands"}
_MANIFESTS = ("bmc.json", "manifest.json")


def main() -> int:
    """Kill the recipe as often as asked, and judge what it leaves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=MUST)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", action="store_true", help="steps run in two processes")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork of a process with threads waits for them for ever
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="recipe-kills-"))
    if not options.processes:
        run(folder / "warm", False)  # in this process, so that the forks need import nothing
    started = time.monotonic()
    end(start(folder / "whole", options.processes))
    whole = time.monotonic() - started
    expected = left(folder / "whole")
    generator = random.Random(options.seed)
    kills: list[dict[str, Any]] = []
    while len(kills) < options.kills:
        home = folder / f"kill-{len(kills)}"
        after = generator.uniform(0, whole)
        child = start(home, options.processes)
        time.sleep(after)
        victim = _victim(child, of_child=options.processes and len(kills) % 2 == 1)
        is_first = victim == child
        os.kill(victim, signal.SIGKILL)
        end(child)
        done = len(list((home / ".steps").glob("*/step.json")))
        started = time.monotonic()
        code = end(start(home, options.processes))
        found = left(home)
        kill = {
            "seed": options.seed,
            "after_seconds": round(after, 2),
            "killed": "the command" if is_first else "a process of a step",
            "steps_done": done,
            "exit_code": code,
            "seconds_of_the_rest": round(time.monotonic() - started, 2),
            "different": sorted(
                name for name in expected | found if expected.get(name) != found.get(name)
            ),
            "left_behind": _left_behind(home),
        }
        kills.append(kill)
        print(len(kills), kill, flush=True)
        shutil.rmtree(home)
    shutil.rmtree(folder)
    return _finish(kills, options.seed, len(expected), whole, options.processes)


def start(home: Path, processes: bool) -> int:
    """Run the recipe in a forked process, and return the process."""
    child = os.fork()
    if not child:
        gc.freeze()
        sys.stderr = (home.parent / "stderr").open("a")
        try:
            run(home, processes)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  the exit code says it
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return child


def run(home: Path, processes: bool) -> None:
    """Run the recipe in a workspace."""
    os.environ["BMC_HOME"] = str(home)
    store = StepStore()
    if processes:
        result = run_plan(PLAN, store, lambda width: LocalRunner(store, workers=2, threads=1))
    else:
        result = run_plan(PLAN, store, InProcess(store))
    result.raise_failures()


def end(child: int) -> int:
    """Wait for a process, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def left(home: Path) -> dict[str, str]:
    """Return the hash of each file of the results, by its path below the workspace."""
    files = {}
    for path in sorted(home.glob(f"{PLAN.name}-*/**/*")):
        if path.is_file():
            data = path.read_bytes().replace(str(home).encode(), b"")
            if path.name in _MANIFESTS:
                data = json.dumps(_without_times(json.loads(data)), sort_keys=True).encode()
            files[str(path.relative_to(home))] = hashlib.sha256(data).hexdigest()
    return files


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(of) for name, of in value.items() if name not in _TIMES}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _victim(child: int, of_child: bool) -> int:
    """Return the process to kill: the command, or one that it started, if there is one."""
    if of_child:
        workers = psutil.Process(child).children()
        if workers:
            return int(workers[-1].pid)
    return child


def _left_behind(home: Path) -> list[str]:
    """Return temporary files and checkpoints that are left in a workspace."""
    wanted = (".bmc-new", ".bmc-old", ".bmc-lock")
    found = [path for path in home.rglob("*") if path.name.endswith(wanted)]
    found += home.rglob("checkpoint.safetensors")
    return [str(path.relative_to(home)) for path in found]


def _finish(
    kills: list[dict[str, Any]], seed: int, files: int, whole: float, processes: bool
) -> int:
    """Write what was seen, with the kills that earlier calls made."""
    path = HERE / "results" / "recipe_kills.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kinds = ("in_one_process", "in_two_processes")
    runs = {kind: known[kind] for kind in kinds if kind in known}
    same = runs.get(kinds[processes], {})
    before = same["kills"] if same.get("plan") == str(PLAN) else []
    before = [kill for kill in before if kill["seed"] != seed]
    runs[kinds[processes]] = {
        "plan": str(PLAN),
        "seconds_of_a_whole_run": round(whole, 2),
        "files_compared": files,
        "kills": [*before, *kills],
    }
    everything = [kill for kind in runs.values() for kill in kind["kills"]]
    wrong = [kill for kill in everything if kill["different"] or kill["exit_code"]]
    behind = [kill for kill in everything if kill["left_behind"]]
    bars = [
        Bar(f"{MUST} kills", f"{len(everything)} kills", len(everything) >= MUST),
        Bar("the same files after each", f"{len(wrong)} differ", not wrong),
        Bar("nothing is left behind", f"{len(behind)} left something", not behind),
    ]
    return finish("recipe_kills", bars, runs)


if __name__ == "__main__":
    sys.exit(main())
