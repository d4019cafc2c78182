"""From the API server's events to the set of clusters that want a look; and the caches behind it.

One list-watch per kind and watched namespace. Events say only *which* cluster to look at; what is true is
read from the stores when its turn comes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from daemon.kube.api import Key, KubeApi, Obj, Selection
from daemon.kube.kinds import (
    CONFIG_MAP,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    VALKEY_CLUSTER,
    VALKEY_UPGRADE,
    Resource,
)
from daemon.kube.listwatch import ListWatch, Timing
from daemon.kube.store import Store, without_managed_fields
from valkey_cluster import names
from valkey_cluster.stage import config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CHILDREN = (SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, POD_DISRUPTION_BUDGET, STATEFUL_SET)
"""The kinds that a stage is made of."""

_OURS = names.LABEL_CLUSTER


class Dirty(Protocol):
    """Told which cluster something happened to; `urgent` when its own spec or deletion is the news."""

    def __call__(self, key: Key, *, urgent: bool = False) -> None:
        """Look at it."""


class Caches:
    """What the daemon knows of Kubernetes without asking.

    Args:
        api: where to list and watch.
        namespaces: the watched ones; none means all.
        dirty: told the key of each cluster that something happened to.
    """

    def __init__(
        self,
        api: KubeApi,
        namespaces: Sequence[str],
        dirty: Dirty,
        timing: Timing | None = None,
    ) -> None:
        self._dirty = dirty
        self._watches: dict[tuple[str | None, str], ListWatch] = {}
        self._zones = ListWatch(api, Selection(NODE), Store(lambda _old, _new: None, trim=_node), timing)
        self._scopes: tuple[str | None, ...] = tuple(namespaces) or (None,)
        for scope in self._scopes:
            for resource in (VALKEY_CLUSTER, VALKEY_UPGRADE, POD, *CHILDREN):
                watch = ListWatch(api, _selection(resource, scope), self._store(resource), timing)
                self._watches[scope, resource.plural] = watch

    async def run(self) -> None:
        """Keep all caches true until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self.list_watches():
                group.create_task(watch.run())

    def list_watches(self) -> Iterator[ListWatch]:
        """Every list-watch, for metrics and readiness."""
        yield self._zones
        yield from self._watches.values()

    def cluster_keys(self) -> list[Key]:
        """Every ValkeyCluster that is known."""
        stores = [self._watches[scope, VALKEY_CLUSTER.plural].store for scope in self._scopes]
        return [
            Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
            for store in stores
            for obj in store.all()
        ]

    def cluster(self, key: Key) -> Obj | None:
        """The ValkeyCluster itself."""
        return self._store_of(VALKEY_CLUSTER, key.namespace).get(*key)

    def take(self, written: Obj) -> None:
        """Know the answer to a write of our own before the watch brings it."""
        kind = next(one for one in (VALKEY_CLUSTER, VALKEY_UPGRADE, POD) if one.kind == written["kind"])
        self._store_of(kind, written["metadata"]["namespace"]).put(written)

    def upgrades(self, key: Key) -> list[Obj]:
        """The ValkeyUpgrades of the cluster, oldest first."""
        found = self._store_of(VALKEY_UPGRADE, key.namespace).of_group(key)
        return sorted(found, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))

    def pods(self, key: Key) -> list[Obj]:
        """The cluster's pods."""
        return self._store_of(POD, key.namespace).of_group(key)

    def all_pods(self) -> list[Obj]:
        """The pods of every cluster."""
        return [pod for scope in self._scopes for pod in self._watches[scope, POD.plural].store.all()]

    def children(self, key: Key) -> list[Obj]:
        """The cluster's objects of the kinds that a stage is made of."""
        return [obj for kind in CHILDREN for obj in self._store_of(kind, key.namespace).of_group(key)]

    def zone(self, node: str) -> str:
        """The node's zone; empty when it has none or is not known."""
        known = self._zones.store.get("", node)
        return known["metadata"].get("labels", {}).get(names.LABEL_ZONE, "") if known else ""

    def allocatable(self) -> dict[str, dict[str, str]]:
        """What each node can give to pods in all."""
        return {node["metadata"]["name"]: node["status"]["allocatable"] for node in self._zones.store.all()}

    def blind(self, namespace: str) -> str:
        """Why what is known of this namespace may be old; empty when it is not."""
        scope = namespace if namespace in self._scopes else None
        for (of, plural), watch in self._watches.items():
            if of == scope and not watch.is_fresh():
                return f"the Kubernetes API does not show {plural}{_because(watch)}"
        return ""

    def _store_of(self, resource: Resource, namespace: str) -> Store:
        scope = namespace if (namespace, resource.plural) in self._watches else None
        return self._watches[scope, resource.plural].store

    def _store(self, resource: Resource) -> Store:
        def changed(old: Obj | None, new: Obj | None) -> None:
            obj = new or old
            key = _cluster_key(resource, obj) if obj else None
            if key is None:
                return
            if resource not in (VALKEY_CLUSTER, VALKEY_UPGRADE):
                self._dirty(key)
            elif _intent(old) != _intent(new):
                self._dirty(key, urgent=True)

        def group(obj: Obj) -> Key | None:
            return _cluster_key(resource, obj)

        return Store(changed, trim=_TRIMS.get(resource, _whole), group=group)


def _selection(resource: Resource, scope: str | None) -> Selection:
    labels = "" if resource in (VALKEY_CLUSTER, VALKEY_UPGRADE) else _OURS
    return Selection(resource, scope, labels)


def _cluster_key(resource: Resource, obj: Mapping[str, Any]) -> Key | None:
    meta = obj["metadata"]
    if resource is VALKEY_UPGRADE:
        return Key(meta["namespace"], obj["spec"]["clusterRef"]["name"])
    name = meta["name"] if resource is VALKEY_CLUSTER else meta.get("labels", {}).get(_OURS)
    return Key(meta["namespace"], name) if name else None


def _intent(cluster: Obj | None) -> object:
    """What of a ValkeyCluster is not its status: our own writes must not wake us."""
    if cluster is None:
        return None
    meta = cluster["metadata"]
    return meta["generation"], meta.get("deletionTimestamp"), meta.get("finalizers"), meta.get("annotations")


def _because(watch: ListWatch) -> str:
    return f": {watch.error}" if watch.error is not None else ""


def _whole(obj: Obj) -> Obj:
    return obj


def _pod(obj: Obj) -> Obj:
    """Of a pod only what `pods.pod_view` reads."""
    meta, status = obj["metadata"], obj.get("status", {})
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp", "generation")
    mark = meta.get("annotations", {}).get(names.ANNOTATION_TEMPLATE)
    containers = (one for one in obj["spec"]["containers"] if one["name"] == names.CONTAINER)
    return {
        "metadata": {field: meta[field] for field in kept if field in meta}
        | {"annotations": {names.ANNOTATION_TEMPLATE: mark} if mark else {}},
        "spec": {
            "nodeName": obj["spec"].get("nodeName", ""),
            "configMap": config_of(obj),
            "resources": next((one.get("resources", {}) for one in containers), {}),
        },
        "status": {field: status[field] for field in _POD_STATUS if field in status},
    }


_POD_STATUS = ("podIP", "conditions", "containerStatuses", "observedGeneration")


def _node(obj: Obj) -> Obj:
    kept = ("name", "uid", "resourceVersion", "labels")
    given = obj.get("status", {}).get("allocatable", {})
    return {
        "metadata": {field: value for field, value in obj["metadata"].items() if field in kept},
        "status": {"allocatable": {name: given[name] for name in ("cpu", "memory") if name in given}},
    }


_TRIMS: Mapping[Resource, Callable[[Obj], Obj]] = {
    VALKEY_CLUSTER: without_managed_fields,
    VALKEY_UPGRADE: without_managed_fields,
    POD: _pod,
}
