"""The View: everything that one pass knows, frozen, and the facts that follow from it.

A View holds plain values and no client. A server that cannot be reached is a value, not an exception.
Nodes are identified by node ID; roles and slots come from the servers' own CLUSTER NODES, never from
names, ordinals or labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NewType

from valkey_cluster import names, slots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valkey_cluster.resources import Identity
    from valkey_cluster.slots import Ranges
    from valkey_cluster.spec import ValkeyClusterSpec
    from valkey_cluster.stage import Stage
    from valkey_cluster.status_model import ClusterStatus

NodeId = NewType("NodeId", str)
PodName = NewType("PodName", str)


@dataclass(frozen=True)
class Peer:
    """One line of a node's CLUSTER NODES: what that node believes of a member."""

    node_id: NodeId
    ip: str
    flags: frozenset[str]
    primary_id: NodeId | None
    config_epoch: int
    connected: bool
    slots: Ranges
    open_slots: bool = False
    """A slot is marked as importing or migrating by the legacy SETSLOT."""

    @property
    def is_primary(self) -> bool:
        """Primary by its own or its peer's word."""
        return "master" in self.flags

    @property
    def in_handshake(self) -> bool:
        """Met a moment ago: the node ID is still a made-up one."""
        return "handshake" in self.flags

    @property
    def failed(self) -> bool:
        """The majority of primaries agreed that it is down (`fail`, not the mere suspicion `fail?`)."""
        return "fail" in self.flags


@dataclass(frozen=True)
class Server:
    """What one Valkey server says of itself and of the others."""

    me: Peer
    peers: tuple[Peer, ...]
    state_ok: bool
    link_up: bool
    """A replica's link to its primary is up and synced; always true of a primary."""
    offset: int
    keys: int
    node_timeout_ms: int
    version: str

    @cached_property
    def by_id(self) -> Mapping[NodeId, Peer]:
        """The other members under their IDs, handshakes left out."""
        return {peer.node_id: peer for peer in self.peers if not peer.in_handshake}

    def knows(self, other: Server) -> bool:
        """`other` stands in this node's table under its present address."""
        known = self.by_id.get(other.me.node_id)
        return known is not None and known.ip == other.me.ip

    def is_meeting(self, other: Server) -> bool:
        """A handshake with the address of `other` is under way; it ends soon, well or not."""
        return any(peer.in_handshake and peer.ip == other.me.ip for peer in self.peers)


@dataclass(frozen=True)
class PodView:
    """A pod of the cluster and, where it answered, the server in it."""

    name: PodName
    uid: str
    shard: int
    ordinal: int
    ip: str
    node: str
    zone: str
    ready: bool
    terminating: bool
    trouble: str
    """Why it does not run, in Kubernetes' words; empty when it runs or is on its way."""
    server: Server | None
    unreachable: str = ""
    """Why the server did not answer; empty when it did."""


@dataclass(frozen=True)
class Claim:
    """A volume's claim of the cluster."""

    name: str
    uid: str


@dataclass(frozen=True)
class Drift:
    """An object that is not as it was applied."""

    kind: str
    name: str
    fields: tuple[str, ...]
    """Paths of changed fields; empty when the object is gone."""
    managers: tuple[str, ...]
    """Who changed them, by managedFields."""

    def sentence(self) -> str:
        """What changed, and who did it."""
        if not self.fields:
            return f"{self.kind} {self.name} was deleted"
        by = f" by {', '.join(self.managers)}" if self.managers else ""
        return f"{self.kind} {self.name}: {', '.join(self.fields)} changed{by}"


@dataclass(frozen=True)
class Applied:
    """What the stack's state, kept beside the cluster, says of the last update."""

    stage: Stage
    spec: ValkeyClusterSpec
    """The spec of the templates in the stage: older than the CR's while a change waits its turn."""
    unfinished: Stage | None
    """A stage whose update was begun and of which no end was recorded: the daemon died in it."""
    unfinished_spec: ValkeyClusterSpec | None = None


@dataclass(frozen=True)
class View:
    """One cluster at one moment."""

    identity: Identity
    generation: int
    deleting: bool
    finalizer: bool
    spec: ValkeyClusterSpec | None
    spec_error: str
    status: ClusterStatus
    applied: Applied | None
    stray: tuple[Drift, ...]
    """Objects that exist although no state is kept, and differ from what the spec would make."""
    drift: tuple[Drift, ...]
    pods: tuple[PodView, ...]
    claims: tuple[Claim, ...]
    """The cluster's claims; looked at only while it is being deleted."""
    blind: str
    """Why this View may be old or partial; empty when it can be acted on."""
    now: float
    """Unix seconds."""
    state_error: str = ""
    """Why the state's record cannot be understood; empty when it can, or there is none."""

    @cached_property
    def servers(self) -> Mapping[PodName, Server]:
        """The servers that answered, under their pods' names."""
        return {pod.name: pod.server for pod in self.pods if pod.server is not None}

    @cached_property
    def pod_of(self) -> Mapping[NodeId, PodView]:
        """The pod in which a node ID lives; only of servers that answered."""
        return {pod.server.me.node_id: pod for pod in self.pods if pod.server is not None}

    @cached_property
    def expected(self) -> Mapping[PodName, int]:
        """The pods that the applied stage makes, and the shard of each."""
        if self.applied is None:
            return {}
        return {
            PodName(f"{manifest['metadata']['name']}-{ordinal}"): shard_of(manifest)
            for manifest in self.applied.stage.manifests
            if manifest["kind"] == "StatefulSet"
            for ordinal in range(manifest["spec"]["replicas"])
        }

    @cached_property
    def shards(self) -> int:
        """Number of shards of the applied stage."""
        return len(set(self.expected.values()))

    @cached_property
    def silent(self) -> tuple[PodName, ...]:
        """Expected pods that do not exist or whose server does not answer, and others that linger."""
        lingering = {pod.name for pod in self.pods if pod.server is None}
        return tuple(sorted(lingering | {name for name in self.expected if name not in self.servers}))

    @cached_property
    def ghosts(self) -> Mapping[NodeId, tuple[Peer, ...]]:
        """Members that the servers list and no answering pod holds, as each server lists them."""
        listed: dict[NodeId, list[Peer]] = {}
        for server in self.servers.values():
            for node_id, peer in server.by_id.items():
                if node_id not in self.pod_of:
                    listed.setdefault(node_id, []).append(peer)
        return {node_id: tuple(peers) for node_id, peers in sorted(listed.items())}

    @cached_property
    def claimed(self) -> Ranges:
        """Slots that a live server claims or that anybody believes a ghost to own."""
        live = [span for server in self.servers.values() for span in server.me.slots]
        ghostly = [span for peers in self.ghosts.values() for peer in peers for span in peer.slots]
        return slots.normalise([*live, *ghostly])

    @cached_property
    def unclaimed(self) -> Ranges:
        """Slots that were never given to anybody, as far as the servers that answer can tell."""
        return slots.complement(self.claimed)

    def of_shard(self, shard: int) -> tuple[PodView, ...]:
        """The shard's pods that answer, by ordinal."""
        return tuple(pod for pod in self.pods if pod.shard == shard and pod.server is not None)

    @cached_property
    def orphaned(self) -> Ranges:
        """Slots that a ghost is believed to own and no server that answers does."""
        ghostly = [span for peers in self.ghosts.values() for peer in peers for span in peer.slots]
        owned = [span for server in self.servers.values() if self._owns(server) for span in server.me.slots]
        return slots.complement([*owned, *slots.complement(ghostly)])

    def ghost_owners(self, span: Ranges) -> frozenset[NodeId]:
        """The ghosts that somebody believes to own any of these slots."""
        return frozenset(
            node_id
            for node_id, peers in self.ghosts.items()
            if any(_overlap(peer.slots, span) for peer in peers)
        )

    def primary(self, shard: int) -> PodView | None:
        """The shard's pod that owns slots; of several, the one with the highest config epoch."""
        owners = [pod for pod in self.of_shard(shard) if pod.server is not None and self._owns(pod.server)]
        return max(owners, key=_config_epoch, default=None)

    def _owns(self, server: Server) -> bool:
        """It is a primary with slots, and nobody believes a ghost to have taken any of them since.

        A primary that comes back after its replica was elected still calls itself the owner until the
        others tell it. While the elected one does not answer, its epoch in their tables gives it away.
        """
        me = server.me
        return (
            me.is_primary
            and bool(me.slots)
            and not any(
                peer.config_epoch > me.config_epoch and _overlap(peer.slots, me.slots)
                for peers in self.ghosts.values()
                for peer in peers
            )
        )


def shard_of(manifest: Mapping[str, Any]) -> int:
    """Number of the shard that a StatefulSet or a pod belongs to, by its label."""
    return int(manifest["metadata"]["labels"][names.LABEL_SHARD])


def _overlap(one: Ranges, other: Ranges) -> bool:
    return any(start <= last and first <= end for start, end in one for first, last in other)


def _config_epoch(pod: PodView) -> int:
    return pod.server.me.config_epoch if pod.server is not None else -1
