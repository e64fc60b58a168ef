"""Rows of concurrent requests are computed together, in order, and never beyond the limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from bmc.errors import RequestError
from bmc.serving.batches import Batcher
from bmc.serving.settings import ServingSettings


class Doubling:
    """Doubles numbers; the first batch waits until the gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()

    def __call__(self, rows: list[int]) -> list[int]:
        self.gate.wait(10)
        self.batches.append(rows)
        if 13 in rows:
            raise RuntimeError("thirteen")
        return [2 * row for row in rows]


def with_batcher(
    work: Callable[[Batcher, Doubling], Awaitable[None]],
    settings: ServingSettings = ServingSettings(max_batch=4, max_waiting=10, timeout=5),  # noqa: B008
) -> list[int]:
    """Run work beside a batcher; return the sizes of the batches that it computed."""
    sizes: list[int] = []

    async def main() -> None:
        doubling = Doubling()
        batcher = Batcher(doubling, settings, sizes.append)
        task = asyncio.create_task(batcher.run())
        try:
            await work(batcher, doubling)
        finally:
            doubling.gate.set()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    return sizes


async def started(batcher: Batcher, rows: list[int]) -> asyncio.Task[list[int]]:
    """Start a request, and return when its rows wait or are computed."""
    task = asyncio.create_task(batcher.predict(rows))
    await asyncio.sleep(0.02)
    return task


def test_requests_that_wait_share_batches_and_each_gets_its_own_results() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        tasks = [await started(batcher, rows) for rows in ([1], [2, 3, 4], [5, 6, 7], [])]
        assert batcher.waiting == 6
        doubling.gate.set()
        assert await asyncio.gather(*tasks) == [[2], [4, 6, 8], [10, 12, 14], []]
        assert doubling.batches == [[1], [2, 3, 4, 5], [6, 7]]
        assert batcher.waiting == 0

    assert with_batcher(work) == [1, 4, 2]


def test_rows_beyond_the_limit_are_refused_before_they_wait() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        running = await started(batcher, [1])
        waiting = await started(batcher, list(range(9)))
        for rows, status in ((list(range(11)), 413), ([1, 2], 429)):
            with pytest.raises(RequestError) as refused:
                await batcher.predict(rows)
            assert refused.value.status == status
        last = await started(batcher, [5])
        doubling.gate.set()
        results = await asyncio.gather(running, waiting, last)
        assert list(results) == [[2], list(range(0, 18, 2)), [10]]

    with_batcher(work)


def test_a_request_that_is_cancelled_or_late_leaves_no_rows_behind() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        running = await started(batcher, [1])
        cancelled = await started(batcher, [2, 3])
        cancelled.cancel()
        with pytest.raises(RequestError, match="not computed within") as refused:
            await batcher.predict([4])
        assert refused.value.status == 503
        assert batcher.waiting == 0
        with pytest.raises(RequestError):  # its time is over, too
            await running
        doubling.gate.set()
        assert await batcher.predict([6]) == [12]
        assert [2, 3] not in doubling.batches

    with_batcher(work, ServingSettings(max_batch=4, max_waiting=10, timeout=0.2))


def test_an_error_of_the_runtime_ends_the_requests_of_its_batch_alone() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        doubling.gate.set()
        with pytest.raises(RuntimeError, match="thirteen"):
            await batcher.predict([13])
        assert await batcher.predict([4]) == [8]

    with_batcher(work)


def test_rows_that_fail_do_not_end_the_other_requests_of_their_batch() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        running = await started(batcher, [1])
        bad, good = await started(batcher, [13]), await started(batcher, [4, 5])
        doubling.gate.set()
        with pytest.raises(RuntimeError, match="thirteen"):
            await bad
        assert await good == [8, 10]
        assert await running == [2]
        assert doubling.batches == [[1], [13, 4, 5], [13], [4, 5]]

    assert with_batcher(work) == [1, 3]


def test_a_batch_waits_for_more_rows_until_it_is_full_or_its_time_is_over() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        doubling.gate.set()
        tasks = [await started(batcher, [number]) for number in range(4)]
        assert await asyncio.gather(*tasks) == [[0], [2], [4], [6]]
        assert doubling.batches == [[0, 1, 2, 3]]
        alone = asyncio.create_task(batcher.predict([9]))
        await asyncio.sleep(0.05)
        assert not alone.done()
        assert await alone == [18]

    settings = ServingSettings(max_batch=4, max_delay=400, timeout=5)
    assert with_batcher(work, settings) == [4, 1]
