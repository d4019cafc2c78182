"""From a new ValkeyCluster to Ready, in its parts: `make bench`.

Watches the status of clusters that the environment `local`'s own daemon makes (`make up`). It is written
before each step, so the parts are what a user would see:

    seen       created -> the daemon's first word
    update     the Pulumi update
    pods       update's end -> every server answers
    formation  every server answers -> Ready
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from daemon.kube.api import ALWAYS, Key, Selection
from daemon.kube.client import LightkubeApi, config_from_env
from daemon.kube.errors import NotFound
from daemon.kube.kinds import PERSISTENT_VOLUME_CLAIM, POD, VALKEY_CLUSTER

NAMESPACE = "valkey"
PARTS = ("seen", "update", "pods", "formation", "total")
DEADLINE_S = 120.0
_WAITING = "waiting for"


@dataclass
class Run:
    """When each thing was first seen, in seconds since the cluster was created."""

    first: dict[str, float] = field(default_factory=dict)

    def note(self, status: dict[str, Any], now: float) -> bool:
        """Take one status; whether it is Ready."""
        step = status.get("step", {})
        self.first.setdefault("seen", now)
        if step.get("kind") == "Provision":
            self.first.setdefault("update", now)
        elif "update" in self.first:
            self.first.setdefault("updated", now)
            if not step.get("because", "").startswith(_WAITING):
                self.first.setdefault("answering", now)
        ready = {one["type"]: one["status"] for one in status.get("conditions", [])}.get("Ready") == "True"
        if ready:
            self.first.setdefault("ready", now)
        return ready

    def parts(self) -> dict[str, float]:
        """Seconds of each part."""
        at = self.first
        return {
            "seen": at["seen"],
            "update": at["updated"] - at["seen"],
            "pods": at["answering"] - at["updated"],
            "formation": at["ready"] - at["answering"],
            "total": at["ready"],
        }


async def create(api: LightkubeApi, name: str, spec: dict[str, Any]) -> dict[str, float]:
    """One cluster's creation, timed; the cluster stays."""
    run = Run()
    selection = Selection(VALKEY_CLUSTER, NAMESPACE)
    made = await api.create(
        VALKEY_CLUSTER, {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": spec}
    )
    started = time.monotonic()
    since = made["metadata"]["resourceVersion"]
    async with asyncio.timeout(DEADLINE_S), api.watch(selection, since=since, timeout_s=DEADLINE_S) as events:
        async for event in events:
            if event.object["metadata"].get("name") != name:
                continue
            if run.note(event.object.get("status", {}), time.monotonic() - started):
                return run.parts()
    raise TimeoutError(f"{name} is not Ready after {DEADLINE_S:.0f} s")


async def remove(api: LightkubeApi, name: str) -> float:
    """Delete the cluster with its claims; seconds until nothing is left of it."""
    started = time.monotonic()
    await api.delete(VALKEY_CLUSTER, NAMESPACE, name, ALWAYS)
    async with asyncio.timeout(DEADLINE_S):
        while await _left(api, name):
            await asyncio.sleep(0.1)
    return time.monotonic() - started


async def _left(api: LightkubeApi, name: str) -> bool:
    with suppress(NotFound):
        await api.get(VALKEY_CLUSTER, NAMESPACE, name)
        return True
    labels = f"valkeeper.io/cluster={name}"
    for kind in (POD, PERSISTENT_VOLUME_CLAIM):
        async for page in api.list_pages(Selection(kind, NAMESPACE, labels)):
            if page.items:
                return True
    return False


async def measure(runs: int, *, persistence: bool) -> list[dict[str, float]]:
    """`runs` creations of 3 shards with 1 replica, one after the other, and a first one not counted."""
    api = LightkubeApi(config_from_env())
    spec = {
        "shards": 3,
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
        "persistence": {"enabled": persistence, "whenDeleted": "Delete"},
    }
    taken = []
    try:
        for number in range(runs + 1):
            name = Key(NAMESPACE, f"bench-{number}").name
            parts = await create(api, name, spec)
            parts["removal"] = await remove(api, name)
            taken.append(parts)
            print(f"  {name}: {parts['total']:.2f} s{' (not counted)' if number == 0 else ''}", flush=True)
    finally:
        await api.close()
    return taken[1:]


def table(taken: list[dict[str, float]]) -> str:
    """min, median and max of each part."""
    lines = [f"{'part':<12}{'min':>8}{'median':>8}{'max':>8}  seconds"]
    for part in (*PARTS, "removal"):
        values = [parts[part] for parts in taken]
        figures = (min(values), statistics.median(values), max(values))
        lines.append(f"{part:<12}" + "".join(f"{figure:>8.2f}" for figure in figures))
    return "\n".join(lines)


def main() -> None:
    """Print a table for clusters without and with persistence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    for persistence in (False, True):
        print(f"create, 3 shards x 1 replica, persistence {'on' if persistence else 'off'}, {runs} runs")
        print(table(asyncio.run(measure(runs, persistence=persistence))))


if __name__ == "__main__":
    main()
