"""Run bundles for a long time: count wrong predictions and errors, measure memory and speed.

    make soak SOAK_MINUTES=60                    all of them, an hour in all
    python benchmarks/soak.py --seconds 60 --beside 15      60 s of eight threads, 15 s of the rest

Each kind of data on each CPU target is asked by one thread and then by eight, for single rows and
lists in turn, with texts of 100,000 characters among them; then by processes that load the bundle
themselves. Memory is compared between the middle of a measurement and its end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _common import RUNS, Bar, bmc, finish

from bmc import data as datasets
from bmc.pipeline import Pipeline, load

TARGETS = ("onnx", "openvino", "pytorch")
MODELS = {
    "text": ("lstm", "movie-reviews"),
    "image": ("mlp", "digits"),
    "series": ("gru", "japanese-vowels"),
}
THREADS, ROWS, LIST, PROCESSES = 8, 64, 16, 2
TOLERANCE = 1e-4
GROWTH = 64  # MB that allocators may take in the second half of a measurement
_MEASUREMENTS = len(MODELS) * len(TARGETS) * 3


@dataclass
class Count:
    """The counts of one measurement."""

    rows: int = 0
    wrong: int = 0
    errors: int = 0
    first_error: str = ""


def main() -> int:
    """Measure every kind of data on every target, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="of all measurements together")
    parser.add_argument("--seconds", type=float, help="of each measurement, instead")
    parser.add_argument("--beside", type=float, help="of one thread and of processes; as --seconds")
    options = parser.parse_args()
    seconds = options.seconds or options.minutes * 60 / _MEASUREMENTS
    spans = {1: options.beside or seconds, THREADS: seconds}
    results = []
    print(f"{'bundle':16}{'threads':>8}{'rows/s':>10}{'wrong':>7}{'errors':>8}{'growth MB':>11}")
    for kind, (model, data) in MODELS.items():
        rows = rows_of(kind, data)
        for target in TARGETS:
            results += soaked(bundle_of(kind, model, data, target), rows, kind, target, spans)
    return finish("soak", bars(results), {"seconds_of_threads": spans, "measurements": results})


def bundle_of(kind: str, model: str, data: str, target: str) -> Path:
    """Return a small bundle, made when there is none yet."""
    folder, output = RUNS / "soak" / kind, RUNS / "soak" / f"{kind}-{target}"
    if not folder.exists():
        bmc("train", model, "--data", data, "--epochs", 1, "--output", folder, "--quiet")
    if not output.exists():
        bmc("export", folder, "--target", target, "--output", output, "--quiet")
    return output


def rows_of(kind: str, data: str) -> list[Any]:
    """Return rows as in an application; two of the texts are long."""
    test = datasets.load(data).test.rows
    if kind != "text":
        return [np.asarray(test[index]) for index in range(ROWS)]
    rows = [test[index][0] for index in range(ROWS)]
    rows[7], rows[31] = (" ".join(rows) * 40)[:100_000], (rows[3] + " ") * 900
    return rows


def soaked(
    bundle: Path, rows: list[Any], kind: str, target: str, spans: dict[int, float]
) -> list[dict[str, Any]]:
    """Run one bundle from one thread, from eight threads, and from processes.

    Args:
        bundle: its folder.
        rows: rows to predict.
        kind: kind of the rows.
        target: target of the bundle.
        spans: seconds for each number of threads.
    """
    results = []
    with load(bundle, threads=1) as pipeline:
        truth = [pipeline(row) for row in rows]
        for threads, seconds in spans.items():
            counts = [Count() for _ in range(threads)]
            callers = [
                threading.Thread(target=ask, args=(pipeline, rows, truth, count, start, seconds))
                for start, count in enumerate(counts)
            ]
            for caller in callers:
                caller.start()
            time.sleep(seconds / 2)  # sessions and caches of all threads are filled by then
            before = memory()
            for caller in callers:
                caller.join()
            results.append(
                print_result(kind, target, f"{threads}", counts, seconds, memory() - before)
            )
    seconds = spans[1]
    expected = [(prediction.label, prediction.score) for prediction in truth]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        work = [(bundle, rows, expected, start, seconds) for start in range(PROCESSES)]
        results_of_processes = pool.starmap(in_process, work)
    counts, growths = (
        [count for count, _ in results_of_processes],
        [growth for _, growth in results_of_processes],
    )
    results.append(print_result(kind, target, "processes", counts, seconds, max(growths)))
    return results


def in_process(
    bundle: Path, rows: list[Any], expected: list[tuple[str, float]], start: int, seconds: float
) -> tuple[Count, float]:
    """Load the bundle in this process and ask it; return what was seen and the MB of growth.

    Growth is measured in the second half, when caches are filled and only a leak grows.
    """
    from bmc import Prediction  # noqa: PLC0415  the parent has it already

    count, truth = Count(), [Prediction(label, score) for label, score in expected]
    with load(bundle, threads=1) as pipeline:
        ask(pipeline, rows, truth, count, start, seconds / 2)
        before = memory()
        ask(pipeline, rows, truth, count, start, seconds / 2)
        return count, memory() - before


def ask(
    pipeline: Pipeline, rows: list[Any], truth: list[Any], count: Count, start: int, seconds: float
) -> None:
    """Predict single rows and lists alternately, and compare with the results of one thread."""
    end, turn = time.monotonic() + seconds, 7 * start
    while time.monotonic() < end:
        turn += 1
        some = [(turn + step) % len(rows) for step in range(1 if turn % 2 else LIST)]
        batch = [rows[index] for index in some]
        try:
            predictions = pipeline(batch) if len(some) > 1 else [pipeline(batch[0])]
        except Exception as error:  # noqa: BLE001  each is a finding, whatever it is
            count.errors += 1
            count.first_error = count.first_error or f"{type(error).__name__}: {error}"
            continue
        count.rows += len(some)
        for index, prediction in zip(some, predictions, strict=True):
            near = abs(prediction.score - truth[index].score) <= TOLERANCE
            count.wrong += not (near and prediction.label == truth[index].label)


def print_result(
    kind: str, target: str, threads: str, counts: list[Count], seconds: float, growth: float
) -> dict[str, Any]:
    """Print and return one row of the table."""
    total = Count(
        sum(count.rows for count in counts),
        sum(count.wrong for count in counts),
        sum(count.errors for count in counts),
        next((count.first_error for count in counts if count.first_error), ""),
    )
    rate = total.rows / seconds
    print(
        f"{kind + '-' + target:16}{threads:>8.8}{rate:10.0f}{total.wrong:7}{total.errors:8}"
        f"{growth:11.1f}",
        flush=True,
    )
    row = {"kind": kind, "target": target, "threads": threads, "rows_a_second": rate}
    return {**row, **asdict(total), "growth_mb": growth}


def bars(results: list[dict[str, Any]]) -> list[Bar]:
    """Hold all measurements against what they must reach."""
    rates = {
        (result["kind"], result["target"], result["threads"]): result["rows_a_second"]
        for result in results
    }
    ratios = {
        f"{kind}-{target}": rates[kind, target, f"{THREADS}"] / max(rates[kind, target, "1"], 1e-9)
        for kind, target, threads in rates
        if threads == "1"
    }
    wrong, errors = (sum(result[name] for result in results) for name in ("wrong", "errors"))
    slowest = min(ratios, key=lambda name: ratios[name])
    growth = max(result["growth_mb"] for result in results)
    return [
        Bar("0 wrong answers", f"{wrong}", wrong == 0),
        Bar("0 errors", f"{errors}", errors == 0),
        Bar(
            f"{THREADS} threads answer as many rows as one",
            f"{ratios[slowest]:.2f} times ({slowest})",
            ratios[slowest] >= 1,
        ),
        Bar(
            f"memory grows by less than {GROWTH} MB in the second half",
            f"{growth:.1f}",
            growth < GROWTH,
        ),
    ]


def memory() -> float:
    """Return this process's resident memory in MB."""
    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
