"""Measure steps on a Ray cluster of this machine: two workers against one, and killed workers.

    python benchmarks/ray_scaling.py             all parts, some eight minutes on two idle cores
    python benchmarks/ray_scaling.py --trial     fewer and shorter trials
    python benchmarks/ray_scaling.py --part kills --part scaling

A trial is a training on one thread; all have the same length. The constants of
`benchmarks/ray_simulation.py` come from here.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import psutil
from _common import RUNS, Bar, finish, result

from bmc.errors import BmcError
from bmc.recipes.execute import run_plan
from bmc.recipes.keys import key_of
from bmc.recipes.plan import Plan, Step
from bmc.recipes.ray_runner import RayRunner
from bmc.recipes.store import StepStore

HOME = RUNS / "ray"
LINEAR, KILLS = 0.9, 20
PARTS = ("overhead", "store", "scaling", "kills")
MANY = 100  # tasks whose result is there


def main() -> int:
    """Measure the parts, and write results/ray_scaling.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="of all parts")
    parser.add_argument("--trials", type=int, default=8, help="trials of a run, an even number")
    parser.add_argument("--epochs", type=int, default=30, help="epochs of a trial")
    parser.add_argument("--rounds", type=int, default=2, help="runs with each number of workers")
    parser.add_argument("--trial", action="store_true", help="one round of four short trials")
    options = parser.parse_args()
    if options.trial:
        options.trials, options.epochs, options.rounds = 4, 10, 1
    shutil.rmtree(HOME, ignore_errors=True)
    os.environ["BMC_HOME"] = str(HOME)
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "overhead": overhead,
        "store": store_rates,
        "scaling": lambda: scaling(options.trials, options.epochs, options.rounds),
        "kills": kills,
    }
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # parts that are not measured now stay
        found = {name: part for name, part in result("ray_scaling").items() if name in PARTS}
    for part in options.part or PARTS:
        started = time.monotonic()
        found[part] = {"load_average": os.getloadavg(), **measure[part]()}
        print(f"{part} ({time.monotonic() - started:.0f} s): {found[part]}", flush=True)
    return finish("ray_scaling", bars(found), found)


def trial(number: int, epochs: int, name: str = "trial") -> Step:
    """Return a training on the digits, which differs from others by its seed alone."""
    settings = {"model": "cnn", "data": "digits", "epochs": epochs, "seed": number}
    return Step(f"{name}-{number}", "train", {}, {**settings, "device": "cpu"})


def fresh(name: str) -> StepStore:
    """Return an empty store."""
    shutil.rmtree(HOME / name, ignore_errors=True)
    return StepStore(str(HOME / name))


def overhead() -> dict[str, Any]:
    """Return the seconds of a task whose result is there: Ray's, and the checks of bmc."""
    store, step = fresh("overhead"), trial(0, 1)
    key = key_of(step, {}, store.hashes)
    started = time.monotonic()
    with closing(RayRunner(store, workers=1, threads=1)) as runner:
        ready = time.monotonic()
        runner.submit(step, key, {})
        first = check(runner)
        again = trial(1, 1)
        runner.submit(again, key_of(again, {}, store.hashes), {})
        second = check(runner)
        done = time.monotonic()
        for _ in range(MANY):
            runner.submit(step, key, {})
        submitted = time.monotonic()
        for _ in range(MANY):
            check(runner)
        ended = time.monotonic()
    return {
        "cluster_s": ready - started,
        "worker_s": first - second,  # what a new process imports
        "submit_s": (submitted - done) / MANY,
        "task_s": (ended - done) / MANY,
    }


def check(runner: RayRunner) -> float:
    """Wait for a step, and return its seconds; end the benchmark if it failed."""
    outcome = runner.wait()
    if outcome.failure is not None:
        raise BmcError(outcome.failure.message)
    return outcome.seconds


def store_rates() -> dict[str, Any]:
    """Return the seconds for one MB of a result: written to a shared location, and read."""
    wide = {"model": "mlp", "data": "digits", "epochs": 1, "width": 65536}
    step, store = Step("wide", "train", {}, wide), fresh("wide")
    key = key_of(step, {}, store.hashes)
    with closing(RayRunner(store, workers=1, threads=1)) as runner:
        runner.submit(step, key, {})
        check(runner)
    folder = store.path(key)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    puts, gets = [], []
    for number in range(5):
        url = f"file://{HOME}/shared-{number}"
        started = time.monotonic()
        StepStore(url, HOME / f"writer-{number}").add(key, folder)
        written = time.monotonic()
        StepStore(url, HOME / f"reader-{number}").path(key)
        puts.append((written - started) / size)
        gets.append((time.monotonic() - written) / size)
    return {
        "mb": size,
        "put_s_per_mb": statistics.median(puts),
        "get_s_per_mb": statistics.median(gets),
    }


def scaling(trials: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of the same trials on one worker and on two, in turn."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    steps: list[float] = []
    for number in range(rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            taken, lengths = run_trials(trials, epochs, workers)
            seconds[workers].append(taken)
            steps += lengths if workers == 1 else []
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    return {
        "trials": trials,
        "seconds_by_workers": seconds,
        "step_s": statistics.median(steps),
        "step_spread": statistics.pstdev(steps) / statistics.mean(steps),
        "linear": one / (2 * two),
    }


def run_trials(trials: int, epochs: int, workers: int) -> tuple[float, list[float]]:
    """Run trials on a number of workers that have torch; return all seconds, and those of each."""
    store = fresh(f"scaling-{workers}")
    with closing(RayRunner(store, workers=workers, threads=1)) as runner:
        for step in [trial(number, 1, "warm") for number in range(workers)]:
            runner.submit(step, key_of(step, {}, store.hashes), {})
        for _ in range(workers):
            check(runner)
        started = time.monotonic()
        for step in [trial(number, epochs) for number in range(trials)]:
            runner.submit(step, key_of(step, {}, store.hashes), {})
        lengths = [check(runner) for _ in range(trials)]
        return time.monotonic() - started, lengths


def plan() -> Plan:
    """Return a recipe of ten steps: six trainings, of which four are pruned."""
    trainings = [trial(number, 6, "base") for number in range(6)]
    pruned = [
        Step(f"half-{number}", "prune", {"model": f"base-{number}"}, {"ratio": 0.5, "epochs": 2})
        for number in range(4)
    ]
    return Plan("kills", (*trainings, *pruned), report=None)


def kills() -> dict[str, Any]:
    """Run a recipe in peace, then while workers are killed, until enough of them were."""
    expected = run_recipe("undisturbed", 0)[0]
    killed, lost, other, twice, runs = 0, 0, 0, 0, 0
    started = time.monotonic()
    while killed < KILLS:
        weights, count, results = run_recipe(f"killed-{runs}", KILLS - killed)
        killed, runs = killed + count, runs + 1
        lost += len(expected.keys() - weights.keys())
        other += sum(weights[name] != expected[name] for name in weights)
        twice += results - len(weights)
    seconds = time.monotonic() - started
    return {
        **{"runs": runs, "steps": len(expected) * runs, "kills": killed, "seconds": seconds},
        **{"lost": lost, "other_weights": other, "twice": twice},
    }


def run_recipe(name: str, number: int) -> tuple[dict[str, str], int, int]:
    """Run the recipe while workers are killed.

    Args:
        name: name of the store.
        number: workers to kill, at most.

    Returns:
        sha256 of the weights of each step, the number of killed workers, and the number of results
        in the store.
    """
    store, over = fresh(name), threading.Event()
    killed: list[int] = []
    os.environ["BMC_HOME"] = str(HOME / f"home-{name}")
    killer = threading.Thread(target=kill_workers, args=(number, over, killed), daemon=True)
    killer.start()
    try:
        runner = RayRunner(store, workers=2, threads=1, retries=KILLS)
        run_plan(plan(), store, runner).raise_failures()
    finally:
        over.set()
        killer.join()
    seals = [store.seal(key) for key in store.keys()]  # noqa: SIM118  a method of the store
    weights = {seal.name: seal.files["model.safetensors"] for seal in seals if seal is not None}
    return weights, len(killed), len(seals)


def kill_workers(number: int, over: threading.Event, killed: list[int]) -> None:
    """Kill a worker that runs a step, at random moments, until enough were killed."""
    chance = random.Random(number)
    while len(killed) < number and not over.wait(chance.uniform(0.2, 4)):
        busy = [each for each in psutil.Process().children(recursive=True) if is_busy(each)]
        if busy:
            worker = chance.choice(busy)
            with suppress(psutil.Error):
                worker.kill()
                killed.append(worker.pid)


def is_busy(process: psutil.Process) -> bool:
    """Tell whether a process is a worker with a step of the recipe."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline()).startswith(("ray::base-", "ray::half-"))
    return False


def bars(found: dict[str, Any]) -> list[Bar]:
    """Hold the results against what they must reach."""
    rows = []
    if "scaling" in found:
        linear = found["scaling"]["linear"]
        rows.append(
            Bar(f"two workers: {LINEAR} of linear", f"{linear:.3f}", linear >= LINEAR),
        )
    if "kills" in found:
        part = found["kills"]
        bad = part["lost"] + part["twice"] + part["other_weights"]
        text = "{kills} kills, {lost} lost, {twice} twice, {other_weights} with other weights"
        rows.append(
            Bar(
                f"{KILLS} killed workers: nothing lost, nothing twice, the same weights",
                text.format(**part),
                part["kills"] >= KILLS and not bad,
            )
        )
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
