"""Does `bmc serve` reach the throughput of its runtime, and does its memory stay?

    python benchmarks/service.py BUNDLE                       (5 minutes on two quiet cores)
    python benchmarks/service.py BUNDLE --requests 5000       (a try-out)

BUNDLE classifies movie reviews. 64 clients in one process send requests with --rows texts each, the
next when the last is answered, to `bmc serve` on loopback, and compare every answer with that of
the bundle in Python. The runtime alone computes the same texts, prepared as tensors in batches of
32, and `bmc.load` computes them from texts, before and after the service. The service must reach
80 % of the runtime's rows per second, give no wrong answer, and end with the memory that it had
after a fifth of the requests (2 MB more at most). Then a service that lets 256 rows wait is asked
by the same clients: what is refused must be refused with status 429.

Client and service share the cores, so the throughput is a lower limit. Writes
benchmarks/results/service.json; Linux only. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _common import Bar, finish

import bmc
from bmc import data as datasets
from bmc import workspace
from bmc.inputs import ordered_batches
from bmc.pipeline import Pipeline

CLIENTS, BATCH, TEXTS = 64, 32, 1024
SHARE, GROWTH_MB, CLOSE = 0.8, 2.0, 1e-3
HEAD = "POST /predict HTTP/1.1\r\nHost: bmc\r\nContent-Type: application/json\r\n"


class Load:
    """What the clients saw."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.wrong = 0
        self.megabytes: list[float] = []
        self.seconds = 0.0


def main() -> int:
    """Measure the runtime, the service, and the runtime again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=8, help="texts of a request")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    folder = workspace.find(options.bundle, "bundle")
    texts = [text for (text,) in datasets.load("movie-reviews").test.rows[:TEXTS]]
    with bmc.load(folder, threads=options.threads) as pipeline:
        expected = [(each.label, each.score) for each in pipeline(texts)]
        alone = [_alone(pipeline, texts)]
        served = _measured(folder, texts, expected, options, ())
        alone.append(_alone(pipeline, texts))
    shed = _measured(folder, texts, expected, options, ("--max-waiting", "256"), 1 / 20)
    rate = served.statuses[200] * options.rows / served.seconds
    runtime = max(speeds["runtime"] for speeds in alone)
    growth = served.megabytes[-1] - served.megabytes[0]
    others = {status for status in shed.statuses if status not in (200, 429)}
    share = rate / runtime
    bars = [
        Bar(f"{SHARE:.0%} of the runtime's throughput", f"{share:.1%}", share >= SHARE),
        Bar("no wrong answer", f"{served.wrong} of {served.statuses.total():,}", not served.wrong),
        Bar("every request is answered", str(dict(served.statuses)), set(served.statuses) == {200}),
        Bar("memory does not grow", f"{growth:+.1f} MB", growth <= GROWTH_MB),
        Bar("429 alone is refused", str(dict(shed.statuses)), not others and not shed.wrong),
    ]
    content = {
        "clients": CLIENTS,
        "rows_of_a_request": options.rows,
        "threads": options.threads,
        "alone_rows_per_second": alone,
        "service": _shown(served, options.rows),
        "with_256_waiting": _shown(shed, options.rows),
    }
    return finish("service", bars, content)


def _alone(pipeline: Pipeline, texts: list[str]) -> dict[str, float]:
    """Return the rows per second of the runtime, and of the pipeline from texts on."""
    encoder = pipeline.bundle.encoder
    encoded = encoder.encode([(text,) for text in texts])
    batches = [arrays for _, arrays in ordered_batches(encoder, encoded, BATCH)]

    def run_tensors() -> None:
        for arrays in batches:
            pipeline.session.run(arrays)

    def run_texts() -> None:
        for start in range(0, len(texts), BATCH):
            pipeline(texts[start : start + BATCH])

    work = {"runtime": run_tensors, "pipeline": run_texts}
    speeds = {}
    for name, run in work.items():
        run()
        start, turns = time.perf_counter(), 0
        while time.perf_counter() - start < 10:
            run()
            turns += 1
        speeds[name] = turns * len(texts) / (time.perf_counter() - start)
    return speeds


def _measured(
    folder: Path,
    texts: list[str],
    expected: list[tuple[str, float]],
    options: argparse.Namespace,
    limits: tuple[str, ...],
    part: float = 1.0,
) -> Load:
    load = Load()
    with _service(folder, "--threads", str(options.threads), *limits) as (address, process):
        bodies = [
            (first, json.dumps({"rows": texts[first : first + options.rows]}).encode())
            for first in range(0, len(texts) - options.rows, options.rows)
        ]
        start = time.perf_counter()
        asyncio.run(_ask(address, bodies, expected, int(part * options.requests), load, process))
        load.seconds = time.perf_counter() - start
    return load


@contextmanager
def _service(folder: Path, *options: str) -> Iterator[tuple[tuple[str, int], psutil.Process]]:
    """Run `bmc serve`, and give its address."""
    command = [sys.executable, "-c", "from bmc.cli import main; main()", "serve", str(folder)]
    child = subprocess.Popen([*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    if child.stderr is None:
        raise ValueError("the service has no stderr")
    found = next(filter(None, (re.search(r"http://([\d.]+):(\d+)", line) for line in child.stderr)))
    try:
        yield (found[1], int(found[2])), psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


async def _ask(
    address: tuple[str, int],
    bodies: list[tuple[int, bytes]],
    expected: list[tuple[str, float]],
    requests: int,
    load: Load,
    process: psutil.Process,
) -> None:
    numbers = iter(range(requests))
    marks = {requests // 5, requests - CLIENTS}

    async def client() -> None:
        reader, writer = await asyncio.open_connection(*address)
        for number in numbers:
            if number in marks:
                load.megabytes.append(process.memory_info().rss / 1e6)
            first, body = bodies[number % len(bodies)]
            start = time.perf_counter()
            writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status, content = await _answer(reader)
            load.milliseconds.append(1000 * (time.perf_counter() - start))
            load.statuses[status] += 1
            if status == 200:
                load.wrong += not _is_right(json.loads(content)["predictions"], expected[first:])
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = re.search(r"content-length: (\d+)", head)
    return int(head.split()[1]), await reader.readexactly(int(length[1]) if length else 0)


def _is_right(answers: list[dict[str, Any]], expected: list[tuple[str, float]]) -> bool:
    return all(
        answer["label"] == label and abs(answer["score"] - score) < CLOSE
        for answer, (label, score) in zip(answers, expected, strict=False)
    )


def _shown(load: Load, rows: int) -> dict[str, Any]:
    p50, p99 = np.percentile(load.milliseconds, (50, 99))
    return {
        "rows_per_second": load.statuses[200] * rows / load.seconds,
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "wrong": load.wrong,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "megabytes": load.megabytes,
    }


if __name__ == "__main__":
    sys.exit(main())
