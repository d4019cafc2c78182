"""Which step each rule takes from which view, one sentence per case."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from views import (
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

from daemon.decide import RULES, decide
from daemon.status import derive
from daemon.steps import (
    AssignSlots,
    Blocked,
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
    Step,
    Wait,
)
from daemon.topology import Applied, Claim, Drift, View
from valkey_cluster.names import Phase
from valkey_cluster.stage import Stage, render
from valkey_cluster.status_model import ClusterStatus

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
        "shard 0 has no primary",
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
        lambda: heard(follower_replaced(), node_id(0, 1), connected=True),
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


def drained_by_hand() -> View:
    """Somebody moved the slots of shard 1 to shard 0."""
    view = with_server(whole_view(), "demo-0-0", slots=((0, 10921),))
    return with_server(view, "demo-1-0", slots=())


def edited(**fields: Any) -> View:
    return replace(whole_view(), spec=spec_of(**fields), generation=2)


CASES += [
    Case("a shard without slots is not steady", drained_by_hand, Wait, "shards 1 do not serve"),
    Case(
        "an edit that needs restarts is not made", lambda: edited(version="9.1.3"), Blocked, "NotSupportedYet"
    ),
    Case("an edit of the budget is made", lambda: edited(podDisruptionBudget={"enabled": False}), Provision),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_step(case: Case) -> None:
    step = decide(case.view())
    assert type(step) is case.step, step
    reason = step.reason if isinstance(step, Blocked) else ""
    assert case.says in f"{reason} {step.because}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_a_view_that_may_be_old_gets_no_step_at_all(case: Case) -> None:
    step = decide(replace(case.view(), blind="the watch of pods has not caught up"))
    assert isinstance(step, Wait)
    assert "has not caught up" in step.because


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_planning_twice_gives_the_same_step(case: Case) -> None:
    assert decide(case.view()) == decide(case.view())


def test_every_rule_decides_some_case() -> None:
    views = [case.view() for case in CASES]
    views.append(replace(whole_view(), blind="the watch of pods has not caught up"))
    deciding = {next((rule for rule in RULES if rule(view) is not None), None) for view in views}
    assert deciding >= set(RULES)


EDITS = {
    "shards": ({"shards": 4}, "spec.shards (3 -> 4)"),
    "replicasPerShard": ({"replicasPerShard": 2}, "spec.replicasPerShard (1 -> 2)"),
    "version": ({"version": "9.1.3"}, "spec.version (9.1.2 -> 9.1.3)"),
    "image": ({"image": {"tag": "9.1.2-patched"}}, "spec.image.tag (unset -> 9.1.2-patched)"),
    "resources": (
        {"resources": {"limits": {"memory": "2Gi"}}},
        "spec.resources.limits.memory (unset -> 2Gi)",
    ),
    "config": ({"config": {"maxclients": "99"}}, "spec.config.maxclients (unset -> 99)"),
    "node-timeout": (
        {"config": {"cluster-node-timeout": "9000"}},
        "spec.config.cluster-node-timeout (unset -> 9000)",
    ),
    "maxmemory": ({"maxmemory": {"percent": 50}}, "spec.maxmemory.percent (unset -> 50)"),
    "volume size": ({"persistence": {"size": "2Gi"}}, "spec.persistence.size (1Gi -> 2Gi)"),
    "grace period": (
        {"terminationGracePeriodSeconds": 90},
        "spec.terminationGracePeriodSeconds (60 -> 90)",
    ),
    "labels": ({"labels": {"team": "a"}}, "spec.labels.team (unset -> a)"),
    "two at once": (
        {"shards": 4, "podDisruptionBudget": {"enabled": False}, "version": "9.1.3"},
        "spec.version (9.1.2 -> 9.1.3), spec.shards (3 -> 4)",
    ),
}


@pytest.mark.parametrize(("fields", "says"), EDITS.values(), ids=EDITS)
def test_an_edit_that_is_not_supported_is_named_and_nothing_is_touched(
    fields: dict[str, Any], says: str
) -> None:
    step = decide(edited(**fields))
    assert isinstance(step, Blocked)
    assert step.reason == "NotSupportedYet"
    assert f"cannot change {says} of a running cluster" in step.because


SPELLINGS = {
    "the same size in other words": {"persistence": {"size": "1024Mi"}},
    "a version with the image held where it is": {"version": "9.1.3", "image": {"tag": "9.1.2"}},
    "what only counts at deletion": {"persistence": {"whenDeleted": "Delete"}},
}


@pytest.mark.parametrize("fields", SPELLINGS.values(), ids=SPELLINGS)
def test_an_edit_that_changes_no_object_is_nothing(fields: dict[str, Any]) -> None:
    assert isinstance(decide(edited(**fields)), Steady)


def test_an_edit_of_the_budget_leaves_pods_and_their_configuration_as_applied() -> None:
    view = edited(podDisruptionBudget={"enabled": False})
    assert view.applied
    step = decide(view)
    assert isinstance(step, Provision)
    assert not step.refresh
    assert step.spec == view.applied.spec
    assert ("PodDisruptionBudget", "demo") not in step.stage.by_key
    assert restarting(step.stage) == restarting(view.applied.stage)
    done = replace(view, applied=replace(view.applied, stage=step.stage))
    assert isinstance(decide(done), Steady), "once applied, there is nothing left to do"


def restarting(stage: Stage) -> dict[Any, Any]:
    return {key: manifest for key, manifest in stage.by_key.items() if key[0] in ("StatefulSet", "ConfigMap")}


def older_stage(view: View, *kinds: str) -> View:
    """As an older valkeeper had written the objects of these kinds."""
    assert view.applied

    def older(manifest: dict[str, Any]) -> dict[str, Any]:
        old = copy.deepcopy(manifest)
        if old["kind"] == "StatefulSet":
            old["spec"]["template"]["spec"]["containers"][0]["image"] = "docker.io/valkey/valkey:older"
        old["metadata"]["annotations"] = {"written-by": "an older valkeeper"}
        return old

    stage = Stage(tuple(older(one) if one["kind"] in kinds else one for one in view.applied.stage.manifests))
    return replace(view, applied=replace(view.applied, stage=stage))


def test_a_newer_valkeeper_restarts_nothing() -> None:
    assert isinstance(decide(older_stage(whole_view(), "StatefulSet", "ConfigMap")), Steady)


def test_a_newer_valkeeper_still_updates_what_restarts_nothing() -> None:
    view = older_stage(whole_view(), "StatefulSet", "ConfigMap", "Service")
    assert view.applied
    step = decide(view)
    assert isinstance(step, Provision)
    assert "Service demo" in step.because
    assert restarting(step.stage) == restarting(view.applied.stage)


def test_the_field_is_named_also_when_a_newer_valkeeper_writes_other_objects() -> None:
    view = replace(older_stage(whole_view(), "StatefulSet", "ConfigMap"), spec=spec_of(shards=5))
    step = decide(view)
    assert isinstance(step, Blocked)
    assert "cannot change spec.shards (3 -> 5) of" in step.because


def test_an_update_that_was_cut_is_finished_before_an_edit_is_looked_at() -> None:
    view = unfinished(edited(shards=5))
    step = decide(view)
    assert view.applied
    assert isinstance(step, Provision)
    assert step.stage is view.applied.unfinished
    assert step.spec == view.applied.unfinished_spec
    assert step.refresh


def test_claims_are_deleted_with_their_uids() -> None:
    step = decide(with_claims("Delete"))
    assert isinstance(step, DeleteClaims)
    assert step.claims == CLAIMS


def told(view: View) -> tuple[View, Step]:
    """A pass: what was decided, and the view with the status that says so."""
    step = decide(view)
    return replace(view, status=derive(view, step)), step


def later(view: View, seconds: float) -> View:
    return replace(view, now=view.now + seconds)


def test_a_wait_that_lasts_too_long_is_blocked_and_stays_so() -> None:
    view, first = told(without(whole_view(), "demo-1-1"))
    assert isinstance(first, Wait)
    view, just_before = told(later(view, first.patience_s - 1))
    assert isinstance(just_before, Wait)
    view, after = told(later(view, 2))
    assert isinstance(after, Blocked)
    assert after.reason == "WaitedTooLong"
    assert first.because in after.because
    assert "for more than 5 min" in after.because
    for _ in range(3):
        view, again = told(later(view, 1))
        assert again == after, "blocked and waiting must not alternate"


def test_a_pod_that_fails_each_time_in_other_words_is_still_the_same_wait() -> None:
    view, first = told(with_pod(whole_view(), "demo-1-1", server=None))
    assert isinstance(first, Wait)
    troubles = ["container ended with exit code 1 (Error)", "CrashLoopBackOff: back-off 20s (restarting)", ""]
    for trouble in troubles * 4:
        view, step = told(with_pod(later(view, 20), "demo-1-1", trouble=trouble))
        assert isinstance(step, Wait)
    view = later(view, first.patience_s)
    for trouble in troubles * 2:
        view, step = told(with_pod(later(view, 20), "demo-1-1", trouble=trouble))
        assert isinstance(step, Blocked)


def test_another_member_that_is_missing_starts_another_wait() -> None:
    view, _ = told(without(whole_view(), "demo-1-1"))
    view, step = told(later(without(view, "demo-2-1"), 299))
    view, step = told(later(view, 299))
    assert isinstance(step, Wait)


def test_a_wait_that_ended_is_blocked_no_more() -> None:
    view, _ = told(without(whole_view(), "demo-1-1"))
    view, step = told(later(view, 400))
    assert isinstance(step, Blocked)
    assert isinstance(decide(replace(view, pods=whole_view().pods)), Steady)
