"""The daemon's own clock (APScheduler): looks that no event asks for.

Valkey servers send no events, so each cluster is looked at now and then; and the objects are now and then
compared with what the API server has rather than with what its events have told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apscheduler.schedulers.asyncio import AsyncIOScheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from daemon.kube.api import Key

RESYNC_S = 15
"""A failover that the servers made among themselves shows in status after this long at most."""

SWEEP_S = 600


def scheduler(
    keys: Callable[[], Iterable[Key]], look: Callable[[Key], None], sweep: Callable[[Key], None]
) -> AsyncIOScheduler:
    """A scheduler, not started, that looks at every cluster and, more rarely, sweeps it for drift."""

    def each(call: Callable[[Key], None]) -> Callable[[], Awaitable[None]]:
        # A coroutine, so that it runs on the event loop: APScheduler runs plain functions in a thread, from
        # where neither the queue nor the caches may be touched.
        async def run() -> None:
            for key in keys():
                call(key)

        return run

    clock = AsyncIOScheduler()
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    clock.add_job(each(look), "interval", seconds=RESYNC_S, jitter=RESYNC_S // 5, id="resync", **defaults)
    clock.add_job(each(sweep), "interval", seconds=SWEEP_S, jitter=SWEEP_S // 5, id="drift", **defaults)
    return clock
