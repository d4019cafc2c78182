"""What every daemon serves, over real HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from daemon import metrics
from daemon.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def _port(runner: web.AppRunner) -> int:
    """Where 127.0.0.1 is served; with port 0 each family of addresses gets a port of its own."""
    return next(int(address[1]) for address in runner.addresses if len(address) == 2)


class Daemon:
    """A daemon behind a server."""

    def __init__(self) -> None:
        self.unready = ""
        self.refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1
        metrics.QUEUE_DEPTH.set(self.refreshed)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[aiohttp.ClientSession]:
        runner = await Server(0, lambda: self.unready, self.refresh).start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{_port(runner)}") as session:
                yield session
        finally:
            await runner.cleanup()


async def test_a_daemon_that_has_read_everything_is_healthy_and_ready() -> None:
    async with Daemon().served() as session:
        for path in ("/healthz", "/readyz"):
            async with session.get(path) as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_a_daemon_that_is_not_ready_says_why_and_is_alive() -> None:
    daemon = Daemon()
    daemon.unready = "2 kinds of objects have not been read yet"
    async with daemon.served() as session:
        async with session.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, f"{daemon.unready}\n")
        async with session.get("/healthz") as answer:
            assert answer.status == 200


async def test_metrics_are_those_of_this_moment() -> None:
    daemon = Daemon()
    async with daemon.served() as session:
        for count in (1, 2):
            async with session.get("/metrics") as answer:
                assert answer.status == 200
                assert answer.content_type == "text/plain"
                families = {
                    family.name: family for family in text_string_to_metric_families(await answer.text())
                }
            assert families["valkeeper_queue_depth"].samples[0].value == count


async def test_other_paths_are_not_found() -> None:
    async with Daemon().served() as session, session.get("/") as answer:
        assert answer.status == 404


async def test_after_cleanup_nothing_listens() -> None:
    runner = await Server(0, str, lambda: None).start()
    port = _port(runner)
    await runner.cleanup()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{port}/healthz")
