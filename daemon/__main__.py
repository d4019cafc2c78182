"""`python -m daemon`: puts the parts together, runs them, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

import structlog

from daemon import metrics
from daemon.act import Actor
from daemon.kube.api import Key
from daemon.kube.client import LightkubeApi, config_from_env
from daemon.kube.errors import ApiError
from daemon.kube.events import EventRecorder
from daemon.kube.lease import Lease
from daemon.nodes import RealNodes
from daemon.observe import Observer, address
from daemon.provision import Provisioner, PulumiSettings
from daemon.queue import Queue
from daemon.reconcile import reconcile
from daemon.report import Reporter
from daemon.schedule import RESYNC_S, in_window, scheduler
from daemon.server import Server
from daemon.settings import Settings, SettingsError, from_environment
from daemon.state import StateStore
from daemon.watch import Caches
from valkey_cluster import names

_log = structlog.get_logger("daemon")


class Daemon:
    """All parts of one process; the leader among the processes runs passes, every one serves."""

    def __init__(self, settings: Settings) -> None:
        config = config_from_env()
        # The provider takes KUBECONFIG as an input of its own and would keep the path in the state;
        # the CLI gets it in its environment instead.
        kubeconfig = os.environ.pop("KUBECONFIG", None)
        environment = {"KUBECONFIG": kubeconfig} if kubeconfig else {}
        self._api = LightkubeApi(config)
        self._lease = Lease(self._api, Key(settings.lease_namespace, settings.lease_name), settings.identity)
        self._events = EventRecorder(self._api, f"{names.GROUP}/daemon", settings.identity)
        self._queue = Queue(self._pass, settings.workers)
        self._caches = Caches(self._api, settings.namespaces, self._queue.add)
        self._nodes = RealNodes()
        store = StateStore(self._api, self._lease.check)
        pulumi = PulumiSettings(
            settings.work_dir, settings.backend_url, settings.parallel_updates, environment
        )
        self._provisioner = Provisioner(pulumi, store)
        self._observer = Observer(self._api, self._caches, self._nodes, store, in_window)
        self._actor = Actor(self._api, self._nodes, self._provisioner, self._lease, learn=self._caches.take)
        self._reporter = Reporter(self._api, self._caches, self._lease, self._events)
        self._server = Server(settings.port, self._unready, self._show_metrics)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then let running updates end and hand the Lease over."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        runner = await self._server.start()
        clock = scheduler(self._caches.cluster_keys, self._queue.add, self._sweep)
        clock.add_job(self._tidy_connections, "interval", seconds=RESYNC_S, id="connections")
        clock.start()
        background = [
            asyncio.create_task(part)
            for part in (self._caches.run(), self._events.run(), self._queue.run(), self._lead())
        ]
        campaign = asyncio.create_task(self._lease.run())
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, campaign, *background], return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping: running updates may end first")
        clock.shutdown(wait=False)
        await self._queue.close()
        await self._events.flush(5.0)
        await _cancel(campaign)
        if self._lease.is_leader():
            with contextlib.suppress(ApiError):  # it expires by itself
                await self._lease.release()
        crashed = [task for task in background if task.done() and not task.cancelled()]
        await asyncio.gather(*(_cancel(task) for task in background if not task.done()))
        await runner.cleanup()
        await self._nodes.keep(())
        await self._api.close()
        for task in crashed:
            task.result()

    async def _lead(self) -> None:
        """Passes run while we hold the Lease, and updates are interrupted when we do not."""
        while True:
            await self._lease.gained.wait()
            _log.info("leading")
            self._provisioner.resume()
            for key in self._caches.cluster_keys():
                self._queue.add(key, urgent=True)
            self._queue.open()
            await self._lease.lost.wait()
            _log.warning("not leading any more: interrupting updates")
            self._provisioner.interrupt()
            await self._queue.close()

    async def _pass(self, key: Key) -> float | None:
        started = time.perf_counter()
        try:
            return await reconcile(key, self._observer, self._actor, self._reporter)
        finally:
            metrics.PASS_SECONDS.observe(time.perf_counter() - started)

    async def _tidy_connections(self) -> None:
        """Servers of pods that are gone are not dialled again."""
        await self._nodes.keep(address(pod) for pod in self._caches.all_pods())

    def _sweep(self, key: Key) -> None:
        self._observer.verify(key)
        self._queue.add(key)

    def _unready(self) -> str:
        waiting = [watch for watch in self._caches.list_watches() if not watch.synced.is_set()]
        return f"{len(waiting)} kinds of objects have not been read yet" if waiting else ""

    def _show_metrics(self) -> None:
        watches = list(self._caches.list_watches())
        metrics.CLUSTERS.set(len(self._caches.cluster_keys()))
        metrics.QUEUE_DEPTH.set(self._queue.depth())
        metrics.LEADER.set(self._lease.is_leader())
        metrics.WATCH_LISTS.set(sum(watch.lists for watch in watches))
        metrics.WATCH_STALE.set(sum(not watch.is_fresh() for watch in watches))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Exit code 2 when the settings are wrong."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        settings = from_environment()
    except SettingsError as error:
        print(f"valkeeper: {error}", file=sys.stderr)  # noqa: T201  before there is a log
        return 2
    asyncio.run(Daemon(settings).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
