"""Simulate a search of many trials on a Ray cluster larger than this machine.

    python benchmarks/ray_simulation.py

It stands on what `benchmarks/ray_scaling.py` and `benchmarks/search_database.py` measured, and puts
its table into docs/scale.md.

A trial is a chain of steps: each waits for the driver, which hands out one task at a time, then for
a worker, which reads its inputs from the store unless it has them, computes, and writes the result.
The driver writes every finished trial to the database of the search. The store has a rate of its
own, which all workers share. Every constant was measured by one of
these, or is an assumption that is named in ASSUMED.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from typing import Any

import simpy
from _common import HERE, Bar, finish, put_table, result

PAGE = HERE.parent / "docs" / "scale.md"
EIGHT = 0.9  # share of linear that eight workers must reach
ASSUMED = {
    "store_mb_s": 1250.0,  # a network of 10 Gbit/s
    "steps": 3,  # compress, fine-tune, quantize
    "model_mb": 18.0,  # the file of `tiny`
    "base_mb": 92.0,  # the file of `bert`, from which every trial starts
    "equal_step_s": 10.0,  # of equal trials, where `ray_scaling.py` has not measured them
    "spread": 0.15,  # standard deviation of the logarithm of a step's seconds
}


@dataclass(frozen=True)
class Cluster:
    """What is simulated; seconds and MB.

    Args:
        workers: number of workers, each with one step at a time.
        trials: number of trials.
        steps: steps of a trial, one after another.
        step_s: median seconds that a step computes.
        spread: standard deviation of the logarithm of these seconds; 0 for equal ones.
        start_s: seconds in which a worker starts, once.
        submit_s: seconds of the driver for each task.
        task_s: seconds of Ray for each task, besides the driver's.
        told_s: seconds of the driver and the database for each finished trial.
        get_s: seconds of a worker to read one MB, if nobody else reads.
        put_s: seconds of a worker to write one MB, likewise.
        store_mb_s: MB a second that the store reads or writes for all workers together.
        base_mb: size of the model that every trial starts from; a worker keeps it.
        model_mb: size of the result of a step.
    """

    workers: int
    trials: int
    steps: int
    step_s: float
    spread: float
    start_s: float
    submit_s: float
    task_s: float
    told_s: float
    get_s: float
    put_s: float
    store_mb_s: float
    base_mb: float
    model_mb: float


class Run:
    """One simulated search.

    Args:
        cluster: what is simulated.
        seed: seed of the lengths of steps.
    """

    def __init__(self, cluster: Cluster, seed: int = 0) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.clock = simpy.Environment()
        self.driver = simpy.Resource(self.clock)
        # The store serves as many workers at their own rate as its rate allows; others wait.
        own_mb_s = 1 / max(cluster.get_s, cluster.put_s)
        streams = max(1, int(cluster.store_mb_s / own_mb_s))
        self.stream_mb_s = min(own_mb_s, cluster.store_mb_s)
        self.store = simpy.Resource(self.clock, streams)
        self.streams = streams
        self.workers = simpy.Store(self.clock)
        self.workers.items = list(range(cluster.workers))
        self.kept: list[set[tuple[int, int]]] = [set() for _ in range(cluster.workers)]
        self.busy = {"driver": 0.0, "store": 0.0, "compute": 0.0}

    def seconds(self) -> float:
        """Return how long all trials take, from the first task to the last result."""
        for trial in range(self.cluster.trials):
            self.clock.process(self._trial(trial))
        self.clock.run()
        return float(self.clock.now)

    def _trial(self, trial: int) -> Generator[Any, Any, None]:
        for step in range(self.cluster.steps):
            yield from self._held(self.driver, self.cluster.submit_s, "driver")
            worker = yield self.workers.get()
            yield from self._task(trial, step, worker)
            yield self.workers.put(worker)
        yield from self._held(self.driver, self.cluster.told_s, "driver")

    def _task(self, trial: int, step: int, worker: int) -> Generator[Any, Any, None]:
        cluster, kept = self.cluster, self.kept[worker]
        if not kept:
            yield self.clock.timeout(cluster.start_s)
        # The base is one model for all trials; a later step reads what the step before it wrote.
        source, size = (
            ((-1, 0), cluster.base_mb) if step == 0 else ((trial, step), cluster.model_mb)
        )
        if source not in kept:
            yield from self._held(self.store, size / self.stream_mb_s, "store")
        kept.add(source)
        seconds = cluster.step_s * self.random.lognormvariate(0, cluster.spread)
        self.busy["compute"] += seconds
        yield self.clock.timeout(cluster.task_s + seconds)
        yield from self._held(self.store, cluster.model_mb / self.stream_mb_s, "store")
        kept.add((trial, step + 1))

    def _held(
        self, resource: simpy.Resource, seconds: float, name: str
    ) -> Generator[Any, Any, None]:
        with resource.request() as turn:
            yield turn
            self.busy[name] += seconds
            yield self.clock.timeout(seconds)


def simulated(cluster: Cluster, seeds: int = 3) -> dict[str, Any]:
    """Return the figures of a cluster, the medians of several seeds.

    `linear` is the share of what as many workers would do if one did the same alone, without the
    start of workers in either; `driver` and `store` are the shares of time in which they work.
    """
    one = replace(cluster, workers=1, trials=max(8, cluster.trials // cluster.workers), start_s=0)
    rows = []
    for seed in range(seeds):
        run, alone = Run(cluster, seed), Run(one, seed)
        seconds = run.seconds()
        rate, rate_alone = cluster.trials / seconds, one.trials / alone.seconds()
        rows.append(
            {
                "hours": seconds / 3600,
                "linear": rate / (cluster.workers * rate_alone),
                "driver": run.busy["driver"] / seconds,
                "store": run.busy["store"] / (seconds * run.streams),
                "compute": run.busy["compute"] / (seconds * cluster.workers),
            }
        )
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def clusters(constants: dict[str, Any]) -> dict[str, Cluster]:
    """Return what is simulated, by what the table calls it."""
    overhead, store = constants["overhead"], constants["store"]
    told = {
        name: row["propose_s"] + row["keep_s"]
        for name, row in result("search_database")["databases"].items()
        if name != "memory"
    }
    equal = Cluster(
        workers=8,
        trials=64,
        steps=1,
        spread=0.0,
        step_s=constants.get("scaling", {}).get("step_s", ASSUMED["equal_step_s"]),
        start_s=0.0,  # the measured runs have workers that are ready, too
        submit_s=overhead["submit_s"],
        task_s=overhead["task_s"],
        told_s=0.0,
        get_s=store["get_s_per_mb"],
        put_s=store["put_s_per_mb"],
        store_mb_s=ASSUMED["store_mb_s"],
        base_mb=0.0,
        model_mb=0.2,
    )
    found = {
        f"{workers} workers, equal trials of {equal.step_s:.0f} s": replace(
            equal, workers=workers, trials=8 * workers
        )
        for workers in (2, 4, 8)
    }
    large = replace(
        equal,
        steps=int(ASSUMED["steps"]),
        model_mb=ASSUMED["model_mb"],
        base_mb=ASSUMED["base_mb"],
        spread=ASSUMED["spread"],
        trials=1000,
        workers=100,
        step_s=60.0,
        start_s=overhead["worker_s"],
        told_s=min(told.values()),
    )
    for step_s in (5.0, 20.0, 60.0):
        for database, told_s in told.items():
            name = f"100 workers, 1,000 trials, steps of {step_s:.0f} s, {database}"
            found[name] = replace(large, step_s=step_s, told_s=told_s)
    slow = replace(large, store_mb_s=100.0)
    found["the same with 60 s, a store of 100 MB/s"] = slow
    found["the same with 60 s, models of 500 MB"] = replace(large, model_mb=500.0, base_mb=1000.0)
    return found


def main() -> int:
    """Simulate every cluster, write the results, and put the table into the page."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    rows = {
        name: {**asdict(cluster), **simulated(cluster)}
        for name, cluster in clusters(result("ray_scaling")).items()
    }
    lines = [
        "| cluster | hours | of linear | driver busy | store busy |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['hours']:.2f} | {row['linear']:.2f} | {row['driver']:.0%} | "
        f"{row['store']:.0%} |"
        for name, row in rows.items()
    ]
    put_table("ray_simulation", lines, PAGE)
    eight = next(row["linear"] for row in rows.values() if row["workers"] == 8)
    step = result("ray_scaling").get("scaling", {}).get("step_s")
    shown = f"{eight:.3f}, trials of {step or ASSUMED['equal_step_s']:g} s"
    shown += "" if step else ", which is assumed"
    bar = Bar(f"eight workers: {EIGHT} of linear", shown, eight >= EIGHT)
    return finish("ray_simulation", [bar], {"assumed": ASSUMED, "rows": rows})


if __name__ == "__main__":
    raise SystemExit(main())
