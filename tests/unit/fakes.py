"""Fakes of the daemon's two seams, Kubernetes and Valkey, and Views to begin from.

`FakeApi` keeps objects in a dict and obeys preconditions; `FakeNodes` notes which commands went where. Both
fail when told to.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daemon.kube import errors
from daemon.kube.api import Key, Obj, Page, Precondition, Selection, WatchEvent
from daemon.kube.kinds import POD
from daemon.kube.lease import Lease
from daemon.nodes import Address, Command, NodeSilent
from daemon.provision import Provisioner
from daemon.topology import NodeId, Peer, PodName, PodView, Server, View
from valkey_cluster.resources import Identity
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from daemon.kube.kinds import Resource
    from daemon.state import Target

IDENTITY = Identity("shop", "orders", "uid-orders")


class FakeApi:
    """An API server that is a dict. `calls` tells what was asked of it, `fail` what it answers instead."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.fail: dict[str, errors.ApiError] = {}
        self._version = 0

    def put(self, resource: Resource, obj: Obj) -> Obj:
        """What somebody else wrote."""
        meta = obj["metadata"]
        self._version += 1
        place = resource.plural, meta.get("namespace", ""), meta["name"]
        old = self.objects.get(place, {}).get("metadata", {})
        kept = {"uid": old.get("uid", f"uid-{self._version}"), "generation": 1}
        stamped = obj | {"metadata": kept | meta | {"resourceVersion": str(self._version)}}
        self.objects[place] = json.loads(json.dumps(stamped))
        return self.objects[place]

    def verbs(self) -> list[str]:
        return [verb for verb, _, _ in self.calls]

    def _asked(self, verb: str, resource: Resource, name: str) -> None:
        self.calls.append((verb, resource.plural, name))
        if verb in self.fail:
            raise self.fail[verb]

    def _found(self, resource: Resource, namespace: str | None, name: str, only_if: Precondition) -> Obj:
        obj = self.objects.get((resource.plural, namespace or "", name))
        if obj is None:
            raise errors.NotFound({"code": 404, "message": f"{resource.plural} {name} not found"})
        meta = obj["metadata"]
        if any(meta[field] != wanted for field, wanted in only_if.fields().items()):
            raise errors.Conflict({"code": 409, "message": f"{resource.plural} {name} is another one"})
        return obj

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        self._asked("get", resource, name)
        return self._found(resource, namespace, name, Precondition())

    async def list_pages(self, selection: Selection, *, limit: int = 500) -> AsyncIterator[Page]:
        self._asked("list", selection.resource, "")
        label, _, value = selection.labels.partition("=")
        yield Page(
            [
                obj
                for (plural, namespace, _), obj in self.objects.items()
                if plural == selection.resource.plural
                and selection.namespace in (None, namespace)
                and (not label or obj["metadata"].get("labels", {}).get(label) == value)
            ],
            str(self._version),
        )

    @asynccontextmanager
    async def watch(
        self, selection: Selection, *, since: str, timeout_s: float
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        raise NotImplementedError("tests of watches use kube_server.py")
        yield

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        name = obj["metadata"].get("name") or f"{obj['metadata']['generateName']}{self._version}"
        self._asked("create", resource, name)
        if (resource.plural, obj["metadata"].get("namespace", ""), name) in self.objects:
            raise errors.AlreadyExists({"code": 409, "message": f"{resource.plural} {name} exists"})
        return self.put(resource, obj | {"metadata": obj["metadata"] | {"name": name}})

    async def apply(self, resource: Resource, obj: Obj, *, manager: str, force: bool = False) -> Obj:
        self._asked("apply", resource, obj["metadata"]["name"])
        return self.put(resource, obj)

    async def apply_status(self, resource: Resource, obj: Obj, *, manager: str) -> Obj:
        meta = obj["metadata"]
        self._asked("apply_status", resource, meta["name"])
        seen = Precondition(resource_version=meta.get("resourceVersion"))  # a uid would not be compared here
        live = self._found(resource, meta["namespace"], meta["name"], seen)
        return self.put(resource, live | {"status": obj["status"]})

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Obj, only_if: Precondition
    ) -> Obj:
        self._asked("merge_patch", resource, name)
        live = self._found(resource, namespace, name, only_if)
        return self.put(resource, _merged(live, patch))

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        only_if: Precondition,
        *,
        orphan: bool = False,
    ) -> None:
        self._asked("delete", resource, name)
        self._found(resource, namespace, name, only_if)
        del self.objects[resource.plural, namespace or "", name]

    async def evict(self, namespace: str, pod: str, *, uid: str) -> None:
        """The pod is leaving from now on; it is there for as long as its grace period."""
        self._asked("evict", POD, pod)
        live = self._found(POD, namespace, pod, Precondition(uid=uid))
        leaving = {"deletionTimestamp": "2026-11-23T10:00:00Z"}
        self.put(POD, live | {"metadata": live["metadata"] | leaving})

    async def resize(self, namespace: str, pod: str, patch: Obj, *, uid: str) -> Obj:
        """A strategic merge: containers are known by their names, and the others stay."""
        self._asked("resize", POD, pod)
        live = self._found(POD, namespace, pod, Precondition(uid=uid))
        changes = {one["name"]: one for one in patch["spec"]["containers"]}
        containers = [_merged(one, changes.get(one["name"], {})) for one in live["spec"]["containers"]]
        return self.put(POD, live | {"spec": live["spec"] | {"containers": containers}})


def _merged(value: Obj, patch: Obj) -> Obj:
    result = dict(value)
    for field, change in patch.items():
        if change is None:
            result.pop(field, None)
        elif isinstance(change, dict) and isinstance(result.get(field), dict):
            result[field] = _merged(result[field], change)
        else:
            result[field] = change
    return result


class FakeNodes:
    """Valkey servers that note what they are sent; `fail` holds what a pod answers to a word of a command."""

    def __init__(self) -> None:
        self.sent: dict[str, list[Command]] = {}
        self.addresses: set[Address] = set()
        self.fail: dict[tuple[str, str], Exception] = {}
        self.together = 0
        """The most batches that were under way on one server at a time."""
        self._under_way: Counter[str] = Counter()

    async def look(self, address: Address, directives: Collection[str] = ()) -> Server:
        raise NodeSilent("does not answer in time")

    async def send(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        pod = address.pod
        self.addresses.add(address)
        self._under_way[pod] += 1
        self.together = max(self.together, self._under_way[pod])
        await asyncio.sleep(0)
        try:
            for command in commands:
                self.sent.setdefault(pod, []).append(command)
                for word in command:
                    if (pod, str(word)) in self.fail:
                        raise self.fail[pod, str(word)]
        finally:
            self._under_way[pod] -= 1
        return [b"OK" for _ in commands]

    async def keep(self, addresses: Iterable[Address]) -> None:
        self.addresses &= set(addresses)


class FakeLease(Lease):
    """A Lease that is held for as long as the test says."""

    def __init__(self, *, held: bool = True) -> None:
        super().__init__(FakeApi(), Key("system", "valkeeper"), "me")
        self.held = held

    def is_leader(self) -> bool:
        return self.held


class FakeProvisioner(Provisioner):
    """Notes the updates that it was asked for."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Identity, Target | None, bool]] = []

    async def up(self, identity: Identity, target: Target, *, refresh: bool) -> float:
        self.done.append(("up", identity, target, refresh))
        return 1.0

    async def preview(self, identity: Identity, target: Target) -> None:
        self.done.append(("preview", identity, target, False))

    async def destroy(self, identity: Identity) -> float:
        self.done.append(("destroy", identity, None, False))
        return 1.0


def server(number: int, *others: int) -> Server:
    """Primary `number`, which lists the servers `others`."""
    return Server(
        me=_peer(number, "myself,master"),
        peers=tuple(_peer(other, "master") for other in others),
        state_ok=True,
        link_up=True,
        offset=0,
        keys=0,
        node_timeout_ms=5000,
        version="9.1.2",
    )


def _peer(number: int, flags: str) -> Peer:
    return Peer(
        node_id=NodeId(f"{number:040x}"),
        ip=f"10.0.0.{number}",
        flags=frozenset(flags.split(",")),
        primary_id=None,
        config_epoch=0,
        connected=True,
        slots=(),
    )


def pod(number: int, answering: Server | None = None) -> PodView:
    """The only pod of shard `number`."""
    return PodView(
        name=PodName(f"orders-{number}-0"),
        uid=f"uid-pod-{number}",
        shard=number,
        ordinal=0,
        ip=f"10.0.0.{number}",
        node=f"node-{number}",
        zone="",
        ready=True,
        terminating=False,
        trouble="",
        server=answering,
    )


_EMPTY = View(
    identity=IDENTITY,
    generation=1,
    deleting=False,
    finalizer=True,
    spec=None,
    spec_error="",
    status=ClusterStatus(),
    applied=None,
    stray=(),
    drift=(),
    pods=(),
    claims=(),
    blind="",
    now=1_800_000_000.0,
)


def a_view(**facts: Any) -> View:
    """A View of a cluster of which nothing exists, but for the facts given."""
    return replace(_EMPTY, **facts)
