"""A plan is what the rules would do, and nothing of it is done before it may be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from views import NOW, edited, spec_of, whole_view

from daemon.decide import decide
from daemon.plan import LINES_MAX, ahead, lines, rest_of
from daemon.schedule import in_window
from daemon.status import derive
from daemon.steps import (
    DeleteClaims,
    Evict,
    Failover,
    Preview,
    Provision,
    Resize,
    SetConfig,
    Steady,
    Step,
    Wait,
    kind,
)
from valkey_cluster.stage import is_surged

if TYPE_CHECKING:
    from daemon.topology import View


def kinds(steps: tuple[Step, ...]) -> Counter[str]:
    return Counter(kind(step) for step in steps)


def test_a_whole_cluster_has_nothing_to_plan() -> None:
    assert ahead(whole_view()) == ()
    assert lines(()) == ()


def test_a_roll_is_planned_pod_by_pod_replicas_first() -> None:
    steps = ahead(edited(annotations={"a": "b"}))
    assert kinds(steps) == {"Provision": 3, "Evict": 6, "Failover": 3}
    evicted = [step.pod for step in steps if isinstance(step, Evict)]
    assert len(set(evicted)) == 6
    assert evicted[:2] == ["demo-0-1", "demo-0-0"]
    told = lines(steps)
    assert told[0].startswith("12 steps, 6 pods restart, about ")
    assert told[1] == steps[0].because


def test_the_plan_is_what_is_then_decided_first() -> None:
    view = edited(resources={"requests": {"memory": "1Gi"}})
    assert ahead(view)[0] == decide(view)


def test_a_resize_is_planned_without_a_restart_and_maxmemory_follows() -> None:
    steps = ahead(edited(resources={"requests": {"memory": "1Gi"}}))
    assert kinds(steps) == {"Provision": 1, "Resize": 6, "SetConfig": 6}
    assert isinstance(steps[-1], SetConfig)
    smaller = ahead(edited(resources={"requests": {"memory": "128Mi"}}))
    assert [kind(step) for step in smaller] == ["SetConfig", "Provision", *["Resize"] * 6]


def test_a_shard_without_replicas_gets_one_and_loses_it_again() -> None:
    view = replace(whole_view(spec_of(replicasPerShard=0)), generation=2)
    view = replace(view, spec=spec_of(replicasPerShard=0, annotations={"a": "b"}))
    steps = ahead(view)
    counts = kinds(steps)
    assert (counts["Evict"], counts["Failover"]) == (3, 6), steps
    surges = [
        step for step in steps if isinstance(step, Provision) and any(map(is_surged, step.stage.manifests))
    ]
    assert surges
    assert not any(
        map(is_surged, [step for step in steps if isinstance(step, Provision)][-1].stage.manifests)
    )
    assert not any(isinstance(step, DeleteClaims) for step in steps), "no claim is known in this view"


def test_a_long_plan_is_cut_and_says_so() -> None:
    steps = ahead(edited(annotations={"a": "b"}))
    told = lines(steps * 6)
    assert len(told) == LINES_MAX + 2
    assert told[-1] == f"and {len(steps) * 6 - LINES_MAX} more"


def test_what_was_done_goes_from_the_plan() -> None:
    steps = ahead(edited(annotations={"a": "b"}))
    told = lines(steps)
    assert rest_of(told, steps[4]) == told[5:]
    assert rest_of(told, Steady()) == told


def manual(**fields: Any) -> View:
    policy = {"updatePolicy": {"mode": "Manual"}}
    before = replace(whole_view(spec_of(**policy)), generation=2)
    view = replace(before, spec=spec_of(**policy, **fields))
    assert view.applied
    return replace(
        view, applied=replace(view.applied, previewed=view.asked_hash, diff=("update StatefulSet",))
    )


def test_manual_asks_pulumi_first_what_would_change() -> None:
    view = manual(annotations={"a": "b"})
    assert view.applied
    step = decide(replace(view, applied=replace(view.applied, previewed="of an edit before")))
    assert isinstance(step, Preview)
    assert step.stage.hash == view.asked_hash
    assert derive(view, decide(view)).diff == ("update StatefulSet",)


@pytest.mark.parametrize(
    "fields",
    [
        {"annotations": {"a": "b"}},
        {"resources": {"requests": {"memory": "1Gi"}}},
        {"config": {"maxclients": "5000"}},
        {"version": "9.1.3"},
    ],
    ids=["roll", "resize", "live", "version"],
)
def test_manual_waits_for_exactly_this_edit_to_be_approved(fields: dict[str, Any]) -> None:
    view = manual(**fields)
    step = decide(view)
    assert isinstance(step, Wait)
    assert "waits for approval" in step.because
    assert f"valkeeper.io/approve={view.asked_hash}" in step.remedy
    assert isinstance(decide(replace(view, approved="another")), Wait)
    approved = decide(replace(view, approved=view.asked_hash))
    assert not isinstance(approved, Wait | Steady), approved


def test_manual_plans_what_an_approval_would_bring() -> None:
    assert kinds(ahead(manual(annotations={"a": "b"}))) == {"Provision": 3, "Evict": 6, "Failover": 3}


def test_manual_does_not_hold_up_what_was_begun() -> None:
    view = manual(annotations={"a": "b"})
    first = decide(replace(view, approved=view.asked_hash))
    assert isinstance(first, Provision)
    assert view.applied
    begun = replace(view, applied=replace(view.applied, stage=first.stage, goal=first.goal))
    assert isinstance(decide(begun), Evict)


def with_windows(*, is_open: bool, **fields: Any) -> View:
    policy = {"updatePolicy": {"maintenanceWindows": [{"schedule": "0 3 * * 0"}]}}
    view = replace(whole_view(spec_of(**policy)), generation=2, window_open=is_open)
    return replace(view, spec=spec_of(**policy, **fields))


def test_restarts_wait_for_a_window_and_what_restarts_nothing_does_not() -> None:
    shut = decide(with_windows(is_open=False, annotations={"a": "b"}))
    assert isinstance(shut, Provision), "objects without pods follow at once"
    assert all("StatefulSet" not in part for part in shut.because.split(","))
    evicting = with_windows(is_open=False, maxmemory={"policy": "allkeys-lru"})
    assert isinstance(decide(evicting), SetConfig)
    resized = with_windows(is_open=False, resources={"requests": {"memory": "1Gi"}})
    assert isinstance(decide(resized), Provision)
    assert kinds(ahead(with_windows(is_open=False, annotations={"a": "b"})))["Evict"] == 6


def newer_valkeeper() -> View:
    """The templates that were applied differ from what is rendered now, and nobody edited the spec."""
    view = whole_view()
    assert view.applied
    manifests = []
    for one in view.applied.stage.manifests:
        changed = dict(one)
        if one["kind"] == "StatefulSet":
            template = one["spec"]["template"]
            marked = {
                **template["metadata"],
                "annotations": {"valkeeper.io/template": "of-an-older-valkeeper"},
            }
            changed = {**one, "spec": {**one["spec"], "template": {**template, "metadata": marked}}}
        manifests.append(changed)
    stage = replace(view.applied.stage, manifests=tuple(manifests))
    pods = tuple(replace(pod, template="of-an-older-valkeeper") for pod in view.pods)
    return replace(view, applied=replace(view.applied, stage=stage), pods=pods)


def test_a_newer_valkeeper_restarts_nothing_until_that_is_approved_or_a_window_opens() -> None:
    view = newer_valkeeper()
    step = decide(view)
    assert isinstance(step, Steady)
    assert "6 pods follow it" in step.because
    assert isinstance(decide(replace(view, approved=view.wanted.hash)), Provision)
    assert isinstance(decide(replace(view, window_open=True)), Provision)
    assert isinstance(decide(replace(view, spec=spec_of(annotations={"a": "b"}))), Provision)


SUNDAY_3AM = 1_800_154_800.0
"""2027-01-17 03:00 UTC, a Sunday."""


@pytest.mark.parametrize(
    ("schedule", "minutes", "zone", "at", "is_open"),
    [
        ("0 3 * * 0", 60, "Etc/UTC", SUNDAY_3AM, True),
        ("0 3 * * 7", 60, "Etc/UTC", SUNDAY_3AM + 59 * 60, True),
        ("0 3 * * 0", 60, "Etc/UTC", SUNDAY_3AM + 61 * 60, False),
        ("0 3 * * 0", 60, "Etc/UTC", SUNDAY_3AM - 1, False),
        ("0 3 * * 1", 60, "Etc/UTC", SUNDAY_3AM, False),
        ("0 3 * * 1-5", 60, "Etc/UTC", SUNDAY_3AM + 86_400, True),
        ("0 3 * * 6-7", 60, "Etc/UTC", SUNDAY_3AM, True),
        ("0 3 * * */2", 60, "Etc/UTC", SUNDAY_3AM, True),
        ("0 4 * * 0", 60, "Europe/Berlin", SUNDAY_3AM, True),
        ("*/30 * * * *", 10, "Etc/UTC", NOW, True),
    ],
)
def test_windows_open_as_cron_says(
    *, schedule: str, minutes: int, zone: str, at: float, is_open: bool
) -> None:
    window = {"schedule": schedule, "durationMinutes": minutes, "timeZone": zone}
    windows = spec_of(updatePolicy={"maintenanceWindows": [window]}).update_policy.maintenance_windows
    assert in_window(windows, at) is is_open


def test_without_windows_there_is_none_to_be_open() -> None:
    assert in_window((), NOW) is None
    assert not any(isinstance(step, Resize | Failover) for step in ahead(whole_view()))
