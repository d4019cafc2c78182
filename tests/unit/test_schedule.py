"""The daemon's own clock."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

from daemon.kube.api import Key
from daemon.schedule import RESYNC_S, SWEEP_S, scheduler

A, B = Key("shop", "a"), Key("shop", "b")


class Looks:
    """Remembers which keys were looked at, and on which thread."""

    def __init__(self, wanted: int) -> None:
        self.keys: list[Key] = []
        self.threads: set[int] = set()
        self.enough = asyncio.Event()
        self._wanted = wanted

    def __call__(self, key: Key) -> None:
        self.keys.append(key)
        self.threads.add(threading.get_ident())
        if len(self.keys) == self._wanted:
            self.enough.set()


async def test_each_job_looks_at_every_cluster_there_is_by_then_on_the_loops_own_thread() -> None:
    """The queue and the caches belong to the loop: APScheduler runs plain functions elsewhere."""
    keys = [A]
    looks, sweeps = Looks(2), Looks(2)
    clock = scheduler(lambda: keys, looks, sweeps)
    clock.start()
    keys.append(B)
    for job in clock.get_jobs():
        job.modify(next_run_time=datetime.now(UTC))
    async with asyncio.timeout(10):
        await looks.enough.wait()
        await sweeps.enough.wait()
    clock.shutdown(wait=False)
    assert looks.keys == sweeps.keys == [A, B]
    assert looks.threads | sweeps.threads == {threading.get_ident()}


async def test_looks_are_spread_and_never_pile_up() -> None:
    clock = scheduler(list, print, print)
    clock.start(paused=True)
    jobs = {job.id: job for job in clock.get_jobs()}
    clock.shutdown(wait=False)
    assert {name: job.trigger.interval.total_seconds() for name, job in jobs.items()} == {
        "resync": RESYNC_S,
        "drift": SWEEP_S,
    }
    for job in jobs.values():
        assert job.trigger.jitter > 0
        assert (job.coalesce, job.max_instances, job.misfire_grace_time) == (True, 1, None)
