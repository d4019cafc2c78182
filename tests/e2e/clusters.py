"""ValkeyClusters of the tests: made small, looked at from outside, taken away at the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daemon.kube.kinds import (
    CONFIG_MAP,
    EVENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    VALKEY_CLUSTER,
    VALKEY_UPGRADE,
)
from stacks.ready import is_done
from tests.e2e.valkeys import Client, ask, slots_owned_once
from tests.e2e.waiting import until
from valkey_cluster import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.kube.kinds import Resource
    from tests.e2e.api import Api, Obj
    from tests.e2e.valkeys import Member

READY_WITHIN_S = 90.0

OBJECTS = (SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, POD_DISRUPTION_BUDGET, STATEFUL_SET, SECRET)
"""Kinds of objects that are gone when the cluster is."""

_SMALL: dict[str, Any] = {
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "96Mi"}},
    "persistence": {"size": "64Mi"},
    "terminationGracePeriodSeconds": 30,
}
CACHE: dict[str, Any] = {"enabled": False}
"""`persistence` of a cluster that keeps nothing."""


def spec_of(*, shards: int, replicas: int, **spec: Any) -> dict[str, Any]:
    """The spec of a small cluster."""
    return {**_SMALL, "shards": shards, "replicasPerShard": replicas, **spec}


@dataclass(frozen=True)
class Cluster:
    """One ValkeyCluster and everything that belongs to it."""

    api: Api
    namespace: str
    name: str
    daemon_log: Callable[[], str]

    def raw(self) -> Obj:
        """The object as it is now; empty when it is gone."""
        return self.api.get(VALKEY_CLUSTER, self.namespace, self.name) or {}

    def status(self) -> Any:
        """Its status, empty before the first look of a daemon."""
        return self.raw().get("status", {})

    def condition(self, type_: str) -> dict[str, str]:
        """The condition; empty when it was never set."""
        found = (one for one in self.status().get("conditions", []) if one["type"] == type_)
        return next(found, {})

    def edit(self, spec: dict[str, Any]) -> None:
        """Merge into the spec, as a person would with kubectl."""
        self.api.patch(VALKEY_CLUSTER, self.namespace, self.name, {"spec": spec})

    def objects(self, kind: Resource) -> list[Obj]:
        """Its objects of a kind."""
        return self.api.items(kind, self.namespace, f"{names.LABEL_CLUSTER}={self.name}")

    def pods(self) -> list[Obj]:
        """Its pods, by name."""
        return self.objects(POD)

    def pod_uids(self) -> dict[str, str]:
        """Which pod stands behind each name, and how often its container was started again."""
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods()}

    def members(self) -> dict[str, Member]:
        """What each server that answers says."""
        answers = {pod["metadata"]["name"]: ask(pod["status"].get("podIP", "")) for pod in self.pods()}
        return {name: member for name, member in answers.items() if member is not None}

    def primaries(self) -> set[str]:
        """Pods that own slots."""
        return {name for name, member in self.members().items() if member.me.slots}

    def is_whole(self) -> bool:
        """By the servers' own word: all are there, agree on one owner of each slot, and replicate."""
        expected = {
            names.pod(self.name, int(one["metadata"]["labels"][names.LABEL_SHARD]), ordinal)
            for one in self.objects(STATEFUL_SET)
            for ordinal in range(one["spec"]["replicas"])
        }
        members = self.members()
        return (
            bool(expected)
            and set(members) == expected
            and all(member.state_ok and member.link_up for member in members.values())
            and all(len(member.all_known) == len(members) for member in members.values())
            and slots_owned_once(members.values())
        )

    def client(self) -> Client:
        """A client that knows all pods."""
        return Client(pod["status"]["podIP"] for pod in self.pods())

    def events(self, reason: str = "") -> list[str]:
        """What events told of it, oldest first."""
        found = [
            event
            for event in self.api.items(EVENT, self.namespace)
            if (event["regarding"]["kind"], event["regarding"]["name"]) == (names.KIND, self.name)
            and reason in {"", event["reason"]}
        ]
        return [f"{one['reason']}: {one['note']}" for one in sorted(found, key=lambda one: one["eventTime"])]

    def until(self, holds: Callable[[], Any], what: str, within_s: float = 30.0) -> Any:
        """Wait for it, and tell everything about the cluster if it does not come."""
        return until(holds, f"{self.namespace}/{self.name}: {what}", within_s, self.explain)

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Until the daemon says that the present spec is done, and the servers say so too."""
        self.until(lambda: self.is_done() and self.is_whole(), "Ready", within_s)

    def is_done(self) -> bool:
        """By its status: the present spec is done and nothing else is under way."""
        raw = self.raw()
        return bool(raw) and is_done(raw) and bool(raw["status"]["step"]["kind"] == "Steady")

    def wait_step(self, kind: str, within_s: float = 60.0) -> None:
        """Until the step of this kind stands in the status."""
        self.until(lambda: self.status().get("step", {}).get("kind") == kind, f"step {kind}", within_s)

    def delete(self) -> None:
        """Ask for its deletion."""
        self.api.delete(VALKEY_CLUSTER, self.namespace, self.name)

    def wait_gone(self, within_s: float = 90.0) -> None:
        """Until the object and everything made for it, claims aside, is gone."""
        self.until(lambda: not self.raw(), "deleted", within_s)
        self.until(lambda: not self.left(), "nothing left", within_s)

    def left(self) -> list[str]:
        """What there still is of it, claims aside."""
        return [
            f"{kind.kind} {found['metadata']['name']}"
            for kind in (*OBJECTS, POD)
            for found in self.objects(kind)
        ]

    def claims(self) -> list[str]:
        """Names of its claims that are not on their way out."""
        found = self.objects(PERSISTENT_VOLUME_CLAIM)
        return [one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]]

    def explain(self) -> str:
        """All that helps to see why a wait was in vain."""
        members = {
            name: f"ok={one.state_ok} link={one.link_up} slots={one.me.slots} knows={len(one.all_known)}"
            for name, one in self.members().items()
        }
        pods = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in self.pods()}
        return "\n".join(
            [
                f"status: {json.dumps(self.status(), indent=1)}",
                f"pods: {pods}",
                f"servers: {json.dumps(members, indent=1)}",
                "events:",
                *(f"  {event}" for event in self.events()[-15:]),
                "daemon:",
                self.daemon_log(),
            ]
        )


@dataclass
class Clusters:
    """Makes clusters in one namespace and removes them; the shared one lives as long as it is Ready."""

    api: Api
    namespace: str
    daemon_log: Callable[[], str]
    _made: list[Cluster] = field(default_factory=list)

    def make(self, name: str, *, shards: int = 1, replicas: int = 1, **spec: Any) -> Cluster:
        """A new cluster; not waited for."""
        whole = spec_of(shards=shards, replicas=replicas, **spec)
        metadata = {"namespace": self.namespace, "name": name}
        self.api.create(VALKEY_CLUSTER, {"metadata": metadata, "spec": whole})
        cluster = Cluster(self.api, self.namespace, name, self.daemon_log)
        self._made.append(cluster)
        return cluster

    def ready(self, name: str, **spec: Any) -> Cluster:
        """The one made before under this name, if it is Ready or becomes so; else a new one."""
        for known in self._made:
            if known.name == name:
                try:
                    known.wait_ready(within_s=30.0)
                except AssertionError:
                    self.remove()
                    break
                return known
        cluster = self.make(name, **spec)
        cluster.wait_ready()
        return cluster

    def remove(self) -> None:
        """Delete what was made, claims too, and wait until it is gone."""
        for cluster in self._made:
            cluster.delete()
        for upgrade in self.api.items(VALKEY_UPGRADE, self.namespace):
            self.api.delete(VALKEY_UPGRADE, self.namespace, upgrade["metadata"]["name"])
        for cluster in self._made:
            cluster.wait_gone()
            for claim in cluster.claims():
                self.api.delete(PERSISTENT_VOLUME_CLAIM, self.namespace, claim)
        self._made.clear()
