"""What is told of a cluster: phase, conditions and the step, from the same view and step as the action."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from views import (
    NOW,
    carried_out,
    dead,
    empty,
    new_view,
    replaced,
    spec_of,
    whole_view,
    with_pod,
    with_server,
    without,
)

from daemon.clock import rfc3339, unix
from daemon.decide import decide
from daemon.status import after_failure, derive, next_phase
from daemon.steps import (
    Blocked,
    Evict,
    Failover,
    HoldFinalizer,
    Meet,
    Provision,
    Refused,
    Replicate,
    Resize,
    SetConfig,
    Steady,
    Step,
    Wait,
    gist,
)
from daemon.topology import Drift, PodName, View
from valkey_cluster.names import Condition, Phase
from valkey_cluster.stage import Stage
from valkey_cluster.status_model import ClusterStatus, ConditionStatus, HandoverStatus, Health

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = spec_of()
STEPS: dict[str, Step] = {
    "finalizer": HoldFinalizer("first"),
    "update": Provision(Stage(()), SPEC, False, "making"),
    "repair": Provision(Stage(()), SPEC, True, "putting back"),
    "meet": Meet(((PodName("demo-0-0"), PodName("demo-0-1")),), "strangers"),
    "replicate": Replicate((), "joining"),
    "evict": Evict(PodName("demo-0-1"), "uid-0-1", "rolling"),
    "resize": Resize(PodName("demo-0-1"), "uid-0-1", {}, "resizing"),
    "hand over": Failover(PodName("demo-0-1"), force=False, because="rolling"),
    "take over": Failover(PodName("demo-0-1"), force=True, because="the primary has ended"),
    "set": SetConfig((PodName("demo-0-1"),), (("hz", "10"),), "hz 10"),
    "wait": Wait(1.0, "waiting", "look"),
    "blocked": Blocked("Why", "cannot", "do this"),
    "refused": Refused("nonsense"),
    "steady": Steady(),
}

LEGAL = {
    None: {Phase.PENDING},
    Phase.PENDING: {Phase.CREATING},
    Phase.CREATING: {Phase.RUNNING},
    Phase.RUNNING: {Phase.UPDATING, Phase.DEGRADED},
    Phase.UPDATING: {Phase.RUNNING},
    Phase.DEGRADED: {Phase.RUNNING},
    Phase.DELETING: set(),
}


def told(view: View, step: Step | None = None) -> View:
    """The view with the status that a pass would write."""
    return replace(view, status=derive(view, step or decide(view)))


def later(view: View, seconds: float = 10) -> View:
    return replace(view, now=view.now + seconds)


def condition(view: View, type_: Condition) -> ConditionStatus:
    return next(one for one in view.status.conditions if one.type == type_)


def types(view: View) -> set[str]:
    return {one.type for one in view.status.conditions}


@given(
    prior=st.sampled_from([None, *Phase]),
    step=st.sampled_from(list(STEPS.values())),
    whole=st.booleans(),
    deleting=st.booleans(),
    applied=st.booleans(),
)
def test_only_legal_phases_follow_each_other(
    *, prior: Phase | None, step: Step, whole: bool, deleting: bool, applied: bool
) -> None:
    view = replace(whole_view(), deleting=deleting)
    view = view if applied else replace(view, applied=None)
    after = next_phase(prior, view, step, whole=whole)
    if deleting:
        assert after is Phase.DELETING
    elif prior is Phase.DELETING:
        assert after is Phase.PENDING, "it was said of another cluster of that name"
    else:
        assert after is prior or after in LEGAL[prior]


SEEN = ["whole", "degraded", "down", "new", "empty", "invalid", "edited", "dead"]


@given(views=st.lists(st.sampled_from(SEEN), max_size=12))
def test_no_history_of_views_leads_to_an_illegal_phase(views: list[str]) -> None:
    status = ClusterStatus()
    for name in views:
        view = replace(SITUATIONS[name](), status=status)
        after = derive(view, decide(view))
        assert after.phase is status.phase or after.phase in LEGAL[status.phase]
        status = after


SITUATIONS: dict[str, Callable[[], View]] = {
    "whole": whole_view,
    "degraded": lambda: without(whole_view(), "demo-1-1"),
    "down": lambda: without(without(whole_view(), "demo-1-1"), "demo-1-0"),
    "new": lambda: new_view(SPEC),
    "empty": lambda: empty(whole_view()),
    "invalid": lambda: replace(whole_view(), spec=None, spec_error="nonsense"),
    "edited": lambda: replace(whole_view(), spec=spec_of(terminationGracePeriodSeconds=90)),
    "dead": lambda: dead(whole_view(), "demo-0-0"),
}

HOPS = {
    "first seen": (None, "finalizer", False, False, Phase.PENDING),
    "still nothing made": (Phase.PENDING, "finalizer", False, False, Phase.PENDING),
    "refused before anything was made": (Phase.PENDING, "refused", False, False, Phase.PENDING),
    "the first update": (Phase.PENDING, "update", False, False, Phase.CREATING),
    "waiting for pods": (Phase.CREATING, "wait", False, True, Phase.CREATING),
    "blocked while it is made": (Phase.CREATING, "blocked", False, True, Phase.CREATING),
    "formed": (Phase.CREATING, "steady", True, True, Phase.RUNNING),
    "whole, though something is still to be tidied": (Phase.CREATING, "meet", True, True, Phase.RUNNING),
    "an edit is followed": (Phase.RUNNING, "update", True, True, Phase.UPDATING),
    "a pod restarts for it": (Phase.RUNNING, "evict", True, True, Phase.UPDATING),
    "a pod is resized for it": (Phase.RUNNING, "resize", True, True, Phase.UPDATING),
    "a role moves for it": (Phase.RUNNING, "hand over", True, True, Phase.UPDATING),
    "a directive is set for it": (Phase.RUNNING, "set", True, True, Phase.RUNNING),
    "a pod of the edit is away": (Phase.UPDATING, "wait", False, True, Phase.UPDATING),
    "a pod of the edit is back, and others follow": (Phase.UPDATING, "wait", True, True, Phase.UPDATING),
    "the next pod of the edit": (Phase.UPDATING, "evict", True, True, Phase.UPDATING),
    "the next role of the edit": (Phase.UPDATING, "hand over", True, True, Phase.UPDATING),
    "the next stage of the edit": (Phase.UPDATING, "update", True, True, Phase.UPDATING),
    "drift is put back in an edit": (Phase.UPDATING, "repair", True, True, Phase.UPDATING),
    "the edit is done": (Phase.UPDATING, "steady", True, True, Phase.RUNNING),
    "the edit is stuck, and all serve": (Phase.UPDATING, "blocked", True, True, Phase.RUNNING),
    "the edit is stuck, and not all serve": (Phase.UPDATING, "blocked", False, True, Phase.UPDATING),
    "the edit was edited into nonsense": (Phase.UPDATING, "refused", True, True, Phase.RUNNING),
    "a member fails in an update": (Phase.UPDATING, "wait", False, True, Phase.UPDATING),
    "drift is put back": (Phase.RUNNING, "repair", True, True, Phase.RUNNING),
    "a member fails": (Phase.RUNNING, "wait", False, True, Phase.DEGRADED),
    "a primary has ended": (Phase.RUNNING, "take over", False, True, Phase.DEGRADED),
    "a pod that does not start is made anew": (Phase.DEGRADED, "evict", False, True, Phase.DEGRADED),
    "an edit begins while a member is away": (Phase.RUNNING, "evict", False, True, Phase.UPDATING),
    "a copy is made": (Phase.DEGRADED, "replicate", False, True, Phase.DEGRADED),
    "healed": (Phase.DEGRADED, "steady", True, True, Phase.RUNNING),
    "an edit is blocked": (Phase.RUNNING, "blocked", True, True, Phase.RUNNING),
    "an edit is refused": (Phase.RUNNING, "refused", True, True, Phase.RUNNING),
}


@pytest.mark.parametrize(("prior", "step", "whole", "applied", "after"), HOPS.values(), ids=HOPS)
def test_phase(*, prior: Phase | None, step: str, whole: bool, applied: bool, after: Phase) -> None:
    view = whole_view() if applied else replace(whole_view(), applied=None)
    assert next_phase(prior, view, STEPS[step], whole=whole) is after


def test_an_edit_is_told_as_one_update_from_its_first_step_to_its_last() -> None:
    view = replace(whole_view(), spec=spec_of(terminationGracePeriodSeconds=90), generation=2)
    while not isinstance(step := decide(view), Steady):
        view = told(view, step)
        assert view.status.phase is Phase.UPDATING
        view = carried_out(view, step)
    view = told(view, step)
    assert view.status.phase is Phase.RUNNING
    assert view.status.stage
    assert view.status.stage.generation == 2


HANDED_OVER = STEPS["hand over"]
KEPT = {
    "while it is waited for": ("wait", True),
    "not when something else is done": ("evict", False),
    "not when it is steady": ("steady", False),
    "not when it has taken too long": ("blocked", False),
}


@pytest.mark.parametrize("step", [HANDED_OVER, STEPS["take over"]], ids=["by hand", "by force"])
def test_a_failover_is_told_with_its_time(step: Step) -> None:
    view = told(later(whole_view(), 7), step)
    assert view.status.handover == HandoverStatus(pod="demo-0-1", at=rfc3339(NOW + 7))


@pytest.mark.parametrize(("step", "kept"), KEPT.values(), ids=KEPT)
def test_a_failover_stays_told(step: str, *, kept: bool) -> None:
    asked = told(whole_view(), HANDED_OVER)
    after = told(later(asked, 2), STEPS[step])
    assert after.status.handover == (asked.status.handover if kept else None)


def test_a_second_failover_is_told_instead_of_the_first() -> None:
    other = Failover(PodName("demo-1-1"), force=False, because="rolling")
    view = told(later(told(whole_view(), HANDED_OVER), 9), other)
    assert view.status.handover == HandoverStatus(pod="demo-1-1", at=rfc3339(NOW + 9))


def test_a_failover_that_could_not_be_sent_stays_told_for_nobody_knows() -> None:
    view = told(whole_view(), HANDED_OVER)
    assert after_failure(view.status, "does not answer in time", NOW).handover == view.status.handover


def test_deleting_is_told_from_any_phase() -> None:
    for prior in [None, *Phase]:
        view = replace(whole_view(), deleting=True, status=ClusterStatus(phase=prior))
        assert derive(view, decide(view)).phase is Phase.DELETING


@pytest.mark.parametrize("situation", [name for name in SITUATIONS if name != "dead"])
def test_an_unchanged_view_gives_an_identical_status(situation: str) -> None:
    """But for a failover: it is asked for again and again, each time with its time."""
    view = SITUATIONS[situation]()
    for _ in range(3):  # the phase moves one hop at a time
        view = told(later(view))
    assert told(later(view)).status == view.status


def test_a_whole_cluster_in_full() -> None:
    view = told(whole_view())
    status = view.status
    assert (status.phase, status.shards, status.members) == (Phase.RUNNING, 3, "6/6")
    assert (status.version, status.endpoint) == ("9.1.2", "demo.prod.svc:6379")
    assert status.selector == "valkeeper.io/cluster=demo,app.kubernetes.io/component=shard"
    assert {one.type: one.status for one in status.conditions} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
        "ConfigurationValid": "True",
    }
    first = status.topology[0]
    assert (first.slots, first.primary, first.replicas) == ("0-5460", "demo-0-0", ("demo-0-1",))
    assert all(shard.health is Health.OK for shard in status.topology)
    assert view.applied
    assert status.stage
    assert status.stage.hash == view.applied.stage.hash


def test_a_missing_replica_degrades_its_shard() -> None:
    view = told(without(whole_view(), "demo-1-1"))
    assert view.status.phase is Phase.DEGRADED
    assert [shard.health for shard in view.status.topology] == [Health.OK, Health.DEGRADED, Health.OK]
    assert (view.status.shards, view.status.members) == (3, "5/6")
    assert condition(view, Condition.READY).status == "False"
    assert condition(view, Condition.READY).reason == "MembersMissing"
    assert condition(view, Condition.DEGRADED).status == "True"


def test_a_shard_without_primary_is_down() -> None:
    view = told(replaced(whole_view(), "demo-0-0"))
    assert view.status.topology[0].health is Health.DOWN
    assert view.status.topology[0].primary is None
    assert condition(view, Condition.READY).reason == "ShardsDown"
    assert view.status.shards == 2


@pytest.mark.parametrize(
    "changes",
    [{"link_up": False}, {"state_ok": False}, {"primary_id": "id-1-0"}],
    ids=["without link", "not ok", "in another shard"],
)
def test_a_replica_that_is_no_copy_does_not_count(changes: dict[str, Any]) -> None:
    view = told(with_server(whole_view(), "demo-0-1", **changes))
    assert view.status.topology[0].health is Health.DEGRADED


def test_before_anything_is_made_nothing_is_ready() -> None:
    view = told(new_view(SPEC))
    assert view.status.phase is Phase.PENDING
    assert condition(view, Condition.READY).status == "False"
    assert condition(view, Condition.READY).reason == "NotMade"
    assert view.status.topology == ()
    assert view.status.stage is None


def test_transition_times_change_with_the_status_alone() -> None:
    view = told(whole_view())
    made = condition(view, Condition.READY).last_transition_time
    view = told(without(later(view), "demo-1-1"))
    broken = condition(view, Condition.READY).last_transition_time
    assert unix(broken) == unix(made) + 10
    view = told(without(later(view), "demo-1-0"))
    assert condition(view, Condition.READY).reason == "ShardsDown", "another reason"
    assert condition(view, Condition.READY).last_transition_time == broken, "but the same status"
    assert condition(view, Condition.CONFIGURATION_VALID).last_transition_time == made
    view = told(replace(later(view), pods=whole_view().pods))
    assert unix(condition(view, Condition.READY).last_transition_time) == unix(broken) + 20


def test_every_condition_speaks_of_the_generation_it_was_made_from() -> None:
    view = told(replace(whole_view(), generation=7, spec=spec_of(shards=4)))
    assert view.status.observed_generation == 7
    assert {one.observed_generation for one in view.status.conditions} == {7}


def test_the_stage_keeps_its_generation_until_a_newer_one_is_reached() -> None:
    view = told(replace(whole_view(), generation=2, spec=spec_of(shards=4)))
    assert view.status.stage
    assert view.status.stage.generation == 1
    view = told(replace(view, generation=3, spec=SPEC))
    assert view.status.stage
    assert view.status.stage.generation == 3


def test_an_invalid_spec_is_said_and_tools_see_that_it_is_stuck() -> None:
    view = told(replace(whole_view(), spec=None, spec_error="spec.shards: is too small"))
    invalid = condition(view, Condition.CONFIGURATION_VALID)
    assert (invalid.status, invalid.reason, invalid.message) == (
        "False",
        "Invalid",
        "spec.shards: is too small",
    )
    assert condition(view, Condition.STALLED).reason == "InvalidSpec"
    assert view.status.phase is Phase.RUNNING


def test_blocked_says_why_and_what_to_do_and_is_false_afterwards() -> None:
    view = whole_view()
    assert Condition.BLOCKED not in types(view)
    view = told(replace(view, spec=spec_of(persistence={"size": "2Gi"}), generation=2))
    blocked = condition(view, Condition.BLOCKED)
    assert (blocked.status, blocked.reason) == ("True", "NotSupportedYet")
    assert "spec.persistence.size (1Gi -> 2Gi)" in blocked.message
    assert "What to do: set the field back" in blocked.message
    assert condition(view, Condition.STALLED).model_dump(exclude={"type"}) == blocked.model_dump(
        exclude={"type"}
    )
    assert condition(view, Condition.PROGRESSING).status == "False"
    view = told(replace(view, spec=SPEC, generation=3))
    assert condition(view, Condition.BLOCKED).status == "False"
    assert condition(view, Condition.STALLED).status == "False"


def test_a_new_attempt_at_what_is_blocked_leaves_it_blocked() -> None:
    strangers = "not every server knows the present address of demo-1-1"
    view = told(
        whole_view(),
        Blocked("WaitedTooLong", f"{strangers} (they are meeting) (for more than 5 min)", "look"),
    )
    blocked = condition(view, Condition.BLOCKED)
    attempt = told(later(view), Meet(((PodName("demo-0-0"), PodName("demo-1-1")),), strangers))
    assert condition(attempt, Condition.BLOCKED) == blocked
    assert condition(attempt, Condition.PROGRESSING).status == "False"
    assert view.status.step
    assert attempt.status.step
    assert attempt.status.step.since == view.status.step.since
    other = told(later(view), Replicate((), "demo-1-1 joins"))
    assert condition(other, Condition.BLOCKED).status == "False"
    assert condition(other, Condition.PROGRESSING).status == "True"


SAID = {
    "a b": "a b",
    "a (b)": "a",
    "a (b), c (d)": "a, c",
    "a (b (c) d) e": "a e",
    "a (b": "a (b",
    "a (they are meeting) (for more than 5 min)": "a",
}


@pytest.mark.parametrize(("because", "expected"), SAID.items(), ids=SAID)
def test_the_gist_of_a_sentence_leaves_out_parentheses(because: str, expected: str) -> None:
    assert gist(because) == expected


SCALED = Drift("StatefulSet", "demo-0", ("spec.replicas",), ("kubectl",))
DELETED = Drift("PodDisruptionBudget", "demo", (), ())


def test_drift_is_told_while_it_lasts_and_what_was_put_back_stays_told() -> None:
    view = told(replace(whole_view(), drift=(SCALED, DELETED)))
    drifted = condition(view, Condition.DRIFT_DETECTED)
    said = "StatefulSet demo-0: spec.replicas changed by kubectl; PodDisruptionBudget demo was deleted"
    assert (drifted.status, drifted.reason, drifted.message) == ("True", "Changed", said)
    for _ in range(2):
        view = told(replace(later(view), drift=()))
        after = condition(view, Condition.DRIFT_DETECTED)
        assert (after.status, after.reason, after.message) == ("False", "PutBack", f"put back: {said}")
    view = told(replace(later(view), drift=(DELETED,)))
    assert condition(view, Condition.DRIFT_DETECTED).message == "PodDisruptionBudget demo was deleted"
    assert condition(view, Condition.DRIFT_DETECTED).status == "True"


def test_objects_that_go_because_the_cluster_is_deleted_are_no_drift() -> None:
    gone = replace(whole_view(), deleting=True, drift=(DELETED,))
    assert Condition.DRIFT_DETECTED not in types(told(gone))


def test_a_failure_is_told_and_stays_until_the_step_changes() -> None:
    view = replace(whole_view(), drift=(DELETED,))
    step = decide(view)
    view = told(view, step)
    failed = after_failure(view.status, "the API server said no", view.now)
    view = replace(view, status=failed)
    progressing = condition(view, Condition.PROGRESSING)
    assert (progressing.status, progressing.reason) == ("False", "StepFailed")
    assert progressing.message == f"{step.because}: the API server said no"
    assert view.status.message == progressing.message
    assert told(later(view)).status == view.status, "the next attempt writes nothing new"
    other = after_failure(told(later(view)).status, "it still says no", NOW + 20)
    again = next(one for one in other.conditions if one.type == Condition.PROGRESSING)
    assert again.message.endswith("it still says no")
    assert again.last_transition_time == progressing.last_transition_time
    view = told(replace(later(view), drift=()))
    assert view.status.message == Steady().because
    assert condition(view, Condition.PROGRESSING).reason == "Steady"


def test_a_step_says_since_when_it_has_its_reason() -> None:
    view = told(with_pod(whole_view(), "demo-1-1", server=None))
    assert view.status.step
    began = view.status.step.since
    assert began == rfc3339(NOW)
    view = told(with_pod(later(view), "demo-1-1", trouble="CrashLoopBackOff: again"))
    assert view.status.step
    assert view.status.step.since == began, "the same pod, failing in other words"
    assert "CrashLoopBackOff" in view.status.step.because
    view = told(later(view, 400))
    assert view.status.step
    assert (view.status.step.kind, view.status.step.since) == ("Blocked", began)
    view = told(without(view, "demo-1-0"))
    assert view.status.step
    assert view.status.step.since == rfc3339(view.now), "another reason"


@given(seconds=st.integers(0, 4_000_000_000))
def test_times_survive_being_written(seconds: int) -> None:
    assert unix(rfc3339(seconds)) == seconds
