"""Rows of concurrent requests are computed together, in order, and never beyond the limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from bmc.errors import RequestError
from bmc.serving.batches import Batcher, Job
from bmc.serving.settings import ServingSettings


class Doubling:
    """Doubles numbers, four at a time; the first batch waits until the gate is open."""

    round_size = 8

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()

    def jobs(self, rows: list[int]) -> Iterator[Job]:
        for start in range(0, len(rows), 4):
            indices = range(start, min(start + 4, len(rows)))
            if 17 in rows[start : start + 4]:
                raise RuntimeError("seventeen")
            yield Job(indices, partial(self._run, rows, indices))

    def _run(self, rows: list[int], indices: range) -> list[tuple[int, int]]:
        self.gate.wait(10)
        self.batches.append([rows[index] for index in indices])
        if 13 in self.batches[-1]:
            raise RuntimeError("thirteen")
        return [(index, 2 * rows[index]) for index in indices]


def with_batcher(
    work: Callable[[Batcher, Doubling], Awaitable[None]],
    settings: ServingSettings = ServingSettings(max_batch=4, max_waiting=10, timeout=5),
) -> list[int]:
    """Run work beside a batcher; return the sizes of the batches that it computed."""
    sizes: list[int] = []

    async def main() -> None:
        doubling = Doubling()
        batcher = Batcher(doubling, settings, sizes.append)
        batcher.start()
        try:
            await work(batcher, doubling)
        finally:
            doubling.gate.set()
            batcher.close()

    asyncio.run(main())
    return sizes


async def started(batcher: Batcher, rows: list[int]) -> asyncio.Task[list[int]]:
    """Start a request, and return when its rows wait or are computed."""
    task = asyncio.create_task(batcher.predict(rows))
    await asyncio.sleep(0.02)
    return task


def test_requests_that_wait_share_batches_and_each_gets_its_own_results() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        tasks = [await started(batcher, rows) for rows in ([1], [2], [3, 4], [5], [])]
        assert batcher.waiting == 4
        doubling.gate.set()
        assert await asyncio.gather(*tasks) == [[2], [4], [6, 8], [10], []]
        assert doubling.batches == [[1], [2], [3, 4, 5]]
        assert batcher.waiting == 0

    assert with_batcher(work) == [1, 1, 3]


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
        assert doubling.batches == [[1], [6]]

    with_batcher(work, ServingSettings(max_batch=4, max_waiting=10, timeout=0.2))


@pytest.mark.parametrize(("bad", "message"), [(13, "thirteen"), (17, "seventeen")])
def test_a_request_that_fails_gets_its_error_and_those_after_it_their_results(
    bad: int, message: str
) -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        doubling.gate.set()
        with pytest.raises(RuntimeError, match=message):
            await batcher.predict([bad])
        assert await batcher.predict([4]) == [8]
        assert batcher.waiting == 0

    with_batcher(work)


def test_rows_that_cannot_be_prepared_do_not_end_the_other_requests_of_their_round() -> None:
    async def work(batcher: Batcher, doubling: Doubling) -> None:
        running, ready = await started(batcher, [1]), await started(batcher, [2])
        bad, good = await started(batcher, [17]), await started(batcher, [4, 5])
        doubling.gate.set()
        with pytest.raises(RuntimeError, match="seventeen"):
            await bad
        assert [await running, await ready, await good] == [[2], [4], [8, 10]]
        assert batcher.waiting == 0

    with_batcher(work)


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
