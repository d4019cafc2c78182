"""A store stays true whatever the API server does, and the server is never hammered."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
from kube_server import Clock, KubeServer, running, serving, status, until

from daemon.kube.api import Selection
from daemon.kube.client import LightkubeApi, Timeouts
from daemon.kube.errors import Unreachable
from daemon.kube.kinds import CONFIG_MAP
from daemon.kube.listwatch import ListWatch, Timing
from daemon.kube.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAPS = "/api/v1/namespaces/n/configmaps"


class Watched:
    """A list-watch of a server's ConfigMaps, and what it announced."""

    def __init__(self, server: KubeServer, api: LightkubeApi) -> None:
        self.server = server
        self.clock = Clock()
        self.changes: list[str] = []
        timing = Timing(monotonic=self.clock.monotonic, sleep=self.clock.sleep, rand=lambda: 1.0)
        self.lw = ListWatch(api, Selection(CONFIG_MAP, "n"), Store(self.told), timing)

    def told(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        sign = "+" if old is None else "-" if new is None else "~"
        self.changes.append(sign + (new or old or {})["metadata"]["name"])

    def names(self) -> list[str]:
        return sorted(each["metadata"]["name"] for each in self.lw.store.all())

    async def until_watching(self, times: int = 1) -> None:
        await until(lambda: self.lw.watches >= times and self.lw.error is None and self.lw.is_fresh())


@asynccontextmanager
async def watching(timeouts: Timeouts | None = None) -> AsyncIterator[Watched]:
    async with serving(timeouts) as (server, api):
        yield Watched(server, api)


async def test_a_long_list_is_read_in_pages() -> None:
    async with watching() as w:
        for i in range(1203):
            await w.server.put(MAPS, f"m{i:04}")
        async with running(w.lw.run()):
            await w.lw.synced.wait()
            assert len(w.lw.store) == 1203
            assert w.server.count("GET") == 3
            assert all(each["kind"] == "ConfigMap" for each in w.lw.store.all())


async def test_a_list_whose_history_is_compacted_between_pages_starts_over() -> None:
    async with watching() as w:
        for i in range(600):
            await w.server.put(MAPS, f"m{i:04}")
        w.server.answer_next(
            "GET", 200, {"metadata": {"resourceVersion": "1", "continue": "1:m0001"}, "items": []}
        )
        w.server.compact()
        async with running(w.lw.run()):
            await w.lw.synced.wait()
            assert len(w.lw.store) == 600


async def test_changes_are_announced_as_they_happen() -> None:
    async with watching() as w, running(w.lw.run()):
        await w.until_watching()
        await w.server.put(MAPS, "a")
        await w.server.put(MAPS, "a", data={"x": "1"})
        await w.server.remove(MAPS, "a")
        await until(lambda: len(w.changes) == 3)
        assert w.changes == ["+a", "~a", "-a"]
        assert w.lw.events == 3


async def test_an_own_write_is_announced_once() -> None:
    async with watching() as w, running(w.lw.run()):
        await w.until_watching()
        mine = await w.server.put(MAPS, "a")
        w.lw.store.put({**mine, "kind": "ConfigMap"})
        assert w.names() == ["a"]
        await w.server.put(MAPS, "b")
        await until(lambda: w.names() == ["a", "b"])
        assert w.changes == ["+a", "+b"]


async def test_after_a_bookmark_the_next_watch_goes_on_from_there() -> None:
    async with watching() as w, running(w.lw.run()):
        await w.until_watching()
        w.server.version = 5000
        await w.server.bookmark(MAPS)
        await until(lambda: w.lw._since == "5000")
        await w.server.stop()
        await w.server.start()
        await until(lambda: w.server.count("WATCH") == 2)
        assert w.server.seen[-1].query["resourceVersion"] == "5000"
        assert w.server.seen[-1].query["allowWatchBookmarks"] == "true"
        assert 300 <= int(w.server.seen[-1].query["timeoutSeconds"]) <= 600
        assert w.lw.lists == 1
        assert w.changes == []


@pytest.mark.parametrize("in_stream", [True, False], ids=["in the stream", "as HTTP status"])
async def test_410_lists_again_and_announces_what_was_missed(in_stream: bool) -> None:
    async with watching() as w, running(w.lw.run()):
        await w.until_watching()
        for name in "abc":
            await w.server.put(MAPS, name)
        await until(lambda: w.names() == ["a", "b", "c"])
        w.changes.clear()
        await w.server.stop()
        await w.server.remove(MAPS, "a")
        await w.server.put(MAPS, "b", data={"x": "1"})
        await w.server.put(MAPS, "d")
        w.server.compact()
        w.server.gone_in_stream = in_stream
        w.server.seen.clear()
        await w.server.start()
        await until(lambda: w.names() == ["b", "c", "d"])
        assert sorted(w.changes) == ["+d", "-a", "~b"]
        await w.until_watching()
        assert [seen.verb for seen in w.server.seen] == ["WATCH", "GET", "WATCH"]


async def test_410_to_every_watch_is_no_hot_loop() -> None:
    async with watching() as w:
        for _ in range(40):
            w.server.answer_next("WATCH", 410, status(410, "Expired"))
        async with running(w.lw.run()):
            await until(lambda: w.server.count("WATCH") > 40)
        assert w.clock.now - 1000 > 300
        assert w.server.count("GET") <= 42


async def test_watches_closed_at_once_are_no_hot_loop_and_end_in_a_new_list() -> None:
    async with watching() as w:
        w.server.close_watches = True
        async with running(w.lw.run()):
            await until(lambda: w.server.count("WATCH") >= 30)
        assert w.clock.naps[:8] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
        assert w.server.count("WATCH") / 4 < w.server.count("GET") <= w.server.count("WATCH") / 3 + 1


async def test_a_server_away_for_a_while_costs_few_requests_and_nothing_is_forgotten() -> None:
    async with watching() as w, running(w.lw.run()):
        await w.server.put(MAPS, "a")
        await until(lambda: w.names() == ["a"])
        await w.server.stop()
        await until(lambda: isinstance(w.lw.error, Unreachable))
        naps, gone_at = len(w.clock.naps), w.clock.now
        await until(lambda: w.clock.now - gone_at >= 60)
        within = [total for total in accumulate(w.clock.naps[naps:]) if total <= 60]
        assert len(within) <= 12
        assert not w.lw.is_fresh()
        assert w.lw.synced.is_set()
        assert w.names() == ["a"]
        await w.server.start()
        await w.server.put(MAPS, "b")
        await until(lambda: w.names() == ["a", "b"])
        assert w.lw.is_fresh()
        assert w.changes == ["+a", "+b"]
        assert w.lw.lists == 1


async def test_delays_start_over_after_progress() -> None:
    async with watching() as w, running(w.lw.run()):
        await w.until_watching()
        await w.server.stop()
        await until(lambda: w.clock.naps[-1:] == [10])
        await w.server.start()
        await w.until_watching(times=w.lw.watches + 1)
        await w.server.put(MAPS, "a")
        await until(lambda: w.names() == ["a"])
        before = len(w.clock.naps)
        await w.server.stop()
        await until(lambda: len(w.clock.naps) > before)
        assert w.clock.naps[before] == pytest.approx(0.2)


async def test_a_silent_connection_is_given_up_and_what_happened_meanwhile_is_seen() -> None:
    async with watching(Timeouts(watch_idle_s=0.1)) as w, running(w.lw.run()):
        await w.until_watching()
        await until(lambda: w.server.count("WATCH") >= 2)
        await w.server.put(MAPS, "a")
        await until(lambda: w.names() == ["a"])


async def test_a_server_that_accepts_but_never_answers_is_given_up() -> None:
    async with watching(Timeouts(request_s=0.1)) as w:
        w.server.hung = {"GET"}
        async with running(w.lw.run()):
            await until(lambda: isinstance(w.lw.error, Unreachable))
            w.server.hung = {"WATCH"}
            await w.lw.synced.wait()
            await until(lambda: w.server.count("WATCH") >= 2)
            assert not w.lw.is_fresh()
            w.server.hung = set()
            await until(w.lw.is_fresh)


@pytest.mark.parametrize("verb", ["GET", "WATCH"])
async def test_retry_after_is_honoured(verb: str) -> None:
    async with watching() as w:
        w.server.answer_next(verb, 429, status(429, "TooManyRequests"), {"Retry-After": "37"})
        async with running(w.lw.run()):
            await w.until_watching()
        assert w.clock.naps == [37]
        assert w.lw.failed == 1


async def test_a_forbidden_list_is_tried_again_and_never_counts_as_empty() -> None:
    async with watching() as w:
        await w.server.put(MAPS, "a")
        for _ in range(5):
            w.server.answer_next("GET", 403, status(403, "Forbidden"))
        async with running(w.lw.run()):
            await until(lambda: w.lw.error is not None)
            assert not w.lw.synced.is_set()
            await w.lw.synced.wait()
        assert w.changes == ["+a"]


async def test_silence_makes_a_store_stale() -> None:
    async with watching() as w, running(w.lw.run()):
        await w.until_watching()
        w.clock.now += 104
        assert w.lw.is_fresh()
        w.clock.now += 2
        assert not w.lw.is_fresh()
        await w.server.bookmark(MAPS)
        await until(w.lw.is_fresh)


async def test_a_version_from_before_a_restored_backup_ends_in_a_new_list() -> None:
    async with watching(Timeouts(watch_idle_s=0.05)) as w, running(w.lw.run()):
        await w.until_watching()
        await w.server.put(MAPS, "a")
        await until(lambda: w.names() == ["a"])
        await w.server.stop()
        w.server.version, w.server.objects = 10, {}
        w.server.history.clear()
        await w.server.put(MAPS, "b")
        await w.server.start()
        await until(lambda: w.names() == ["b"])
        assert w.changes == ["+a", "-a", "+b"]


async def test_a_bug_in_a_listener_ends_the_run() -> None:
    async with watching() as w:
        await w.server.put(MAPS, "a")

        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        w.lw.store._on_change = fail
        with pytest.raises(ZeroDivisionError):
            await w.lw.run()
