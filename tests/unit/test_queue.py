"""Which cluster is next. All in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
from virtual_time import now, virtually

from daemon.errors import StepError
from daemon.kube.api import Key
from daemon.kube.errors import Unreachable
from daemon.queue import BACKOFF_MAX_S, BACKOFF_MIN_S, Queue

A, B, C = (Key("shop", name) for name in "abc")
Answer = Callable[[Key], Awaitable[float | None]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])


class Passes:
    """Runs passes that take a second each, and remembers when each began and ended."""

    def __init__(self, answer: Answer | None = None, lasts_s: float = 1.0) -> None:
        self.began: list[tuple[str, float]] = []
        self.ended: list[tuple[str, float]] = []
        self.together: set[str] = set()
        self.most_together = 0
        self._answer = answer
        self._lasts_s = lasts_s

    async def __call__(self, key: Key) -> float | None:
        assert key.name not in self.together, "two passes over one cluster at a time"
        self.began.append((key.name, now()))
        self.together.add(key.name)
        self.most_together = max(self.most_together, len(self.together))
        try:
            await asyncio.sleep(self._lasts_s)
            return await self._answer(key) if self._answer else None
        finally:
            self.together.discard(key.name)
            self.ended.append((key.name, now()))

    def of(self, key: Key) -> list[float]:
        return [at for name, at in self.began if name == key.name]


@asynccontextmanager
async def working(passes: Passes, workers: int = 8, *, opened: bool = True) -> AsyncIterator[Queue]:
    queue = Queue(passes, workers)
    task = asyncio.create_task(queue.run())
    if opened:
        queue.open()
    yield queue
    assert not task.done(), "the workers go on whatever happens"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def raising(error: Exception, times: int = 10**6) -> Answer:
    left = [times]

    async def answer(_: Key) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return answer


def test_a_key_added_often_is_looked_at_once() -> None:
    async def story() -> None:
        passes = Passes()
        async with working(passes) as queue:
            for _ in range(5):
                queue.add(A)
            assert queue.depth() == 1
            await asyncio.sleep(60)
            assert passes.of(A) == [0.0]
            assert queue.depth() == 0

    virtually(story())


def test_news_during_a_pass_cause_exactly_one_more_after_it() -> None:
    async def story() -> None:
        passes = Passes()
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(0.5)
            queue.add(A)
            queue.add(A, urgent=True)
            await asyncio.sleep(60)
            assert passes.of(A) == [0.0, 1.0]

    virtually(story())


def test_clusters_run_side_by_side_up_to_the_number_of_workers() -> None:
    async def story() -> None:
        passes = Passes()
        async with working(passes, workers=2) as queue:
            for key in (A, B, C):
                queue.add(key)
            await asyncio.sleep(60)
            assert passes.began == [("a", 0.0), ("b", 0.0), ("c", 1.0)]
            assert passes.most_together == 2

    virtually(story())


@pytest.mark.parametrize(("due_s", "begins"), [(5.0, [0.0, 6.0]), (0.0, [0.0, 1.0]), (None, [0.0])])
def test_a_pass_says_when_the_next_is_due(due_s: float | None, begins: list[float]) -> None:
    async def story() -> None:
        due = [due_s]

        async def once(_: Key) -> float | None:
            return due.pop() if due else None

        passes = Passes(once)
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(60)
            assert passes.of(A) == begins

    virtually(story())


def test_news_come_before_the_date_and_take_its_place() -> None:
    async def story() -> None:
        due: list[float | None] = [30.0, None]

        async def twice(_: Key) -> float | None:
            return due.pop(0)

        passes = Passes(twice)
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(10)
            queue.add(A)
            await asyncio.sleep(100)
            assert passes.of(A) == [0.0, 10.0]

    virtually(story())


@pytest.mark.parametrize("error", [StepError("no"), Unreachable("no"), ZeroDivisionError("a bug")])
def test_failures_are_repeated_ever_more_slowly(error: Exception) -> None:
    async def story() -> None:
        passes = Passes(raising(error), lasts_s=0)
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(1000)
        pauses = [later - earlier for earlier, later in zip(passes.of(A), passes.of(A)[1:], strict=False)]
        for count, pause in enumerate(pauses):
            longest = min(BACKOFF_MIN_S * 2**count, BACKOFF_MAX_S)
            assert longest / 2 <= pause <= longest
        assert 1000 / BACKOFF_MAX_S <= len(pauses) <= 1000 / BACKOFF_MAX_S * 2 + 10

    virtually(story())


def test_after_a_success_the_next_failure_waits_little_again() -> None:
    async def story() -> None:
        outcomes: list[Exception | None] = [StepError("x")] * 5 + [None, StepError("y"), None]

        async def answer(_: Key) -> float | None:
            outcome = outcomes.pop(0)
            if outcome:
                raise outcome
            return 100.0 if outcomes else None

        passes = Passes(answer, lasts_s=0)
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(1000)
        begins = passes.of(A)
        assert len(begins) == 8
        assert begins[7] - begins[6] <= BACKOFF_MIN_S

    virtually(story())


def test_news_do_not_cut_a_backoff_short_unless_they_are_urgent() -> None:
    async def story() -> None:
        passes = Passes(raising(StepError("x"), times=4), lasts_s=0)
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(
                1.76
            )  # tries at 0, by 0.5, by 1.5: the fourth is not before 0.25+0.5+1 = 1.75
            tried = len(passes.began)
            queue.add(A)
            await asyncio.sleep(0)
            assert len(passes.began) == tried
            queue.add(A, urgent=True)
            await asyncio.sleep(0.001)
            assert len(passes.began) == tried + 1
            await asyncio.sleep(1000)
            assert len(passes.began) == 5

    virtually(story())


def test_news_during_the_pass_that_ends_the_failures_are_not_lost() -> None:
    async def story() -> None:
        passes = Passes(raising(StepError("x"), times=1))
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(1 + BACKOFF_MIN_S + 0.5)
            assert passes.together == {"a"}
            queue.add(A)
            await asyncio.sleep(60)
            assert len(passes.began) == 3

    virtually(story())


def test_news_during_a_pass_that_fails_wait_for_the_same_pause() -> None:
    async def story() -> None:
        passes = Passes(raising(StepError("x")))
        async with working(passes) as queue:
            queue.add(A)
            for _ in range(200):
                await asyncio.sleep(0.1)
                queue.add(A)
        assert len(passes.began) <= 8  # 1 s each, and pauses of at least 0.25 0.5 1 2 4 8 s

    virtually(story())


def test_urgent_news_during_a_pass_that_fails_are_looked_at_at_once() -> None:
    async def story() -> None:
        passes = Passes(raising(StepError("x"), times=1))
        async with working(passes) as queue:
            queue.add(A)
            await asyncio.sleep(0.5)
            queue.add(A, urgent=True)
            await asyncio.sleep(60)
            assert passes.of(A) == [0.0, 1.0]

    virtually(story())


def test_a_bug_in_one_cluster_costs_the_others_nothing() -> None:
    async def story() -> None:
        async def answer(key: Key) -> float | None:
            if key == A:
                raise RuntimeError("a bug")
            return 1.0

        passes = Passes(answer)
        async with working(passes, workers=1) as queue:
            queue.add(A)
            queue.add(B)
            await asyncio.sleep(100)
        assert len(passes.of(B)) > 40
        assert len(passes.of(A)) < 15

    virtually(story())


def test_nothing_runs_before_the_queue_is_opened() -> None:
    async def story() -> None:
        passes = Passes()
        async with working(passes, opened=False) as queue:
            for key in (A, B):
                queue.add(key)
            await asyncio.sleep(60)
            assert passes.began == []
            assert queue.depth() == 2
            queue.open()
            await asyncio.sleep(60)
            assert {name for name, _ in passes.began} == {"a", "b"}

    virtually(story())


def test_closing_waits_for_the_running_passes_and_starts_no_more() -> None:
    async def story() -> None:
        passes = Passes(lasts_s=5)
        async with working(passes, workers=2) as queue:
            for key in (A, B, C):
                queue.add(key)
            await asyncio.sleep(1)
            await queue.close()
            assert now() == 5.0
            assert {name for name, _ in passes.ended} == {"a", "b"}
            await asyncio.sleep(60)
            assert {name for name, _ in passes.began} == {"a", "b"}
            queue.open()
            await asyncio.sleep(60)
            assert passes.began[2][0] == "c"

    virtually(story())


def test_opened_and_closed_at_once_starts_nothing() -> None:
    async def story() -> None:
        passes = Passes()
        async with working(passes, opened=False) as queue:
            queue.add(A)
            await asyncio.sleep(1)
            queue.open()
            await queue.close()
            await asyncio.sleep(60)
            assert passes.began == []

    virtually(story())


def test_dates_and_backoffs_do_not_outlive_the_closing() -> None:
    async def story() -> None:
        async def answer(key: Key) -> float | None:
            if key == A:
                raise StepError("x")
            return 2.0

        passes = Passes(answer, lasts_s=0)
        async with working(passes) as queue:
            queue.add(A)
            queue.add(B)
            await asyncio.sleep(0.1)
            await queue.close()
            queue.open()
            await asyncio.sleep(60)
            assert len(passes.began) == 2
            queue.add(A, urgent=True)
            await asyncio.sleep(0.1)
            assert len(passes.of(A)) == 2

    virtually(story())


def test_closing_an_idle_queue_takes_no_time() -> None:
    async def story() -> None:
        async with working(Passes()) as queue:
            await queue.close()
            assert now() == 0.0

    virtually(story())
