"""Which cluster is next: each key at most once, one pass at a time per cluster, several clusters at once."""

from __future__ import annotations

import asyncio
from random import random
from typing import TYPE_CHECKING

import structlog

from daemon.errors import StepError
from daemon.kube.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.kube.api import Key

_log = structlog.get_logger(__name__)

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 60.0


class Queue:
    """Runs passes while it is open.

    Args:
        run_pass: one pass; returns seconds until the next, None for none without an event.
        workers: clusters that are looked at at the same time.
    """

    def __init__(self, run_pass: Callable[[Key], Awaitable[float | None]], workers: int = 8) -> None:
        self._run_pass = run_pass
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._busy: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._urgent: set[Key] = set()
        self._open = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Ask for a pass as soon as possible.

        A cluster whose last pass failed waits for its time, unless it is `urgent`: the spec changed.
        """
        if urgent:
            self._urgent.add(key)
        elif key in self._failures and key not in self._busy:
            return
        self._push(key)

    def open(self) -> None:
        """Start running passes."""
        self._open.set()

    async def close(self) -> None:
        """Start no more; returns when those that run have ended."""
        self._open.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await self._idle.wait()

    def depth(self) -> int:
        """Clusters that wait for a pass."""
        return len(self._waiting)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    def _push(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._busy:
            self._ready.put_nowait(key)

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            while not self._open.is_set():  # a waiter wakes up also when it was closed again meanwhile
                await self._open.wait()
            self._waiting.discard(key)
            self._urgent.discard(key)
            self._busy.add(key)
            self._idle.clear()
            try:
                due_s = await self._pass(key)
            finally:
                self._busy.discard(key)
                if not self._busy:
                    self._idle.set()
            self._plan(key, due_s)

    def _plan(self, key: Key, due_s: float | None) -> None:
        if key in self._failures and key not in self._urgent:
            self._waiting.discard(key)  # what happened during a pass that failed waits for the same pause
        if key in self._waiting:
            self._ready.put_nowait(key)
        elif due_s == 0.0:
            self._push(key)
        elif due_s is not None and self._open.is_set():
            self._timers[key] = asyncio.get_running_loop().call_later(due_s, self._push, key)

    async def _pass(self, key: Key) -> float | None:
        """One pass; whatever goes wrong in it costs this cluster a pause, and no other anything."""
        try:
            due_s = await self._run_pass(key)
        except (StepError, ApiError) as error:
            return self._back_off(key, error)
        except Exception as error:  # noqa: BLE001  one cluster's bug must not stop the others
            _log.exception("pass failed by a bug", cluster=f"{key.namespace}/{key.name}")
            return self._back_off(key, error)
        self._failures.pop(key, None)
        return due_s

    def _back_off(self, key: Key, error: Exception) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause_s = min(BACKOFF_MIN_S * 2.0 ** min(failures, 20), BACKOFF_MAX_S) * (0.5 + random() / 2)  # noqa: S311  jitter, no secret
        _log.warning(
            "pass failed",
            cluster=f"{key.namespace}/{key.name}",
            error=str(error),
            again_in_s=round(pause_s, 1),
        )
        return pause_s
