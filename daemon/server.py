"""/healthz, /readyz and /metrics, on every replica whether it leads or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Server:
    """What is served.

    Attributes:
        port: on all addresses.
        ready: an empty text, or why this daemon is not ready.
        refresh: called before metrics are shown.
    """

    port: int
    ready: Callable[[], str]
    refresh: Callable[[], None]

    async def start(self) -> web.AppRunner:
        """Listen; `cleanup()` of what is returned ends it."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=self.port).start()
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        """That this is answered at all is the answer: the event loop turns."""
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self.ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        self.refresh()
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
