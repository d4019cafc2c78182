"""The View: everything that one pass knows, frozen, and the facts that follow from it.

A View holds plain values and no client. A server that cannot be reached is a value, not an exception.
Nodes are identified by node ID; roles and slots come from the servers' own CLUSTER NODES, never from
names, ordinals or labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NewType

from valkey_cluster import slots
from valkey_cluster.config import directives_of
from valkey_cluster.names import UpgradePhase
from valkey_cluster.resources.config_map import conf_of
from valkey_cluster.stage import Stage, render, shard_of, unsurged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.slots import Ranges
    from valkey_cluster.spec import ValkeyClusterSpec
    from valkey_cluster.spec.upgrade import ValkeyUpgradeSpec
    from valkey_cluster.status_model import ClusterStatus
    from valkey_cluster.upgrade_status import UpgradeStatus

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

    @property
    def in_contact(self) -> bool:
        """The node that says so has a link to it and neither suspects nor knows it to be down."""
        return self.connected and not {"fail", "fail?", "noaddr", "handshake"} & self.flags


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
    config: Mapping[str, str] = field(default_factory=dict)
    """CONFIG GET of the directives that the observer asked for."""
    used_memory: int = 0
    """Bytes."""
    data_bytes: int = 0
    """The part of it that counts against maxmemory."""
    dataset_bytes: int = 0
    """The part of it that is keys and values."""
    link_down_s: int = 0
    """Of a replica: since when its link is down; -1 when it was never up since its start."""
    migrating: bool = False
    """A slot migration that it takes part in has not come to its end."""
    migrations: tuple[Migration, ...] = ()
    """Those that it remembers, newest first; it forgets them when it restarts."""
    uptime_s: int = 0
    error_replies: int = 0
    """Those that are not a cluster's way of saying where a slot is."""
    evicted_keys: int = 0
    command_calls: int = 0
    command_usec: int = 0
    """Totals since its start."""

    @cached_property
    def by_id(self) -> Mapping[NodeId, Peer]:
        """The other members under their IDs, handshakes left out."""
        return {peer.node_id: peer for peer in self.peers if not peer.in_handshake}

    def knows(self, other: Server) -> bool:
        """`other` stands in this node's table under its present address."""
        known = self.by_id.get(other.me.node_id)
        return known is not None and known.ip == other.me.ip

    @property
    def is_alone(self) -> bool:
        """It knows no other member and owns nothing: just born, or reset."""
        return not self.by_id and not self.me.slots and not self.keys and self.me.is_primary

    def is_meeting(self, other: Server) -> bool:
        """A handshake with the address of `other` is under way; it ends soon, well or not."""
        return any(peer.in_handshake and peer.ip == other.me.ip for peer in self.peers)


@dataclass(frozen=True)
class Migration:
    """A slot migration as one of its two servers tells it (CLUSTER GETSLOTMIGRATIONS, 9.0 and newer)."""

    exports: bool
    """The server that tells gives the slots away."""
    state: str
    slots: Ranges
    source: NodeId
    target: NodeId
    message: str = ""
    updated: float = 0.0
    """Unix seconds."""

    @property
    def is_active(self) -> bool:
        """It has not come to its end; a state that is not known counts as active."""
        return self.state not in ("success", "failed", "cancelled")


Amounts = dict[str, dict[str, str]]
"""`requests` and `limits` of a container, as Kubernetes spells them."""


@dataclass(frozen=True)
class Resources:
    """The Valkey container's resources: asked for in the pod's spec, and what became of it."""

    asked: Amounts = field(default_factory=dict)
    actual: Amounts = field(default_factory=dict)
    """By the container runtime."""
    allocated: dict[str, str] = field(default_factory=dict)
    """Requests that the kubelet has granted."""
    pending: str = ""
    """Why the kubelet has not granted it: `Deferred` or `Infeasible`; empty when it has."""
    error: str = ""
    """Why the granted resize was not carried out yet."""
    told: str = ""
    """The kubelet's words for either."""
    under_way: bool = False
    """The kubelet has not seen the last change of the spec, or has not carried it out."""


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
    refused: bool = False
    """It did not answer because nothing listens at its address."""
    runs: bool = True
    """By the kubelet's word, the container runs."""
    ended: str = ""
    """When the container ended last (RFC 3339), by the kubelet's word; empty when it never has."""
    restarts: int = 0
    template: str = ""
    """Fingerprint of the template that it was made from."""
    config_map: str = ""
    """Name of the ConfigMap that it reads."""
    resources: Resources = field(default_factory=Resources)

    @property
    def cannot_start(self) -> bool:
        """Not for a moment but as it was made: its image, its command or its place is wrong."""
        return not self.runs and self.trouble.startswith(_CANNOT_START)

    @property
    def is_dead(self) -> bool:
        """The server that served here has ended for certain: the kubelet says so, and nobody answers."""
        return self.server is None and bool(self.ended) and (not self.runs or self.refused)


_CANNOT_START = (
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainer",
    "Unschedulable",
)


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
    goal: ValkeyClusterSpec | None = None
    """The spec that shards are being advanced to, one after the other; `spec` itself when all are there."""
    unfinished_goal: ValkeyClusterSpec | None = None
    previewed: str = ""
    """Hash of the stage that Pulumi was last asked to compare with what is applied."""
    diff: tuple[str, ...] = ()
    """What it said, a line for each object."""


UPGRADE_ENDS = (
    UpgradePhase.SUCCEEDED,
    UpgradePhase.ROLLED_BACK,
    UpgradePhase.ABORTED,
    UpgradePhase.REFUSED,
)


@dataclass(frozen=True)
class Upgrade:
    """A ValkeyUpgrade of this cluster that has not ended."""

    name: str
    uid: str
    generation: int
    spec: ValkeyUpgradeSpec | None
    spec_error: str
    status: UpgradeStatus
    pause: bool = False
    approve: bool = False
    abort: bool = False
    by_edit: bool = False
    """The daemon made it of an edited `spec.version`, so that is not to be written back."""

    @property
    def changes_version(self) -> bool:
        """It has begun to change pods, and has neither ended nor is on its way back."""
        return self.status.phase in (
            UpgradePhase.CANARY,
            UpgradePhase.SOAKING,
            UpgradePhase.ROLLING,
            UpgradePhase.PAUSED,
        ) or (self.status.phase is UpgradePhase.WAITING_FOR_APPROVAL and bool(self.status.soak_until))


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
    disruptions_allowed: int = 1
    """By the PodDisruptionBudget, if there is one: how many ready pods may be evicted now."""
    approved: str = ""
    """What a person approved: the hash of a stage."""
    window_open: bool | None = None
    """A maintenance window is open now; None when the spec names none."""
    upgrade: Upgrade | None = None
    """The oldest ValkeyUpgrade of the cluster that has not ended."""
    ended_upgrades: tuple[Upgrade, ...] = ()
    allocatable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What each node can give to pods in all."""
    state_error: str = ""
    """Why the state's record cannot be understood; empty when it can, or there is none."""

    @cached_property
    def servers(self) -> Mapping[PodName, Server]:
        """The servers that answered, under their pods' names, but for those that have been retired."""
        return {
            pod.name: pod.server
            for pod in self.pods
            if pod.server is not None and pod.name not in self.retired
        }

    @cached_property
    def leaving(self) -> frozenset[PodName]:
        """Pods that are applied and not wanted any more: of a shard, or a replica, too many."""
        if self.applied is None:
            return frozenset()
        applied = (unsurged(one) for one in self.applied.stage.manifests if one["kind"] == "StatefulSet")
        wanted = (one for one in self.wanted.manifests if one["kind"] == "StatefulSet")
        return frozenset(_pods_of(applied).keys() - _pods_of(wanted).keys())

    @cached_property
    def retired(self) -> frozenset[PodName]:
        """Pods that leave, or are on their way out, and whose servers belong to nobody any more."""
        if self.applied is None:
            return frozenset()
        staying = self.expected.keys() - self.leaving
        return frozenset(
            pod.name
            for pod in self.pods
            if pod.name not in staying and pod.server is not None and pod.server.is_alone
        )

    @cached_property
    def pod_of(self) -> Mapping[NodeId, PodView]:
        """The pod in which a node ID lives; only of servers that answered."""
        return {pod.server.me.node_id: pod for pod in self.pods if pod.server is not None}

    @cached_property
    def expected(self) -> Mapping[PodName, int]:
        """The pods that the applied stage makes, and the shard of each."""
        if self.applied is None:
            return {}
        return _pods_of(one for one in self.applied.stage.manifests if one["kind"] == "StatefulSet")

    @cached_property
    def wanted(self) -> Stage:
        """What the spec asks for, as this valkeeper writes it; what is applied while it is not understood."""
        if self.goal is None:
            return self.applied.stage if self.applied else Stage(())
        return render(self.identity, self.goal)

    @cached_property
    def permitted(self) -> ValkeyClusterSpec | None:
        """The spec, or with `updatePolicy.mode: Manual` what of it has been approved or begun."""
        if self.applied is None or not self.asked_hash or self.asked_hash == self.approved:
            return self.spec
        return self.applied.goal or self.applied.spec

    @cached_property
    def asked_hash(self) -> str:
        """Hash of the stage that a person is asked to approve; empty when nothing is asked."""
        spec, applied = self.spec, self.applied
        if spec is None or applied is None or spec.update_policy.mode == "Automatic":
            return ""
        asked = render(self.identity, spec).hash
        return "" if asked == applied.stage.hash else asked

    @cached_property
    def goal(self) -> ValkeyClusterSpec | None:
        """The spec to follow now. A version is changed by a ValkeyUpgrade only, and other edits wait for it.

        Until it has begun, and when it is taken back, all stays as it was applied.
        """
        permitted = self.permitted
        if permitted is None or self.applied is None:
            return permitted
        upgrade, before = self.upgrade, self.applied.spec
        if upgrade is not None and upgrade.spec is not None:
            if upgrade.changes_version:
                under_way = self.applied.goal
                basis = under_way if under_way and under_way.version == upgrade.spec.version else permitted
                return upgraded(basis, upgrade.spec)
            if upgrade.status.phase is UpgradePhase.ROLLING_BACK:
                return before
        return permitted if permitted.version == before.version else before

    @cached_property
    def sets(self) -> Mapping[int, Manifest]:
        """The applied StatefulSet of each shard."""
        applied = self.applied.stage.manifests if self.applied else ()
        return {shard_of(one): one for one in applied if one["kind"] == "StatefulSet"}

    @cached_property
    def confs(self) -> Mapping[str, Mapping[str, str]]:
        """The valkey.conf of each applied ConfigMap, by its name."""
        applied = self.applied.stage.manifests if self.applied else ()
        return {
            one["metadata"]["name"]: directives_of(conf_of(one))
            for one in applied
            if one["kind"] == "ConfigMap"
        }

    @cached_property
    def shards(self) -> int:
        """Number of shards of the applied stage."""
        return len(set(self.expected.values()))

    @cached_property
    def silent(self) -> tuple[PodName, ...]:
        """Expected pods that do not exist or whose server does not answer, and others that linger."""
        lingering = {pod.name for pod in self.pods if pod.server is None}
        answering = {pod.name for pod in self.pods if pod.server is not None}
        return tuple(sorted(lingering | (self.expected.keys() - answering)))

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
        """The shard's members that answer, by ordinal."""
        return tuple(pod for pod in self.pods if pod.shard == shard and pod.name in self.servers)

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

    def leader(self, shard: int) -> PodView | None:
        """The pod that the shard's others follow: its primary; of a shard without slots, an empty one.

        A shard owns none when it is new, or has been drained. While slots anywhere have no owner, they may
        have been this shard's, so it has no leader then.
        """
        owner = self.primary(shard)
        if owner is not None or self.orphaned or self.unclaimed:
            return owner
        pods = self.of_shard(shard)
        heads = [pod for pod in pods if pod.server and pod.server.me.is_primary]
        followed = {pod.server.me.primary_id for pod in pods if pod.server}
        lead = [pod for pod in heads if pod.server and pod.server.me.node_id in followed]
        if not lead and sum(of == shard for of in self.expected.values()) == 1:
            lead = heads
        return lead[0] if lead else None

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


def _pods_of(sets: Iterable[Manifest]) -> dict[PodName, int]:
    """The pods of these StatefulSets, and the shard of each."""
    return {
        PodName(f"{one['metadata']['name']}-{ordinal}"): shard_of(one)
        for one in sets
        for ordinal in range(one["spec"]["replicas"])
    }


def upgraded(spec: ValkeyClusterSpec, upgrade: ValkeyUpgradeSpec) -> ValkeyClusterSpec:
    """The spec in the version, and from the image, of the upgrade."""
    if spec.version == upgrade.version and upgrade.image is None:
        return spec
    tag = upgrade.image.tag if upgrade.image else None
    digest = upgrade.image.digest if upgrade.image else None
    image = spec.image.model_copy(update={"tag": tag, "digest": digest})
    return spec.model_copy(update={"version": upgrade.version, "image": image})


def _overlap(one: Ranges, other: Ranges) -> bool:
    return any(start <= last and first <= end for start, end in one for first, last in other)


def _config_epoch(pod: PodView) -> int:
    return pod.server.me.config_epoch if pod.server is not None else -1
