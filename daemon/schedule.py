"""The daemon's own clock (APScheduler): looks that no event asks for.

Valkey servers send no events, so each cluster is looked at now and then; and the objects are now and then
compared with what the API server has rather than with what its events have told.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from daemon.kube.api import Key
    from valkey_cluster.spec.later import MaintenanceWindowSpec

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


def in_window(windows: Sequence[MaintenanceWindowSpec], now: float) -> bool | None:
    """Whether a maintenance window is open at `now` (Unix seconds); None when there are none."""
    return any(_is_open(window, now) for window in windows) if windows else None


def _is_open(window: MaintenanceWindowSpec, now: float) -> bool:
    """It opened no longer ago than it lasts."""
    minute, hour, day, month, weekday = window.schedule.split()
    trigger = CronTrigger(
        minute=minute,
        hour=hour,
        day=day,
        month=month,
        day_of_week=",".join(_weekdays(weekday)) if weekday != "*" else "*",
        timezone=window.time_zone,
    )
    moment = datetime.fromtimestamp(now, UTC)
    opened = trigger.get_next_fire_time(None, moment - timedelta(minutes=window.duration_minutes))
    return opened is not None and opened <= moment


_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def _weekdays(field: str) -> list[str]:
    """Cron's weekdays (0 and 7 are Sunday) by name: APScheduler counts from Monday."""
    numbers: set[int] = set()
    for item in field.lower().split(","):
        span, _, step = item.partition("/")
        first, _, last = ("0-6" if span == "*" else span).partition("-")
        start = _weekday(first)
        end = _weekday(last) if last else (6 if step else start)
        numbers.update(range(start, (end if end >= start else end + 7) + 1, int(step or 1)))
    return [_DAYS[number] for number in sorted({number % 7 for number in numbers})]


def _weekday(text: str) -> int:
    return _DAYS.index(text) if text in _DAYS else int(text)
