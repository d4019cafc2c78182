"""A whole cluster in memory: the CR, its objects, pods and claims, and the Valkey servers in the pods.

`view()` is what an Observer would make of it, `perform()` what act.py would do, `half()` the same by a
daemon that dies in the middle, `turn()` the passing of time. What must never happen raises `Wrong`, so
every test that drives a fake cluster checks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import fake_bus
from fake_act import Command, Wrong, commands
from fake_valkey import Refused, Valkey, minus

from daemon.drift import find_drift
from daemon.topology import Applied, Claim, Drift, NodeId, PodName, PodView, View, shard_of
from valkey_cluster import slots
from valkey_cluster.config import node_timeout_ms
from valkey_cluster.resources import Identity
from valkey_cluster.spec import ValkeyClusterSpec, parse
from valkey_cluster.stage import Key, Stage, render
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.steps import Step

DEMO = Identity("prod", "demo", "uid-demo")
START_S = 1_800_000_000.0
TURN_S = 0.5
REELECTION_S = 60.0
"""How long, at the longest node-timeout, a replica without a link may still be elected."""

Place = tuple[str, str]
"""Node and zone."""


def spec_of(**fields: Any) -> ValkeyClusterSpec:
    """A valid spec, fields in the CR's spelling."""
    return parse({"shards": 3, **fields}, "demo")


@dataclass
class Pod:
    """A pod; `server` once it has started."""

    name: PodName
    uid: str
    shard: int
    place: Place
    starts_at: float
    ip: str = ""
    server: Valkey | None = None
    terminating: bool = False
    loses_claim: bool = False


@dataclass(repr=False, eq=False)
class FakeCluster:
    """One ValkeyCluster and everything of it.

    `spec`, `deleting`, `blind` and `away` may be set, and an object replaced by an edited copy of it.
    """

    spec: ValkeyClusterSpec | None
    places: Callable[[PodName], Place] = lambda name: (f"node-{name}", f"zone-{name}")
    start_delay_s: Callable[[PodName], float] = lambda _: 1.0
    slow: set[PodName] = field(default_factory=set)
    """Pods that do not start until they are taken out of here."""
    identity: Identity = DEMO
    now: float = START_S
    generation: int = 1
    deleting: bool = False
    finalizer: bool = False
    blind: str = ""
    status: ClusterStatus = field(default_factory=ClusterStatus)
    applied: Applied | None = None
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    pods: dict[PodName, Pod] = field(default_factory=dict)
    volumes: dict[PodName, Valkey | None] = field(default_factory=dict)
    """What each claim holds; None as long as nothing was written."""
    away: set[str] = field(default_factory=set)
    bus_closed: set[str] = field(default_factory=set)
    """Nodes whose servers answer the daemon, but cannot reach those of other nodes."""
    acknowledged: set[str] = field(default_factory=set)
    """Keys of which a copy must be there: acknowledged, and not destroyed by an event."""
    _count: int = 0

    # ---- what others see and do

    def view(self) -> View:
        """As the Observer makes it."""
        stage = self.applied.stage if self.applied else None
        stray: tuple[Drift, ...] = ()
        if stage is None and self.spec is not None and self.objects:
            found = find_drift(render(self.identity, self.spec), self.objects)
            stray = tuple(drift for drift in found if drift.fields)
        return View(
            identity=self.identity,
            generation=self.generation,
            deleting=self.deleting,
            finalizer=self.finalizer,
            spec=self.spec,
            spec_error="" if self.spec is not None else "spec.shards: is required; set it",
            status=self.status,
            applied=self.applied,
            stray=stray,
            drift=find_drift(stage, self.objects) if stage is not None and self._touched(stage) else (),
            pods=tuple(self._pod_view(pod) for pod in sorted(self.pods.values(), key=lambda pod: pod.name)),
            claims=tuple(Claim(name, f"uid-{name}") for name in sorted(self.volumes))
            if self.deleting and not stage
            else (),
            blind=self.blind,
            now=self.now,
        )

    def _touched(self, stage: Stage) -> bool:
        return any(self.objects.get(one) != manifest for one, manifest in stage.by_key.items())

    def _pod_view(self, pod: Pod) -> PodView:
        answers = pod.server is not None and pod.place[0] not in self.away
        return PodView(
            name=pod.name,
            uid=pod.uid,
            shard=pod.shard,
            ordinal=int(pod.name.rpartition("-")[2]),
            ip=pod.ip,
            node=pod.place[0],
            zone=pod.place[1],
            ready=answers,
            terminating=pod.terminating,
            trouble="",
            server=pod.server.told() if pod.server is not None and answers else None,
            unreachable="" if answers or pod.server is None else "does not answer in time",
        )

    def turn(self) -> None:
        """Half a second: servers talk, pods start; a server that has just started has heard nobody yet."""
        self.now += TURN_S
        for pod in list(self.pods.values()):
            if pod.terminating and pod.place[0] not in self.away:
                self._stop(pod, keep_claim=not pod.loses_claim)
        self.reconcile_sets()
        fake_bus.turn(self.running(), self.away | self.bus_closed, self.now)
        for pod in self.pods.values():
            due = pod.starts_at <= self.now and pod.name not in self.slow
            if pod.server is None and due and pod.place[0] not in self.away:
                self._start(pod)
        self.check_data()

    def kill(self, name: PodName, *, keep_claim: bool) -> None:
        """Delete a pod, and its claim too unless that is kept; on a node that is away it lingers."""
        pod = self.pods[name]
        pod.terminating, pod.loses_claim = True, pod.loses_claim or not keep_claim
        if pod.place[0] not in self.away:
            self._stop(pod, keep_claim=keep_claim)
        self.acknowledged &= self.copies()

    def write(self, shard: int) -> bool:
        """A client's write; acknowledged, and True, if every replica that could be elected has it too."""
        assert self.applied
        span = slots.even_split(self.applied.spec.shards)[shard]
        owners = [server for server in self.everything() if server.votes and not minus(span, server.slots)]
        owner = max(owners, key=lambda server: server.config_epoch, default=None)
        if owner is None or not owner.ok or owner.place in self.away or owner not in self.running():
            return False
        replicas = [server for server in self.running() if server.primary_id == owner.node_id]
        if any(one.electable(self.now, REELECTION_S / 10) and not one.linked for one in replicas):
            return False
        written = f"{shard}/{self._next()}"
        for server in [owner, *(one for one in replicas if one.linked)]:
            server.keys.add(written)
        self.acknowledged.add(written)
        return True

    # ---- truth, for assertions

    def running(self) -> list[Valkey]:
        return [pod.server for pod in self.pods.values() if pod.server is not None]

    def everything(self) -> list[Valkey]:
        """Every server that runs and every one that may come back from a claim."""
        asleep = [held for name, held in self.volumes.items() if held and not self._runs(name)]
        return [*self.running(), *asleep]

    def members(self) -> tuple[int, int]:
        """Number of pods and of shards that the objects ask for."""
        sets = [one for (kind, _), one in self.objects.items() if kind == "StatefulSet"]
        return sum(one["spec"]["replicas"] for one in sets), len(sets)

    def check_data(self) -> None:
        lost = self.acknowledged - self.copies()
        if lost:
            raise Wrong(f"no copy is left of {sorted(lost)}")

    def _runs(self, name: PodName) -> bool:
        return name in self.pods and self.pods[name].server is not None

    def copies(self) -> set[str]:
        return {one for server in self.everything() for one in server.keys}

    # ---- what steps do

    def perform(self, step: Step) -> None:
        """All of it. Raises the first server error, after the other commands were run."""
        self._run(commands(self, step))

    def half(self, step: Step, n: int) -> None:
        """Only its first `n` commands: then the daemon died."""
        self._run(commands(self, step)[:n])

    def _run(self, batch: Iterable[Command]) -> None:
        errors = []
        for command in batch:
            try:
                command()
            except Refused as error:
                errors.append(error)
        self.check_data()
        if errors:
            raise errors[0]

    # ---- objects and pods

    def reconcile_sets(self) -> None:
        """The StatefulSet controller."""
        wanted = {
            PodName(f"{one['metadata']['name']}-{ordinal}"): shard_of(one)
            for (kind, _), one in self.objects.items()
            if kind == "StatefulSet"
            for ordinal in range(one["spec"]["replicas"])
        }
        for pod in [pod for pod in self.pods.values() if pod.name not in wanted]:
            self.kill(pod.name, keep_claim=True)
        for name, shard in wanted.items():
            if name not in self.pods:
                starts_at = self.now + self.start_delay_s(name)
                self.pods[name] = Pod(name, f"uid-{self._next()}", shard, self.places(name), starts_at)
                if self._persistent():
                    self.volumes.setdefault(name, None)

    def _persistent(self) -> bool:
        sets = (one for (kind, _), one in self.objects.items() if kind == "StatefulSet")
        return any("volumeClaimTemplates" in one["spec"] for one in sets)

    def _start(self, pod: Pod) -> None:
        number = self._next()
        pod.ip = f"10.0.{number // 250}.{number % 250}"
        applied = self.applied.spec if self.applied else self.spec
        timeout_s = node_timeout_ms(applied) / 1000 if applied else 5.0
        server = Valkey(NodeId(f"{number * 7919 % 99991:05d}"), pod.ip, pod.place[0], timeout_s)
        held = self.volumes.get(pod.name)
        if held is not None:
            server = replace(held, ip=pod.ip, place=pod.place[0], node_timeout=timeout_s, keys=set(held.keys))
            server.handshakes, server.banned = {}, {}
            server.linked, server.linked_at, server.ok, server.good_since = False, None, False, None
            server.table = {node_id: replace(entry, heard=self.now) for node_id, entry in held.table.items()}
        pod.server = server
        if pod.name in self.volumes:
            self.volumes[pod.name] = server

    def _stop(self, pod: Pod, *, keep_claim: bool) -> None:
        del self.pods[pod.name]
        if not keep_claim:
            self.volumes.pop(pod.name, None)
        self.acknowledged &= self.copies()

    def _next(self) -> int:
        self._count += 1
        return self._count
