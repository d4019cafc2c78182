"""What the rules do that move roles and restart pods, one sentence per case; used by test_decide.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from decide_cases import Case, upgrading
from views import (
    advanced,
    dead,
    listing,
    listing_id,
    mark,
    node_id,
    provisioned,
    remade,
    silent,
    spec_of,
    taken_over,
    whole_view,
    with_member,
    with_pod,
    with_server,
    without,
)

from daemon.clock import rfc3339
from daemon.decide import decide
from daemon.safety import LAG_MAX_BYTES
from daemon.steps import DeleteClaims, Evict, Failover, Provision, Refused, Steady, Wait
from daemon.topology import Claim, View
from valkey_cluster.names import UpgradePhase
from valkey_cluster.status_model import HandoverStatus

RESTARTING: dict[str, Any] = {"terminationGracePeriodSeconds": 90}
"""An edit that restarts pods, and does nothing else."""


def rolling(*shards: int, **spec: Any) -> View:
    """These shards have a new template, and no pod of them has followed."""
    view = whole_view(spec_of(**spec))
    view = replace(view, spec=spec_of(**{**spec, **RESTARTING}), generation=2)
    return advanced(view, shards or (0,))


def last_of_shard_0(**changes: Any) -> View:
    """The replica of shard 0 is new already, its primary is not."""
    view = remade(rolling(0), "demo-0-1")
    return with_server(view, "demo-0-1", **changes) if changes else view


def last_of_shard_0_slow() -> View:
    """Servers that may take 20 s for a failover."""
    return remade(rolling(0, config={"cluster-manual-failover-timeout": "20000"}), "demo-0-1")


def mended(name: str) -> View:
    """A pod that does not start was made from an edit; by now there is another edit."""
    view = remade(rolling(0), name)
    view = replace(view, spec=spec_of(terminationGracePeriodSeconds=120), generation=3)
    return with_pod(dead(view, name), name, trouble="CrashLoopBackOff: again")


def asked(view: View, pod: str, seconds_ago: float) -> View:
    """A failover to the pod was asked for."""
    handover = HandoverStatus(pod=pod, at=rfc3339(view.now - seconds_ago))
    return replace(view, status=view.status.model_copy(update={"handover": handover}))


def alone(*, claims: tuple[Claim, ...] = ()) -> View:
    """Shards without replicas; shard 0 has a new template."""
    return replace(rolling(0, replicasPerShard=0), claims=claims)


ROLL = [
    Case(
        "a shard with a new template restarts its replica first", rolling, Evict, "rolling shard 0: demo-0-1"
    ),
    Case(
        "one replica after the other",
        lambda: remade(rolling(0, replicasPerShard=2), "demo-0-1"),
        Evict,
        "rolling shard 0: demo-0-2",
    ),
    Case(
        "a roll that was found half done goes on where it is",
        lambda: remade(rolling(0, replicasPerShard=2), "demo-0-2"),
        Evict,
        "rolling shard 0: demo-0-1",
    ),
    Case(
        "a replica that is away is waited for",
        lambda: without(rolling(0, replicasPerShard=2), "demo-0-1"),
        Wait,
        "demo-0-1 (no pod)",
    ),
    Case(
        "a replica that is starting is waited for",
        lambda: with_pod(
            remade(rolling(0, replicasPerShard=2), "demo-0-1"), "demo-0-1", server=None, runs=False
        ),
        Wait,
        "demo-0-1 (starting)",
    ),
    Case(
        "a replica that has not caught up is waited for",
        lambda: with_server(remade(rolling(0, replicasPerShard=2), "demo-0-1"), "demo-0-1", link_up=False),
        Wait,
        "replication of demo-0-1",
    ),
    Case(
        "nothing is restarted while slots are on their way",
        lambda: with_server(rolling(0), "demo-2-0", migrating=True),
        Wait,
        "demo-0-1 is next (slots of demo-2-0 are on their way)",
    ),
    Case(
        "nothing is restarted while a pod elsewhere is leaving",
        lambda: with_pod(rolling(0), "demo-2-1", terminating=True),
        Wait,
        "demo-0-1 is next (demo-2-1 is not there)",
    ),
    Case(
        "nor while a pod elsewhere is not ready for Kubernetes",
        lambda: with_pod(rolling(0), "demo-2-1", ready=False),
        Wait,
        "demo-0-1 is next (demo-2-1 is not there)",
    ),
    Case(
        "nor against the disruption budget",
        lambda: replace(rolling(0), disruptions_allowed=0),
        Wait,
        "demo-0-1 is next (the PodDisruptionBudget allows none to be evicted)",
    ),
    Case("shards are rolled in their order", lambda: rolling(1, 2), Evict, "rolling shard 1: demo-1-1"),
    Case(
        "the next shard waits for the last pod of the one before",
        lambda: taken_over(remade(rolling(0, 1), "demo-0-1"), "demo-0-1"),
        Evict,
        "rolling shard 0: demo-0-0",
    ),
    Case(
        "when the replica is new, it becomes primary",
        last_of_shard_0,
        Failover,
        "rolling shard 0: demo-0-1 takes over",
    ),
    Case(
        "of several the one that has received most",
        lambda: with_server(
            remade(rolling(0, replicasPerShard=2), "demo-0-1", "demo-0-2"), "demo-0-2", offset=101
        ),
        Failover,
        "demo-0-2 takes over",
    ),
    Case(
        "of several only one that is in contact with all",
        lambda: listing(
            with_server(
                remade(rolling(0, replicasPerShard=2), "demo-0-1", "demo-0-2"), "demo-0-2", offset=101
            ),
            "demo-1-0",
            "demo-0-2",
            connected=False,
        ),
        Failover,
        "demo-0-1 takes over",
    ),
    Case(
        "the role does not move before the others have a link to the replica",
        lambda: listing(last_of_shard_0(), "demo-2-0", "demo-0-1", connected=False),
        Wait,
        "its primary is next (demo-2-0 has no link to demo-0-1 yet)",
    ),
    Case(
        "nor before the replica has a link to the others",
        lambda: listing(last_of_shard_0(), "demo-0-1", "demo-2-0", flags=frozenset({"master", "fail?"})),
        Wait,
        "its primary is next (demo-0-1 has no link to demo-2-0 yet)",
    ),
    Case(
        "nor while the replica is behind",
        lambda: with_server(last_of_shard_0(), "demo-0-0", offset=101 + LAG_MAX_BYTES),
        Wait,
        "its primary is next (demo-0-1 is behind demo-0-0",
    ),
    Case(
        "nor while slots are on their way",
        lambda: last_of_shard_0(open_slots=True),
        Wait,
        "its primary is next (slots of demo-0-1 are on their way)",
    ),
    Case(
        "the former primary restarts last",
        lambda: taken_over(last_of_shard_0(), "demo-0-1"),
        Evict,
        "rolling shard 0: demo-0-0",
    ),
    Case(
        "a primary in another pod than the first is as good",
        lambda: taken_over(rolling(0), "demo-0-1"),
        Evict,
        "rolling shard 0: demo-0-0",
    ),
    Case(
        "then the next shard gets its template",
        lambda: remade(rolling(0), "demo-0-0", "demo-0-1"),
        Provision,
        "following the spec: StatefulSet demo-1",
    ),
    Case(
        "an invalid edit stops a roll where it is",
        lambda: replace(rolling(0), spec=None, spec_error="nonsense"),
        Refused,
        "nonsense",
    ),
]

BROKEN = [
    Case(
        "a pod that does not run and would be made otherwise by now is made anew",
        lambda: dead(rolling(0), "demo-0-1"),
        Evict,
        "demo-0-1 does not serve, and its shard has another template",
    ),
    Case(
        "also while others are missing, for they may wait for one another",
        lambda: without(dead(rolling(0), "demo-0-1"), "demo-1-1"),
        Evict,
        "demo-0-1 does not serve",
    ),
    Case(
        "a replica without link as well",
        lambda: with_server(rolling(0), "demo-0-1", link_up=False),
        Evict,
        "demo-0-1 does not serve",
    ),
    Case(
        "but it runs, so not while others are missing",
        lambda: without(with_server(rolling(0), "demo-0-1", link_up=False), "demo-1-1"),
        Wait,
        "replication of demo-0-1",
    ),
    Case(
        "one that is leaving already is let go",
        lambda: with_pod(dead(rolling(0), "demo-0-1"), "demo-0-1", terminating=True),
        Wait,
        "demo-0-1 (terminating)",
    ),
    Case(
        "one that runs and does not answer may serve others: it stays",
        lambda: silent(rolling(0), "demo-0-1"),
        Wait,
        "demo-0-1 (does not answer in time)",
    ),
    Case(
        "one that is as its shard's template is waited for",
        lambda: dead(remade(rolling(0), "demo-0-1"), "demo-0-1"),
        Wait,
        "waiting for demo-0-1",
    ),
    Case(
        "one whose slots nobody else has stays",
        lambda: dead(rolling(0, replicasPerShard=0), "demo-0-0"),
        Wait,
        "their data may come back with demo-0-0",
    ),
    Case(
        "a shard with a pod that does not start gets what the spec asks for by now",
        lambda: mended("demo-0-1"),
        Provision,
        "demo-0-1 may serve with what is wanted by now: StatefulSet demo-0",
    ),
    Case(
        "and the pod is made from it",
        lambda: advanced(mended("demo-0-1"), {0}),
        Evict,
        "demo-0-1 does not serve",
    ),
    Case(
        "a shard whose pods run keeps its template while a pod elsewhere does not start",
        lambda: replace(dead(whole_view(), "demo-2-1"), spec=spec_of(**RESTARTING)),
        Provision,
        "what is wanted by now: StatefulSet demo-2",
    ),
]

TAKEOVER = [
    Case(
        "a primary whose container has ended is replaced at once",
        lambda: dead(whole_view(), "demo-0-0"),
        Failover,
        "the kubelet says that demo-0-0, primary of shard 0, has ended: demo-0-1 takes over",
    ),
    Case(
        "by the replica that has received most",
        lambda: with_server(
            dead(whole_view(spec_of(replicasPerShard=2)), "demo-0-0"), "demo-0-2", offset=101
        ),
        Failover,
        "demo-0-2 takes over",
    ),
    Case(
        "and not by one that was not in sync",
        lambda: with_server(
            dead(whole_view(spec_of(replicasPerShard=2)), "demo-0-0"),
            "demo-0-2",
            offset=101,
            link_up=False,
            link_down_s=-1,
        ),
        Failover,
        "demo-0-1 takes over",
    ),
    Case(
        "also when its container runs again and nothing listens yet",
        lambda: with_pod(dead(whole_view(), "demo-0-0"), "demo-0-0", runs=True, refused=True),
        Failover,
        "demo-0-1 takes over",
    ),
    Case(
        "also when the kubelet does not say when it ended",
        lambda: with_pod(dead(whole_view(), "demo-0-0"), "demo-0-0", ended="unknown"),
        Failover,
        "demo-0-1 takes over",
    ),
    Case(
        "a primary that does not answer and runs by the kubelet's word is left to the servers",
        lambda: silent(whole_view(), "demo-0-0"),
        Wait,
        "election of demo-0-1",
    ),
    Case(
        "one that does not answer is not taken for dead because it ended once",
        lambda: silent(whole_view(), "demo-0-0", ended=rfc3339(whole_view().now - 3600)),
        Wait,
        "election of demo-0-1",
    ),
    Case(
        "without a majority nobody is asked",
        lambda: silent(dead(whole_view(), "demo-0-0"), "demo-1-0"),
        Wait,
        "election of demo-0-1",
    ),
    Case(
        "a replica that was never in sync is not made primary",
        lambda: with_server(dead(whole_view(), "demo-0-0"), "demo-0-1", link_up=False, link_down_s=-1),
        Wait,
        "election of demo-0-1",
    ),
    Case(
        "a replica that has ended is replaced by nobody",
        lambda: dead(whole_view(), "demo-0-1"),
        Wait,
        "waiting for demo-0-1",
    ),
    Case(
        "a primary whose slots have an owner again is replaced by nobody",
        lambda: dead(taken_over(whole_view(), "demo-0-1"), "demo-0-0"),
        Wait,
        "waiting for demo-0-0",
    ),
    Case(
        "a failover that was asked for is waited for",
        lambda: asked(last_of_shard_0(), "demo-0-1", 1.0),
        Wait,
        "waiting for demo-0-1 to become primary of shard 0",
    ),
    Case(
        "also one in place of a primary that has ended",
        lambda: asked(dead(whole_view(), "demo-0-0"), "demo-0-1", 5.0),
        Wait,
        "waiting for demo-0-1 to become primary of shard 0",
    ),
    Case(
        "when the servers have given it up, it is asked for again",
        lambda: asked(last_of_shard_0(), "demo-0-1", 8.0),
        Failover,
        "demo-0-1 takes over",
    ),
    Case(
        "when it has come to its end, things go on",
        lambda: asked(taken_over(last_of_shard_0(), "demo-0-1"), "demo-0-1", 1.0),
        Evict,
        "demo-0-0",
    ),
    Case(
        "a failover to a pod that is gone is not waited for",
        lambda: asked(without(whole_view(), "demo-0-1"), "demo-0-1", 1.0),
        Wait,
        "demo-0-1 (no pod)",
    ),
]

CLAIM = Claim("data-demo-0-1", "uid-claim")


def surged(*, claims: tuple[Claim, ...] = ()) -> View:
    """The replica that was added to shard 0 is in sync."""
    view = alone(claims=claims)
    return with_member(provisioned(view, decide(view)), 0, 1)


def rolled_by_surge(**facts: Any) -> View:
    """The only pod of shard 0 is new and primary again; the added replica is still there."""
    return remade(surged(**facts), "demo-0-0")


SURGE = [
    Case(
        "a shard without replicas gets one before its only pod restarts",
        alone,
        Provision,
        "rolling shard 0: it has no replica, so one is added",
    ),
    Case("the added replica is waited for", lambda: without(surged(), "demo-0-1"), Wait, "demo-0-1 (no pod)"),
    Case("it takes over", surged, Failover, "rolling shard 0: demo-0-1 takes over"),
    Case(
        "then the only pod restarts",
        lambda: taken_over(surged(), "demo-0-1"),
        Evict,
        "rolling shard 0: demo-0-0",
    ),
    Case(
        "and takes its role back",
        lambda: taken_over(rolled_by_surge(), "demo-0-1"),
        Failover,
        "the replica that was added for it goes: demo-0-0 takes over",
    ),
    Case(
        "the added replica goes together with its volume",
        lambda: rolled_by_surge(claims=(CLAIM,)),
        DeleteClaims,
        "and its volume with it",
    ),
    Case("it goes", rolled_by_surge, Provision, "the replica that was added for it goes"),
    Case(
        "not while slots are on their way",
        lambda: with_server(rolled_by_surge(claims=(CLAIM,)), "demo-1-0", migrating=True),
        Wait,
        "the replica that was added for it goes (slots of demo-1-0 are on their way)",
    ),
    Case(
        "when it is gone, the next shard does not wait until every server has noticed",
        lambda: without(provisioned(rolled_by_surge(), decide(rolled_by_surge())), "demo-0-1"),
        Provision,
        "following the spec: StatefulSet demo-1",
    ),
]


def crowded() -> View:
    """All primaries are in one zone, and each has its replica in another."""
    view = whole_view()
    return replace(view, pods=tuple(replace(pod, zone=f"zone-{pod.ordinal}") for pod in view.pods))


SPREAD = [
    Case(
        "roles are spread over zones", crowded, Failover, "zone-0 has 3 of 3 primaries: demo-0-1 takes over"
    ),
    Case(
        "not to a replica that is out of contact",
        lambda: listing(crowded(), "demo-1-0", "demo-0-1", connected=False),
        Steady,
    ),
    Case("until they are", lambda: taken_over(crowded(), "demo-0-1"), Steady),
]


def newer_valkeeper() -> View:
    """As an older valkeeper had written the templates; nobody has edited anything."""
    return mark(whole_view(), "older")


HELD = [
    Case(
        "a newer valkeeper's templates wait, and it is said how to have them",
        newer_valkeeper,
        Steady,
        "this version of valkeeper writes another pod template: 6 pods follow it",
    ),
    Case(
        "until somebody approves them",
        lambda: replace(newer_valkeeper(), approved=newer_valkeeper().wanted.hash),
        Provision,
        "following the spec: StatefulSet demo-0",
    ),
    Case(
        "an edit that restarts pods waits for its window",
        lambda: replace(whole_view(), spec=spec_of(**RESTARTING), window_open=False),
        Wait,
        "6 pods wait for a maintenance window to restart",
    ),
    Case(
        "in the window it is followed",
        lambda: replace(whole_view(), spec=spec_of(**RESTARTING), window_open=True),
        Provision,
        "following the spec: StatefulSet demo-0",
    ),
    Case(
        "a newer valkeeper does not roll a shard because a replica has lost its link for a moment",
        lambda: with_server(newer_valkeeper(), "demo-0-1", link_up=False),
        Wait,
        "replication of demo-0-1",
    ),
    Case(
        "an edit of the spec does not mend a shard before its canaries have shown that it may",
        lambda: dead(upgrading(UpgradePhase.CANARY), "demo-2-1"),
        Wait,
    ),
    Case(
        "a broken pod does not have the others of its shard restarted outside the window",
        lambda: replace(
            with_server(whole_view(), "demo-0-1", link_up=False),
            spec=spec_of(**RESTARTING),
            window_open=False,
        ),
        Wait,
        "replication of demo-0-1",
    ),
]

CASES = [*ROLL, *BROKEN, *TAKEOVER, *SURGE, *SPREAD, *HELD]


def shard_down_by_its_template() -> View:
    """Both pods of shard 0 were made from a template that does not start; by now there is another edit."""
    view = remade(rolling(0), "demo-0-0", "demo-0-1")
    for name in ("demo-0-0", "demo-0-1"):
        view = with_pod(dead(view, name), name, trouble="CrashLoopBackOff: back-off 10s")
    return replace(view, spec=spec_of(terminationGracePeriodSeconds=120), generation=3)


def without_address() -> View:
    """demo-0-0 is out of reach and its address unknown; demo-1-1, which has no address, has ended."""
    view = dead(silent(whole_view(), "demo-0-0"), "demo-1-1")
    view = with_pod(view, "demo-1-1", ip="")
    for by in view.servers:
        view = listing_id(view, by, node_id(0, 0), ip="", flags=frozenset({"master", "noaddr"}))
    return view


def half_second() -> View:
    """Of the failover, which was asked for 5.2 s ago, the status keeps whole seconds."""
    view = last_of_shard_0()
    at = rfc3339(view.now + 0.9)
    handover = HandoverStatus(pod="demo-0-1", at=at)
    status = view.status.model_copy(update={"handover": handover})
    return replace(view, status=status, now=view.now + 0.9 + 5.2)


CASES += [
    Case(
        "a replica that is leaving already is not evicted again",
        lambda: with_pod(rolling(0), "demo-0-1", terminating=True),
        Wait,
    ),
    Case(
        "a shard of which no pod starts is mended by an edit",
        shard_down_by_its_template,
        Provision,
        "StatefulSet demo-0",
    ),
    Case(
        "and its pods are made from it",
        lambda: advanced(shard_down_by_its_template(), {0}),
        Evict,
    ),
    Case(
        "a failover is not asked for again before the servers have given up the first",
        half_second,
        Wait,
        "waiting for demo-0-1 to become primary",
    ),
    Case(
        "a server whose address nobody knows is not the one that has ended",
        without_address,
        Wait,
        "election of demo-0-1",
    ),
    Case(
        "roles are spread also while a newer valkeeper's templates wait",
        lambda: mark(crowded(), "older"),
        Failover,
    ),
    Case(
        "a failover that may take longer by the spec is waited for longer",
        lambda: asked(last_of_shard_0_slow(), "demo-0-1", 9.0),
        Wait,
        "waiting for demo-0-1 to become primary",
    ),
    Case(
        "an edit that cannot be followed mends nothing",
        lambda: replace(
            dead(whole_view(), "demo-0-1"), spec=spec_of(persistence={"size": "2Gi"}, **RESTARTING)
        ),
        Wait,
        "waiting for demo-0-1",
    ),
]
