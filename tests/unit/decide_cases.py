"""Which step each rule takes from which view, one sentence per case; used by test_decide.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from views import (
    edited,
    empty,
    new_view,
    node_id,
    replaced,
    spec_of,
    whole_view,
    with_pod,
    with_server,
    without,
)

from daemon.clock import rfc3339
from daemon.steps import (
    AssignSlots,
    Blocked,
    CreateUpgrade,
    DeleteClaims,
    Destroy,
    Forget,
    HoldFinalizer,
    Meet,
    Provision,
    Refused,
    ReleaseFinalizer,
    Replicate,
    SetConfig,
    Steady,
    Wait,
)
from daemon.topology import Applied, Claim, Drift, NodeId, Peer, Upgrade, View
from valkey_cluster.names import Phase, UpgradePhase
from valkey_cluster.spec import ValkeyUpgradeSpec
from valkey_cluster.stage import Stage, render
from valkey_cluster.status_model import ClusterStatus, ConditionStatus
from valkey_cluster.upgrade_status import UpgradeStatus

if TYPE_CHECKING:
    from collections.abc import Callable

PDB_GONE = Drift("PodDisruptionBudget", "demo", fields=(), managers=())
CLAIMS = (Claim("data-demo-0-0", "uid-1"), Claim("data-demo-0-1", "uid-2"))


@dataclass(frozen=True)
class Case:
    sentence: str
    view: Callable[[], View]
    step: type
    says: str = ""


def deleting(view: View, **fields: Any) -> View:
    return replace(view, deleting=True, **fields)


def with_claims(when_deleted: str) -> View:
    view = whole_view(spec_of(persistence={"whenDeleted": when_deleted}))
    return deleting(view, applied=None, pods=(), claims=CLAIMS)


def unfinished(view: View) -> View:
    target = spec_of(podDisruptionBudget={"enabled": False})
    applied = view.applied or Applied(Stage(()), target, None)
    return replace(
        view,
        applied=replace(applied, unfinished=render(view.identity, target), unfinished_spec=target),
    )


def formed_anew(*, persistent: bool, phase: Phase) -> View:
    view = empty(whole_view(spec_of(persistence={"enabled": persistent})))
    quick = tuple(
        replace(pod, server=replace(pod.server, node_timeout_ms=500)) for pod in view.pods if pod.server
    )
    return replace(view, pods=quick, status=ClusterStatus(phase=phase))


def shard_lost() -> View:
    return replaced(replaced(whole_view(), "demo-0-0"), "demo-0-1")


def ghost_follower() -> View:
    """demo-0-0 is gone and so is its claim; demo-0-1, its replica, was not elected yet."""
    return replaced(whole_view(), "demo-0-0")


def stale_owner() -> View:
    """demo-0-1 was elected over demo-0-0 and does not answer; demo-0-0 is back and has heard nothing yet.

    demo-0-0   "I own 0-5460"          epoch 1
    demo-0-1   silent, owns 0-5460     epoch 9, as demo-0-2 knows
    demo-0-2   follows demo-0-1
    """
    view = whole_view(spec_of(replicasPerShard=2))
    first = next(pod.server for pod in view.pods if pod.name == "demo-0-0")
    third = next(pod.server for pod in view.pods if pod.name == "demo-0-2")
    assert first
    assert third
    elected = next(peer for peer in third.peers if peer.node_id == node_id(0, 1))
    winner = replace(
        elected, flags=frozenset({"master"}), primary_id=None, config_epoch=9, slots=first.me.slots
    )
    peers = tuple(winner if peer is elected else peer for peer in third.peers)
    view = with_server(view, "demo-0-2", primary_id=node_id(0, 1), link_up=False, peers=peers)
    return with_pod(view, "demo-0-1", server=None, unreachable="does not answer in time")


def meeting() -> View:
    """demo-1-1 is at a new address, and the others shake hands with it."""
    view = with_server(whole_view(), "demo-1-1", ip="10.7.7.7")
    hand = Peer(NodeId("handshake"), "10.7.7.7", frozenset({"handshake"}), None, 0, connected=False, slots=())
    return replace(
        view,
        pods=tuple(
            replace(pod, server=replace(pod.server, peers=(*pod.server.peers, hand)))
            for pod in view.pods
            if pod.server
        ),
    )


CASES = [
    Case("a new cluster gets the finalizer first", lambda: new_view(spec_of()), HoldFinalizer),
    Case(
        "then its objects are made",
        lambda: replace(new_view(spec_of()), finalizer=True),
        Provision,
        "making 3 shards, 6 pods",
    ),
    Case("a spec that slipped past admission makes nothing", lambda: new_view(None), Refused, "spec.shards"),
    Case(
        "an invalid edit of a cluster that runs changes nothing",
        lambda: replace(whole_view(), spec=None, spec_error="spec.shards: is too small"),
        Refused,
        "too small",
    ),
    Case("a whole cluster is steady", whole_view, Steady),
    Case(
        "a cluster of one pod is steady",
        lambda: whole_view(spec_of(shards=1, replicasPerShard=0)),
        Steady,
    ),
    Case(
        "an update whose end is not known is run again",
        lambda: unfinished(whole_view()),
        Provision,
        "running it again",
    ),
    Case("a deleted cluster is destroyed", lambda: deleting(whole_view()), Destroy),
    Case(
        "a cluster deleted in the middle of its first update is destroyed",
        lambda: deleting(unfinished(replace(new_view(spec_of()), finalizer=True))),
        Destroy,
    ),
    Case("claims stay by default", lambda: with_claims("Retain"), ReleaseFinalizer),
    Case("claims go when that was asked for", lambda: with_claims("Delete"), DeleteClaims, "data-demo-0-0"),
    Case(
        "claims stay when the spec cannot be read",
        lambda: replace(with_claims("Delete"), spec=None, spec_error="nonsense"),
        ReleaseFinalizer,
    ),
    Case(
        "after the finalizer is gone nothing is done",
        lambda: deleting(whole_view(), applied=None, pods=(), finalizer=False),
        Steady,
        "nothing of it is left",
    ),
    Case(
        "drift is put back",
        lambda: replace(whole_view(), drift=(PDB_GONE,)),
        Provision,
        "PodDisruptionBudget demo was deleted",
    ),
    Case(
        "drift is put back although the spec is invalid",
        lambda: replace(whole_view(), drift=(PDB_GONE,), spec=None, spec_error="nonsense"),
        Provision,
    ),
    Case(
        "slots wait for the last pod",
        lambda: with_pod(empty(whole_view()), "demo-2-1", server=None),
        Wait,
        "demo-2-1 (starting)",
    ),
    Case(
        "slots wait for a pod that is leaving",
        lambda: with_pod(empty(whole_view()), "demo-2-1", terminating=True),
        Wait,
        "demo-2-1 (terminating)",
    ),
    Case("servers that are empty get a short node-timeout", lambda: empty(whole_view()), SetConfig),
    Case(
        "then slots",
        lambda: formed_anew(persistent=True, phase=Phase.CREATING),
        AssignSlots,
        "demo-0-0 0-5460",
    ),
    Case(
        "all data gone although persistence is on: nothing is given out",
        lambda: formed_anew(persistent=True, phase=Phase.RUNNING),
        Blocked,
        "DataMissing",
    ),
    Case(
        "the same of a cluster that was degraded before",
        lambda: formed_anew(persistent=True, phase=Phase.DEGRADED),
        Blocked,
        "DataMissing",
    ),
    Case(
        "a cache that lost everything is formed anew",
        lambda: formed_anew(persistent=False, phase=Phase.DEGRADED),
        AssignSlots,
        "nothing was persisted",
    ),
    Case(
        "a server at a new address is met",
        lambda: with_server(whole_view(), "demo-1-1", ip="10.7.7.7"),
        Meet,
        "address of demo-1-1",
    ),
    Case("servers that are meeting are waited for", meeting, Wait, "address of demo-1-1 (they are meeting)"),
    Case(
        "an empty member joins its shard",
        lambda: replaced(whole_view(), "demo-0-1"),
        Replicate,
        "demo-0-1",
    ),
    Case(
        "a member with keys and without slots is not emptied",
        lambda: with_server(replaced(whole_view(), "demo-0-1"), "demo-0-1", keys=7),
        Blocked,
        "MemberHasKeys",
    ),
    Case(
        "the short node-timeout ends when all serve",
        lambda: with_server(whole_view(), "demo-0-0", node_timeout_ms=500),
        SetConfig,
        "node-timeout 5000 ms",
    ),
    Case(
        "the short node-timeout does not wait for a long full sync",
        lambda: with_server(
            with_server(whole_view(), "demo-0-0", node_timeout_ms=500), "demo-1-1", link_up=False
        ),
        SetConfig,
    ),
    Case(
        "the short node-timeout ends when a shard is lost",
        lambda: with_server(shard_lost(), "demo-1-0", node_timeout_ms=500),
        SetConfig,
    ),
    Case("a shard waits for its election", ghost_follower, Wait, "election of demo-0-1"),
    Case("a shard without any data left is said to be lost", shard_lost, Blocked, "ShardLost"),
    Case(
        "a shard is not given up while a pod is silent",
        lambda: with_pod(shard_lost(), "demo-0-1", server=None),
        Wait,
        "slots 0-5460 have no primary",
    ),
    Case(
        "a primary that was replaced while it was away is not followed again",
        stale_owner,
        Wait,
        "election of demo-0-2",
    ),
    Case(
        "a server that does not say ok is waited for",
        lambda: with_server(whole_view(), "demo-1-0", state_ok=False),
        Wait,
        "cluster_state ok on demo-1-0",
    ),
    Case(
        "a replica without link is waited for",
        lambda: with_server(whole_view(), "demo-1-1", link_up=False),
        Wait,
        "replication of demo-1-1",
    ),
    Case("a missing pod is waited for", lambda: without(whole_view(), "demo-1-1"), Wait, "demo-1-1 (no pod)"),
    Case(
        "a silent server is waited for",
        lambda: with_pod(whole_view(), "demo-1-1", server=None, unreachable="connection refused"),
        Wait,
        "demo-1-1 (connection refused)",
    ),
    Case(
        "why a pod does not start is said",
        lambda: with_pod(whole_view(), "demo-1-1", server=None, trouble="ImagePullBackOff: no such image"),
        Wait,
        "ImagePullBackOff",
    ),
    Case(
        "objects that differ from the spec while the state is gone block",
        lambda: replace(whole_view(), applied=None, stray=(Drift("Service", "demo", ("spec.ports",), ()),)),
        Blocked,
        "StateLost",
    ),
]


def heard(view: View, ghost: str, **changes: Any) -> View:
    """Every server believes something else of the ghost."""

    def table(pod: Any) -> Any:
        peers = tuple(replace(p, **changes) if p.node_id == ghost else p for p in pod.server.peers)
        return replace(pod, server=replace(pod.server, peers=peers))

    return replace(view, pods=tuple(table(pod) for pod in view.pods))


def follower_replaced() -> View:
    """demo-0-1 is gone, and in its place a new replica is in sync."""
    view = replaced(whole_view(), "demo-0-1")
    return with_server(view, "demo-0-1", flags=frozenset({"myself", "slave"}), primary_id=node_id(0, 0))


CASES += [
    Case("a member that is gone for good is forgotten", follower_replaced, Forget),
    Case(
        "a member that somebody is still connected to is not forgotten",
        lambda: heard(follower_replaced(), node_id(0, 1), connected=True, flags=frozenset({"slave"})),
        Wait,
        "noticed that id-0-1 is gone",
    ),
    Case(
        "a member that somebody believes to own slots is not forgotten",
        lambda: heard(follower_replaced(), node_id(0, 1), slots=((0, 0),)),
        Wait,
        "noticed that id-0-1 is gone",
    ),
    Case(
        "nobody is forgotten while a pod is silent",
        lambda: with_pod(follower_replaced(), "demo-2-1", server=None),
        Wait,
        "demo-2-1",
    ),
]


def two_owners() -> View:
    """By hand, shard 0 was split between demo-0-0 and demo-0-2; demo-0-0 is gone, demo-0-1 is its replica."""
    view = replaced(whole_view(spec_of(replicasPerShard=2)), "demo-0-0")
    view = heard(view, node_id(0, 0), slots=((0, 2000),))
    second = {"flags": frozenset({"myself", "master"}), "primary_id": None, "slots": ((2001, 5460),)}
    view = with_server(view, "demo-0-2", **second, config_epoch=9)
    met = {"flags": frozenset({"master"}), "primary_id": None, "slots": ((2001, 5460),), "config_epoch": 9}
    return heard(view, node_id(0, 2), **met)


def elected_a_moment_ago() -> View:
    """demo-0-1 took over from demo-0-0; to demo-0-2 both are still replicas."""
    view = whole_view(spec_of(replicasPerShard=2))
    owner = {"flags": frozenset({"myself", "master"}), "primary_id": None, "slots": ((0, 5460),)}
    view = with_server(view, "demo-0-1", **owner, config_epoch=9)
    follower = {"flags": frozenset({"myself", "slave"}), "primary_id": node_id(0, 1), "slots": ()}
    return with_server(view, "demo-0-0", **follower)


def upgrading(phase: UpgradePhase) -> View:
    """A ValkeyUpgrade to 9.1.3 has come to this phase."""
    spec = ValkeyUpgradeSpec.model_validate({"clusterRef": {"name": "demo"}, "version": "9.1.3"})
    status = UpgradeStatus(phase=phase, message="as asked")
    return replace(whole_view(), upgrade=Upgrade("to-9-1-3", "uid-upgrade", 1, spec, "", status))


CASES += [
    Case(
        "a replica is not taken from an owner whose slots nobody else has",
        two_owners,
        Replicate,
        "demo-0-0 join",
    ),
    Case(
        "a replica that has not heard of an election yet is left to hear of it",
        elected_a_moment_ago,
        Wait,
        "replication of demo-0-2",
    ),
    Case(
        "a first update that failed is run again as the spec is now",
        lambda: replace(
            new_view(spec_of(shards=5)), finalizer=True, applied=Applied(Stage(()), spec_of(), None)
        ),
        Provision,
        "making 5 shards",
    ),
    Case(
        "an edited version becomes an upgrade",
        lambda: edited(version="9.1.3"),
        CreateUpgrade,
        "spec.version became 9.1.3: ValkeyUpgrade demo-9-1-3 brings it about",
    ),
    Case(
        "an upgrade in a phase in which no template advances is waited for",
        lambda: upgrading(UpgradePhase.PAUSED),
        Wait,
        "ValkeyUpgrade to-9-1-3 is Paused",
    ),
    Case(
        "an upgrade's canary shards advance, one after the other",
        lambda: upgrading(UpgradePhase.CANARY),
        Provision,
        "following the spec: ",
    ),
    Case("an edit of the budget is made", lambda: edited(podDisruptionBudget={"enabled": False}), Provision),
]


def put_back(seconds_ago: float) -> View:
    """The budget was deleted, and it had been put back a moment before."""
    view = whole_view()
    told = ConditionStatus(
        type="DriftDetected",
        status="False",
        reason="PutBack",
        message=f"put back: {PDB_GONE.sentence()}",
        last_transition_time=rfc3339(view.now - seconds_ago),
    )
    status = view.status.model_copy(update={"conditions": (*view.status.conditions, told)})
    return replace(view, drift=(PDB_GONE,), status=status)


CASES += [
    Case(
        "a damaged record of what was applied stops everything",
        lambda: replace(whole_view(), applied=None, state_error="not gzip", drift=(PDB_GONE,)),
        Blocked,
        "StateUnreadable the Secret demo-valkeeper-state",
    ),
    Case(
        "a fight over an object does not become a loop of updates",
        lambda: put_back(2.0),
        Wait,
        "changed again right after it was put back: PodDisruptionBudget demo was deleted",
    ),
    Case("the same drift is put back again after a pause", lambda: put_back(11.0), Provision, "putting back"),
]
