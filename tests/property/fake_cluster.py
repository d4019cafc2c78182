"""A whole cluster in memory: the CR, its objects, pods and claims, and the Valkey servers in the pods.

`view()` is what an Observer would make of it, `perform()` what act.py would do, `half()` the same by a
daemon that dies in the middle, `turn()` the passing of time. What must never happen raises `Wrong`, so
every test that drives a fake cluster checks it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import fake_bus
import fake_kubelet
import fake_vote
from fake_act import Command, commands
from fake_api import Wrong
from fake_kubelet import Place, Pod
from fake_valkey import Refused, Valkey

from daemon.drift import find_drift
from daemon.topology import UPGRADE_ENDS, Applied, Claim, Drift, PodName, Upgrade, View
from valkey_cluster import slots
from valkey_cluster.config import directives_of
from valkey_cluster.resources import Identity
from valkey_cluster.resources.config_map import conf_of
from valkey_cluster.spec import ValkeyClusterSpec, parse
from valkey_cluster.stage import Key, Stage, is_surged, render, shard_of, unsurged
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.steps import Step
    from valkey_cluster.upgrade_status import UpgradeStatus

DEMO = Identity("prod", "demo", "uid-demo")
START_S = 1_800_000_000.0
TURN_S = 0.5
REELECTION_S = 60.0
"""How long, at the longest node-timeout, a replica without a link may still be elected."""


def spec_of(**fields: Any) -> ValkeyClusterSpec:
    """A valid spec, fields in the CR's spelling."""
    return _parsed(json.dumps({"shards": 3, **fields}, sort_keys=True))


@cache
def _parsed(fields: str) -> ValkeyClusterSpec:
    return parse(json.loads(fields), "demo")


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
    allocatable: dict[str, dict[str, str]] = field(default_factory=dict)
    room: dict[str, str] = field(default_factory=dict)
    """The most memory that a pod on this node can ask for now; a node that is not named has enough."""
    unable: set[PodName] = field(default_factory=set)
    """Pods that their kubelet says it can never resize."""
    busy: bool = False
    """Clients write to every shard, at any moment that there is."""
    down_by_us: set[PodName] = field(default_factory=set)
    """Pods that a step took down, until they serve in sync again."""
    evictions: list[PodName] = field(default_factory=list)
    refusals: list[PodName] = field(default_factory=list)
    """Evictions that the disruption budget refused."""
    stalled: list[str] = field(default_factory=list)
    """Failovers that could come to nothing only: they held writes back in vain."""
    in_vain: list[str] = field(default_factory=list)
    """Forced ones."""
    upgrades: list[Upgrade] = field(default_factory=list)
    _count: int = 0

    # ---- what others see and do

    def view(self) -> View:
        """As the Observer makes it."""
        stage = self.applied.stage if self.applied else None
        confs = (one for one in stage.manifests if one["kind"] == "ConfigMap") if stage else ()
        asked = {name for one in confs for name in directives_of(conf_of(one))}
        asked.update(self.spec.config if self.spec else ())
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
            pods=tuple(fake_kubelet.pod_view(self, self.pods[name], asked) for name in sorted(self.pods)),
            claims=self._claims(stage),
            blind=self.blind,
            now=self.now,
            upgrade=next((one for one in self.upgrades if one.status.phase not in UPGRADE_ENDS), None),
            ended_upgrades=tuple(one for one in self.upgrades if one.status.phase in UPGRADE_ENDS),
            allocatable=self.allocatable,
        )

    def tell_upgrade(self, status: UpgradeStatus) -> None:
        """As the reporter writes it."""
        ours = next(one for one in self.upgrades if one.status.phase not in UPGRADE_ENDS)
        self.upgrades[self.upgrades.index(ours)] = replace(ours, status=status)

    def _claims(self, stage: Stage | None) -> tuple[Claim, ...]:
        """Asked for when some may have to go; one that waits for its pod's end is as good as gone."""
        sets = [one for one in stage.manifests if one["kind"] == "StatefulSet"] if stage else []
        pods = sum(unsurged(one)["spec"]["replicas"] for one in sets)
        shrinks = self.spec is not None and self.spec.members < pods
        if not any(map(is_surged, sets)) and not shrinks and not (self.deleting and not stage):
            return ()
        going = {pod.name for pod in self.pods.values() if pod.loses_claim}
        return tuple(
            Claim(f"data-{name}", f"uid-{name}") for name in sorted(self.volumes) if name not in going
        )

    def _touched(self, stage: Stage) -> bool:
        return any(self.objects.get(one) != manifest for one, manifest in stage.by_key.items())

    def turn(self) -> None:
        """Half a second: servers talk, pods start; a server that has just started has heard nobody yet."""
        self.write_everywhere()
        self.now += TURN_S
        for pod in list(self.pods.values()):
            if pod.terminating and pod.place[0] not in self.away:
                self.stop(pod)
        self.acknowledged &= self.copies()
        self.reconcile_sets()
        fake_bus.turn(self.running(), self.away | self.bus_closed, self._refusing(), self.now)
        for pod in self.pods.values():
            fake_kubelet.tick(self, pod)
        self.down_by_us -= {pod.name for pod in self.pods.values() if pod.server and _in_sync(pod.server)}
        self.check_data()

    def kill(self, name: PodName, *, keep_claim: bool) -> None:
        """Delete a pod, and its claim too unless that is kept; on a node that is away it lingers."""
        pod = self.pods[name]
        pod.loses_claim = pod.loses_claim or not keep_claim
        self.stop(pod)
        self.acknowledged &= self.copies()

    def kill_container(self, name: PodName) -> None:
        """Its process ends; the kubelet sees it and starts it again."""
        fake_kubelet.end(self, self.pods[name])
        self.acknowledged &= self.copies()

    def stop(self, pod: Pod) -> None:
        """Delete the pod; on a node that is away it lingers."""
        pod.terminating = True
        if pod.place[0] in self.away:
            return
        del self.pods[pod.name]
        if pod.loses_claim:
            self.volumes.pop(pod.name, None)

    def write_everywhere(self) -> None:
        if self.busy and self.applied:
            for shard in range(self.applied.spec.shards):
                self.write(shard)

    def write(self, shard: int) -> bool:
        """A client's write; acknowledged, and True, if every replica that could be elected has it too."""
        assert self.applied
        ((start, end),) = slots.even_split(self.applied.spec.shards)[shard]
        number = self.next_number()
        slot = start + number * 977 % (end - start + 1)
        claiming = [server for server in self.everything() if server.votes]
        owners = [one for one in claiming if any(a <= slot <= b for a, b in one.slots)]
        owner = max(owners, key=lambda server: server.config_epoch, default=None)
        if owner is None or not owner.ok or owner.place in self.away or owner not in self.running():
            return False
        if owner.paused_until > self.now:
            return False
        replicas = [server for server in self.running() if server.primary_id == owner.node_id]
        current = [one for one in replicas if one.linked and not one.lags]
        late = [one for one in replicas if one not in current and one.electable(self.now, REELECTION_S / 10)]
        written = f"{slot}/{number}"
        for server in [owner, *current]:
            server.keys.add(written)
        if any(not one.linked for one in late) or (late and not current):
            return False
        self.acknowledged.add(written)
        return True

    # ---- truth, for assertions

    def running(self) -> list[Valkey]:
        return [pod.server for pod in self.pods.values() if pod.server is not None]

    def everything(self) -> list[Valkey]:
        """Every server that runs and every one that may come back from a claim."""
        asleep = [held for name, held in self.volumes.items() if held and not self._runs(name)]
        restarting = [pod.disk for pod in self.pods.values() if pod.disk is not None]
        return [*self.running(), *asleep, *restarting]

    def members(self) -> tuple[int, int]:
        """Number of pods and of shards that the objects ask for."""
        sets = [one for (kind, _), one in self.objects.items() if kind == "StatefulSet"]
        return sum(one["spec"]["replicas"] for one in sets), len(sets)

    def check_data(self) -> None:
        lost = self.acknowledged.difference(*(server.keys for server in self.everything()))
        if lost:
            raise Wrong(f"no copy is left of {sorted(lost)}")

    def _runs(self, name: PodName) -> bool:
        return name in self.pods and self.pods[name].server is not None

    def copies(self) -> set[str]:
        return set().union(*(server.keys for server in self.everything()))

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
            self.write_everywhere()
        self.check_data()
        if errors:
            raise errors[0]

    # ---- objects and pods

    def reconcile_sets(self) -> None:
        """The StatefulSet controller."""
        sets = [one for (kind, _), one in self.objects.items() if kind == "StatefulSet"]
        wanted = {
            PodName(f"{one['metadata']['name']}-{ordinal}"): one
            for one in sets
            for ordinal in range(one["spec"]["replicas"])
        }
        for pod in [pod for pod in self.pods.values() if pod.name not in wanted]:
            self.stop(pod)
            if ("StatefulSet", pod.name.rpartition("-")[0]) not in self.objects:
                self.acknowledged &= self.copies()
        for name, made_from in wanted.items():
            if name not in self.pods:
                self.pods[name] = fake_kubelet.new_pod(self, name, made_from, shard_of(made_from))
                if "volumeClaimTemplates" in made_from["spec"]:
                    self.volumes.setdefault(name, None)

    def _refusing(self) -> set[str]:
        """Addresses of pods in which nobody listens."""
        here = (pod for pod in self.pods.values() if pod.server is None and pod.place[0] not in self.away)
        return {pod.ip for pod in here if pod.ip}

    def obstacle(self, name: PodName, *, force: bool) -> str:
        """Why a failover to this pod would come to nothing now."""
        server = self.pods[name].server
        bus = fake_bus.Bus(self.running(), self.away | self.bus_closed, self._refusing(), self.now)
        return fake_vote.obstacle(bus, server, force=force) if server else "it does not run"

    def next_number(self) -> int:
        """Another each time."""
        self._count += 1
        return self._count


def _in_sync(server: Valkey) -> bool:
    return server.votes or server.linked
