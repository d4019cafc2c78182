"""Keeps a `Store` true: a list, then a watch from where the list stood, for as long as the daemon lives.

    LIST (pages) ──> store.take_list ──> WATCH since ──> events ──> store.take_event
      ^                                    │   ^
      │ 410, or three watches in a row     │   └── closed, torn, silent: again from the last version
      └── that brought nothing ────────────┘

Between a watch and the next request lies a delay, so that no answer of the server, however odd, makes a hot
loop: an API server may close each watch at once with 200 (k8s#104171), or answer 410 to each. The delay grows
until something new was read or a watch has lived for a while.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from daemon.kube.api import Key, KubeApi, Obj, Selection, key_of
from daemon.kube.errors import ApiError, Gone, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.kube.store import Store

_FRUITLESS_MAX: Final = 3
"""Watches in a row that brought nothing, not even a bookmark, after which the list is read again.

A version from before the cluster's storage was restored gives such watches: it lies in the future.
"""
_LIVED_S: Final = 10.0
"""A watch that lived this long is no part of a loop, even if nothing happened in it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The list-watch's clock and delays, in seconds; tests pass their own.

    Attributes:
        delay_min_s: before the first request after progress (less by up to half, at random).
        delay_max_s: however often it failed; the longest that a returned server goes unnoticed.
        watch_s: shortest life asked for a watch; the longest is twice that.
        monotonic: seconds that only grow.
        sleep: waits.
        rand: evenly spread over [0, 1).
    """

    delay_min_s: float = 0.2
    delay_max_s: float = 10.0
    watch_s: float = 300.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rand: Callable[[], float] = random.random


class ListWatch:
    """One list-watch: `run` it in a task, read its `store`.

    Attributes:
        store: what is known.
        synced: set once the first list is complete; it stays set.
        error: why the last request failed; None when it did not.
        last_contact: monotonic time of the server's last sign of life; None before the first.
        lists, watches, events: how many were complete, accepted, received, for metrics.
        failed: how many requests or streams ended in an error, for metrics.
    """

    def __init__(
        self, api: KubeApi, selection: Selection, store: Store, timing: Timing | None = None
    ) -> None:
        self.store = store
        self.synced = asyncio.Event()
        self.error: ApiError | None = None
        self.last_contact: float | None = None
        self.lists = self.watches = self.events = self.failed = 0
        self._api = api
        self._selection = selection
        self._timing = timing or Timing()
        self._since: str | None = None
        self._failures = 0
        self._fruitless = 0
        self._log = structlog.get_logger(__name__).bind(
            resource=selection.resource.plural, namespace=selection.namespace
        )

    def is_fresh(self, max_silence_s: float = 105.0) -> bool:
        """The store is complete and the server was heard of, without an error, within `max_silence_s`.

        An idle server gives a sign of life every 60 to 75 s; a lost one shows as an error sooner.
        """
        if not self.synced.is_set() or self.error is not None or self.last_contact is None:
            return False
        return self._timing.monotonic() - self.last_contact <= max_silence_s

    async def run(self) -> None:
        """List and watch until cancelled. Raises only what the store's `on_change` raises."""
        while True:
            try:
                if self._since is None:
                    self._since = await self._list()
                await self._watch(self._since)
            except ApiError as error:
                self._failed(error)
            if self._fruitless >= _FRUITLESS_MAX:
                self._since, self._fruitless = None, 0
            await self._timing.sleep(self._delay_s())

    async def _list(self) -> str:
        """Read the whole list into the store; returns the version it is as of."""
        objects: dict[Key, Obj] = {}
        version = ""
        async for page in self._api.list_pages(self._selection):
            objects |= {key_of(obj): self.store.trim(obj) for obj in page.items}
            version = page.resource_version
            self._heard()
        self.store.take_list(objects, int(version))
        self.lists += 1
        self.synced.set()
        return version

    async def _watch(self, since: str) -> None:
        """Feed the store from one watch until that ends, keeping the place to go on from."""
        timing = self._timing
        began = timing.monotonic()
        life_s = timing.watch_s * (1 + timing.rand())
        try:
            async with self._api.watch(self._selection, since=since, timeout_s=life_s) as events:
                self._accepted()
                async for event in events:
                    self._heard()
                    self._fruitless = 0
                    self.events += event.type != "BOOKMARK"
                    self.store.take_event(event.type, event.object)
                    self._since = event.object["metadata"]["resourceVersion"]
        finally:
            if self._since != since or timing.monotonic() - began >= _LIVED_S:
                self._failures = 0

    def _heard(self) -> None:
        self.last_contact = self._timing.monotonic()

    def _accepted(self) -> None:
        self._heard()
        self.watches += 1
        self._fruitless += 1
        if self.error is not None:
            self._log.info("kubernetes watch is back", after_failures=self._failures)
            self.error = None

    def _failed(self, error: ApiError) -> None:
        """Note the error, and whether going on from the same version makes sense."""
        if isinstance(error, Gone):
            self._since = None
            self._log.info("kubernetes watch is out of date, listing again", error=str(error))
        elif type(error) is not type(self.error):
            self._log.warning("kubernetes watch failed", error=str(error), kind=type(error).__name__)
        self.failed += 1
        self._fruitless += isinstance(error, Refused)
        self.error = error

    def _delay_s(self) -> float:
        timing = self._timing
        longest = min(timing.delay_min_s * 2.0 ** min(self._failures, 30), timing.delay_max_s)
        self._failures += 1
        delay_s = longest * (1 + timing.rand()) / 2
        if isinstance(self.error, Refused) and self.error.retry_after_s is not None:
            return max(delay_s, self.error.retry_after_s)
        return delay_s
