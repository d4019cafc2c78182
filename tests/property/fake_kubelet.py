"""Pods, and the kubelet that runs them: containers that start, end and are resized, images that are no good.

What an image does stands in its tag, behind the version: `9.1.3` is good, `9.1.3-nopull` cannot be pulled,
`9.1.3-dies` ends as soon as it has started, `9.1.3-deaf` runs a server that never gets in sync. So do some
versions.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fake_valkey import DEFAULTS, MAXCLIENTS_MAX, Valkey, answered, restarted

from daemon.clock import rfc3339
from daemon.topology import NodeId, PodName, PodView, Resources
from valkey_cluster.config import directives_of
from valkey_cluster.quantity import exact, format_millis, to_bytes, to_millis
from valkey_cluster.resources.config_map import conf_of
from valkey_cluster.stage import config_of, template_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from fake_cluster import FakeCluster

    from daemon.topology import Amounts
    from valkey_cluster.resources import Manifest

RESTART_S = 0.5
BACKOFF_S = 3.0
READY_S = 1.5
"""From the first answer until the readiness probe has said so."""
ELECTION_S = 4
"""The entrypoint waits that much longer than node-timeout before it starts a primary without its data."""

BAD_VERSIONS = {"9.1.91": "nopull", "9.1.92": "dies", "9.1.93": "deaf"}

Place = tuple[str, str]
"""Node and zone; both empty for a pod that no node has room for."""
NOWHERE: Place = ("", "")


@dataclass
class Pod:
    """A pod; `server` once somebody listens in it."""

    name: PodName
    uid: str
    shard: int
    made_from: Manifest
    """Its StatefulSet as it was then."""
    starts_at: float
    asked: Amounts
    place: Place = NOWHERE
    ip: str = ""
    server: Valkey | None = None
    runs: bool = False
    """The container does; the server may still be held back by the entrypoint."""
    listens_at: float = 0.0
    ready_at: float = 0.0
    ended: str = ""
    restarts: int = 0
    disk: Valkey | None = None
    """The emptyDir of a pod without a claim: nodes.conf, and no data."""
    actual: Amounts = field(default_factory=dict)
    unseen: bool = False
    """The kubelet has not looked at the last resize yet."""
    pending: str = ""
    error: str = ""
    terminating: bool = False
    loses_claim: bool = False

    @property
    def image(self) -> str:
        return str(container_of(self.made_from)["image"])

    @property
    def fault(self) -> str:
        """What is wrong with the image."""
        version, _, fault = self.image.rpartition(":")[2].partition("-")
        return fault or BAD_VERSIONS.get(version, "")

    @property
    def version(self) -> str:
        return self.image.rpartition(":")[2].partition("-")[0]


def container_of(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def new_pod(fake: FakeCluster, name: PodName, made_from: Manifest, shard: int) -> Pod:
    asked = deepcopy(container_of(made_from)["resources"])
    starts_at = fake.now + fake.start_delay_s(name)
    return Pod(name, f"uid-{fake.next_number()}", shard, made_from, starts_at, asked)


def tick(fake: FakeCluster, pod: Pod) -> None:
    """What scheduler and kubelet do for the pod in half a second."""
    if pod.place == NOWHERE:
        pod.place = _schedule(fake, pod)
    if pod.place == NOWHERE or pod.place[0] in fake.away:
        return
    if not pod.runs and _may_start(fake, pod):
        _start(fake, pod)
    if pod.runs and pod.server is None and (pod.listens_at <= fake.now or _is_superseded(fake, pod)):
        if pod.fault == "dies":
            end(fake, pod, BACKOFF_S)
        else:
            _listen(fake, pod)
    if pod.runs and (pod.unseen or pod.asked != pod.actual):
        _resize(fake, pod)


def end(fake: FakeCluster, pod: Pod, again_in_s: float = RESTART_S) -> None:
    """The container ends; the pod, its address and its volume stay."""
    if pod.server is not None and pod.name not in fake.volumes:
        pod.disk = replace(pod.server, keys=set())
    pod.server, pod.runs = None, False
    pod.ended, pod.restarts, pod.starts_at = rfc3339(fake.now), pod.restarts + 1, fake.now + again_in_s


def is_ready(fake: FakeCluster, pod: Pod) -> bool:
    return pod.server is not None and pod.place[0] not in fake.away and fake.now >= pod.ready_at


def has_room(fake: FakeCluster, node: str, asked: Amounts) -> bool:
    """The node can grant this to a pod now."""
    return grants(fake, node, asked) and (
        node not in fake.room or exact(asked["requests"]["memory"]) <= exact(fake.room[node])
    )


def grants(fake: FakeCluster, node: str, asked: Amounts) -> bool:
    """The node is large enough."""
    has = fake.allocatable.get(node, {})
    return all(name not in has or exact(each) <= exact(has[name]) for name, each in asked["requests"].items())


def resize_restarts(pod: Pod, asked: Amounts) -> bool:
    """By the resize policy of what changes."""
    policies = {
        one["resourceName"]: one["restartPolicy"] for one in container_of(pod.made_from)["resizePolicy"]
    }
    changed = {
        name
        for kind in ("requests", "limits")
        for name, amount in asked.get(kind, {}).items()
        if pod.actual.get(kind, {}).get(name) != amount
    }
    return any(policies[name] == "RestartContainer" for name in changed)


def pod_view(fake: FakeCluster, pod: Pod, directives: Collection[str]) -> PodView:
    """As daemon/pods.py and the server's own answers would make it."""
    reached = pod.place[0] not in fake.away
    refused = pod.runs and reached and pod.server is None
    unreachable = "does not listen yet" if refused else "" if reached or not pod.runs else "no answer in time"
    return PodView(
        name=pod.name,
        uid=pod.uid,
        shard=pod.shard,
        ordinal=int(pod.name.rpartition("-")[2]),
        ip=pod.ip,
        node=pod.place[0],
        zone=pod.place[1],
        ready=is_ready(fake, pod),
        terminating=pod.terminating,
        trouble="" if pod.runs else _trouble(pod),
        server=pod.server.told(fake.now, directives) if pod.server is not None and reached else None,
        unreachable=unreachable,
        refused=refused,
        runs=pod.runs,
        ended=pod.ended,
        restarts=pod.restarts,
        template=template_of(pod.made_from),
        config_map=config_of(pod.made_from),
        resources=Resources(
            asked=pod.asked,
            actual=pod.actual,
            pending=pod.pending,
            error=pod.error,
            told=f"the kubelet says {pod.pending or pod.error}" if pod.pending or pod.error else "",
            under_way=pod.unseen or bool(pod.error),
        ),
    )


def _trouble(pod: Pod) -> str:
    if pod.place == NOWHERE:
        return "Unschedulable: 0/3 nodes are available"
    if pod.fault == "nopull":
        return f"ImagePullBackOff: Back-off pulling image {pod.image}"
    if pod.fault == "dies" and pod.ended:
        return f"CrashLoopBackOff: back-off {pod.restarts * 10}s restarting failed container"
    return "container ended with exit code 137 (Error)" if pod.ended else ""


def _schedule(fake: FakeCluster, pod: Pod) -> Place:
    others = ((node, node.replace("node", "zone")) for node in sorted(fake.allocatable))
    fitting = (place for place in (fake.places(pod.name), *others) if has_room(fake, place[0], pod.asked))
    return next(fitting, NOWHERE)


def _may_start(fake: FakeCluster, pod: Pod) -> bool:
    due = pod.starts_at <= fake.now and pod.name not in fake.slow
    return due and pod.fault != "nopull" and ("ConfigMap", config_of(pod.made_from)) in fake.objects


def _start(fake: FakeCluster, pod: Pod) -> None:
    if not pod.ip:
        number = fake.next_number()
        pod.ip = f"10.0.{number // 250}.{number % 250}"
    pod.runs, pod.listens_at = True, fake.now
    if pod.fault == "dies":
        pod.listens_at += RESTART_S
    elif pod.disk is not None and pod.disk.votes:
        pod.listens_at += math.ceil(pod.disk.node_timeout) + ELECTION_S
    pod.pending, pod.error, pod.unseen, pod.actual = "", "", False, _granted(pod.asked)


def _is_superseded(fake: FakeCluster, pod: Pod) -> bool:
    """Somebody whom nodes.conf names says that the slots in it have another owner."""
    if pod.disk is None or pod.fault == "dies":
        return False
    known = {entry.ip for entry in pod.disk.table.values()}
    asked = (one for one in fake.running() if one.ip in known and one.place not in fake.away)
    told = (one.table.get(pod.disk.node_id) for one in asked)
    return any(entry is not None and not entry.slots for entry in told)


def _listen(fake: FakeCluster, pod: Pod) -> None:
    number = fake.next_number()
    conf = directives_of(conf_of(fake.objects["ConfigMap", config_of(pod.made_from)]))
    config = DEFAULTS | {name: answered(value) for name, value in conf.items()}
    config["maxclients"] = str(min(int(config["maxclients"]), MAXCLIENTS_MAX))
    server = Valkey(NodeId(f"{number * 7919 % 99991:05d}"), pod.ip, pod.place[0], config, pod.version, number)
    held = fake.volumes.get(pod.name) or pod.disk
    if held is not None:
        fresh = {"ip": pod.ip, "place": pod.place[0], "config": config, "version": pod.version}
        server = restarted(held, fake.now, run=number, **fresh)
    server.deaf = pod.fault == "deaf"
    pod.server, pod.disk, pod.ready_at = server, None, fake.now + READY_S
    if pod.name in fake.volumes:
        fake.volumes[pod.name] = server


def _resize(fake: FakeCluster, pod: Pod) -> None:
    pod.unseen, pod.pending, pod.error = False, "", ""
    grows = exact(pod.asked["requests"]["memory"]) > exact(pod.actual["requests"]["memory"])
    used = pod.server.used_bytes if pod.server else 0
    if pod.name in fake.unable:
        pod.pending = "Infeasible"
    elif grows and not has_room(fake, pod.place[0], pod.asked):
        pod.pending = "Deferred"
    elif to_bytes(pod.asked["limits"]["memory"]) < used:
        pod.error = "Error"
    elif resize_restarts(pod, _granted(pod.asked)):
        end(fake, pod)
    else:
        pod.actual = _granted(pod.asked)


def _granted(asked: Amounts) -> Amounts:
    """Runtimes keep CPU limits in steps of ten thousandths."""
    actual = deepcopy(asked)
    if "cpu" in actual["limits"]:
        actual["limits"]["cpu"] = format_millis(math.ceil(to_millis(actual["limits"]["cpu"]) / 10) * 10)
    return actual
