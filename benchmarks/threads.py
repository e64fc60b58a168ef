"""Measure the throughput of small bundles called from eight threads, with and without locks.

    python benchmarks/soak.py --seconds 2 --beside 1      makes the bundles
    python benchmarks/threads.py                          three minutes, nothing else running

A call of 0.1 ms is mostly Python code, which one thread at a time executes. `control` is a function
without a runtime that takes as long: no bundle can gain more from threads than this function.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from _common import RUNS, finish
from soak import MODELS, THREADS, Count, ask, rows_of

from bmc.pipeline import load
from bmc.predictions import Prediction

BUNDLES = ("text-onnx", "image-onnx", "image-openvino", "image-pytorch", "series-openvino")
TURN = 0.01  # seconds


class Turns:
    """A lock that a thread keeps for `TURN` seconds, over several calls, while others wait."""

    def __init__(self) -> None:
        self._lock, self._state = threading.Lock(), threading.Lock()
        self._owner = self._waiting = 0
        self._until, self._inside = 0.0, False

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._state:
            if self._owner == me:
                self._inside = True
                return
            self._waiting += 1
        while not self._lock.acquire(timeout=TURN):
            with self._state:
                if self._owner and not self._inside and time.monotonic() > self._until:
                    self._owner = 0  # the owner's turn is over, and it makes no call
                    self._lock.release()
        with self._state:
            self._waiting -= 1
            self._owner, self._inside, self._until = me, True, time.monotonic() + TURN

    def __exit__(self, *_: object) -> None:
        with self._state:
            self._inside = False
            if not self._waiting or time.monotonic() >= self._until:
                self._owner = 0
                self._lock.release()


LOCKS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "freely": nullcontext,
    "one after another": threading.Lock,
    "turns of 10 ms": Turns,
}


def main() -> int:
    """Measure every bundle and the control with every lock, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4, help="seconds per measurement")
    seconds = parser.parse_args().seconds
    results = {"control": ratios_of(control, [np.ones(256, np.float32)] * 32, seconds)}
    for name in BUNDLES:
        kind = name.partition("-")[0]
        with load(RUNS / "soak" / name, threads=1) as pipeline:
            results[name] = ratios_of(pipeline, rows_of(kind, MODELS[kind][1]), seconds)
    for name, ratios in results.items():
        print(f"{name:16}", *(f"{lock_name} {ratio:.2f}  " for lock_name, ratio in ratios.items()))
    return finish("threads", [], {"seconds": seconds, "times_the_rows_of_one_thread": results})


def ratios_of(predict: Callable[[Any], Any], rows: list[Any], seconds: float) -> dict[str, float]:
    """Return the throughput of THREADS threads relative to one thread, by lock."""
    expected = [predict(row) for row in rows]

    def rate(threads: int, lock: AbstractContextManager[Any]) -> float:
        def locked_predict(batch: Any) -> Any:
            with lock:
                return predict(batch)

        counts = [Count() for _ in range(threads)]
        callers = [
            threading.Thread(
                target=ask, args=(locked_predict, rows, expected, count, start, seconds)
            )
            for start, count in enumerate(counts)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return sum(count.rows for count in counts) / seconds

    single = rate(1, nullcontext())
    return {
        lock_name: rate(THREADS, lock_class()) / single for lock_name, lock_class in LOCKS.items()
    }


def control(batch: Any) -> Any:
    """Do the work of a pipeline for a row or a list of rows: operations on a few small arrays.

    A matrix product takes the place of the runtime; both release Python's global lock.
    """
    rows = batch if isinstance(batch, list) else [batch]
    stacked = np.stack([np.asarray(row, np.float32) for row in rows])
    logits = (stacked @ _WEIGHTS).astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = shifted / shifted.sum(axis=1, keepdims=True)
    predictions = [Prediction(f"{row.argmax()}", float(row.max())) for row in scores]
    return predictions if isinstance(batch, list) else predictions[0]


_WEIGHTS = np.random.default_rng(0).normal(size=(256, 10)).astype(np.float32)

if __name__ == "__main__":
    raise SystemExit(main())
