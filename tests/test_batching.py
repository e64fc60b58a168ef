"""Rows in batches: results in order, and never more rows in memory than the bound allows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import bmc
from bmc import batching
from bmc.errors import DataError, SettingError, UsageError
from bmc.pipeline import Pipeline

TEXTS = [f"film number {number} " + "fine " * (number % 9) for number in range(60)]


@pytest.fixture(scope="module")
def classify(bundle_of: Callable[[str], Path]) -> Iterator[Pipeline]:
    with bmc.load(bundle_of("onnx"), threads=1) as pipeline:
        yield pipeline


def test_batches_predict_what_single_calls_do(classify: Pipeline) -> None:
    expected = [classify(text) for text in TEXTS]
    for size, memory_mb in ((7, 256.0), (64, 0.01), (1, 1e-6), (64, float("inf"))):
        predictions = list(classify.batch(iter(TEXTS), size, memory_mb))
        assert [each.label for each in predictions] == [each.label for each in expected]
        scores, others = ([each.score for each in many] for many in (predictions, expected))
        assert np.allclose(scores, others, atol=1e-5)
    assert list(classify.batch([])) == []


def test_rows_are_read_as_far_as_the_bound_allows(classify: Pipeline) -> None:
    read = 0

    def long_texts() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "a fine film " * 10_000  # 120 kB

    first = next(classify.batch(long_texts(), memory_mb=1.0))
    assert first.label in ("negative", "positive")
    assert 8 <= read <= 9, "the row that did not fit was read, too"
    read = 0
    next(classify.batch(long_texts(), memory_mb=0.01))
    assert read <= 2, "a row that is larger alone is predicted alone"


def test_the_cost_of_a_row_is_that_of_what_it_holds() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    assert batching.bytes_of_row(image) == 300
    assert batching.bytes_of_row((image, image)) == 600
    assert batching.bytes_of_row({"a": image}) == 300
    assert batching.bytes_of_row("x" * 1000) >= 1000
    windows = list(batching.windows([3, 3, 3, 9, 1], lambda row: row, 6))
    assert windows == [[3, 3], [3], [9], [1]]
    assert [len(each) for each in batching.windows(range(2500), lambda row: 0, 1)] == [
        *[batching.MAX_ROWS] * 2,
        2500 - 2 * batching.MAX_ROWS,
    ]


def test_a_bad_row_of_a_batch_is_counted_from_the_first_row(classify: Pipeline) -> None:
    rows = [*TEXTS[:5], "", *TEXTS[5:8]]
    with pytest.raises(DataError, match="row 6"):
        list(classify.batch(rows, memory_mb=1e-6))
    results = list(classify.batch(rows, memory_mb=1e-6, errors="return"))
    assert [isinstance(each, DataError) for each in results] == [index == 5 for index in range(9)]


def test_arguments_that_make_no_sense_and_closed_pipelines_are_refused_at_the_call(
    classify: Pipeline, bundle_of: Callable[[str], Path]
) -> None:
    with pytest.raises(SettingError, match="memory_mb is 0"):
        classify.batch(TEXTS, memory_mb=0)
    with pytest.raises(SettingError, match="batch_size is 0"):
        classify.batch(TEXTS, size=0)
    for one_row in (TEXTS[0], b"a film", {"text": "a film"}, 7):
        with pytest.raises(DataError, match="batch takes an iterable of rows"):
            classify.batch(one_row)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="errors is 'ignore'"):
        classify.batch(TEXTS, errors="ignore")  # type: ignore[arg-type]
    closed = bmc.load(bundle_of("onnx"), threads=1)
    closed.close()
    with pytest.raises(UsageError, match="is closed"):
        closed.batch(TEXTS)


def test_threads_and_tasks_share_one_session_in_batches(classify: Pipeline) -> None:
    expected = [each.label for each in classify(TEXTS)]
    results: list[list[str]] = []

    def ask() -> None:
        results.append([each.label for each in classify.batch(TEXTS, size=5, memory_mb=0.05)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def gather() -> list[str]:
        tasks = (asyncio.to_thread(classify, text) for text in TEXTS)
        return [each.label for each in await asyncio.gather(*tasks)]

    assert results == [expected] * 8
    assert asyncio.run(gather()) == expected
