"""The rules by their cases, and what holds of every case."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import decide_cases
import pytest
import resize_cases
import roll_cases
import scale_cases
from decide_cases import CLAIMS, Case, follower_replaced, unfinished, with_claims
from views import (
    carried_out,
    configured,
    edited,
    later,
    node_id,
    spec_of,
    told,
    whole_view,
    with_config,
    with_pod,
    with_resources,
    with_server,
)

from daemon.decide import RULES, decide
from daemon.decide.heal import await_ghosts, forget_ghosts
from daemon.steps import (
    Blocked,
    DeleteClaims,
    Evict,
    Forget,
    Provision,
    SetConfig,
    Steady,
    Wait,
)
from valkey_cluster.quantity import to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.topology import View

CASES = [*decide_cases.CASES, *roll_cases.CASES, *resize_cases.CASES, *scale_cases.CASES]
WRONG = [
    pytest.param(case, marks=pytest.mark.xfail(strict=True, reason=why), id=case.sentence)
    for case, why in resize_cases.WRONG
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_step(case: Case) -> None:
    step = decide(case.view())
    assert type(step) is case.step, step
    reason = step.reason if isinstance(step, Blocked) else ""
    assert case.says in f"{reason} {step.because}"


@pytest.mark.parametrize("case", WRONG)
def test_step_that_is_wrong_yet(case: Case) -> None:
    test_step(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_a_view_that_may_be_old_gets_no_step_at_all(case: Case) -> None:
    step = decide(replace(case.view(), blind="the watch of pods has not caught up"))
    assert isinstance(step, Wait)
    assert "has not caught up" in step.because


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_planning_twice_gives_the_same_step(case: Case) -> None:
    assert decide(case.view()) == decide(case.view())


def test_forgetting_is_safe_by_itself() -> None:
    """Rules above keep it from being asked in these views; it must not rely on them."""
    view = follower_replaced()
    assert isinstance(forget_ghosts(view), Forget)
    assert forget_ghosts(with_pod(view, "demo-2-1", server=None)) is None
    followed = with_server(view, "demo-2-1", primary_id=node_id(0, 1))
    assert forget_ghosts(followed) is None
    assert isinstance(await_ghosts(followed), Wait)


def test_every_rule_decides_some_case() -> None:
    views = [case.view() for case in CASES]
    views.append(replace(whole_view(), blind="the watch of pods has not caught up"))
    deciding = {next((rule for rule in RULES if rule(view) is not None), None) for view in views}
    assert deciding >= set(RULES)


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "one": (
        {"config": {"maxmemory-samples": "5"}},
        {"config": {"maxmemory-samples": "9"}},
        {"maxmemory-samples": "9"},
    ),
    "two at once": (
        {"maxmemory": {"percent": 60}},
        {"maxmemory": {"percent": 50, "policy": "allkeys-lru"}},
        {"maxmemory": "134217728", "maxmemory-policy": "allkeys-lru"},
    ),
    "another spelling": (
        {"config": {"repl-backlog-size": "1mb"}},
        {"config": {"repl-backlog-size": "1048576"}},
        {},
    ),
    "several words": (
        {},
        {"persistence": {"rdb": {"save": ["900 1", "300 100"]}}},
        {"save": "900 1 300 100"},
    ),
    "less memory": ({}, {"resources": {"limits": {"memory": "128Mi"}}}, {"maxmemory": "87241523"}),
}


@pytest.mark.parametrize(("before", "after", "pairs"), SETTINGS.values(), ids=SETTINGS)
def test_live_directives_are_set_at_once_on_all_servers_that_are_alike(
    before: dict[str, Any], after: dict[str, Any], pairs: dict[str, str]
) -> None:
    view = replace(whole_view(spec_of(**before)), spec=spec_of(**after))
    step = decide(view)
    if not pairs:
        assert not isinstance(step, SetConfig)
        return
    assert isinstance(step, SetConfig)
    assert dict(step.pairs) == pairs
    assert set(step.pods) == {pod.name for pod in view.pods}
    assert not isinstance(decide(configured(view, step)), SetConfig)


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        ({}, {"persistence": {"rdb": {"enabled": False}}}, {"save": ""}),
        (
            {"config": {"notify-keyspace-events": "K"}},
            {"config": {"notify-keyspace-events": '"Ex"'}},
            {"notify-keyspace-events": "Ex"},
        ),
    ],
    ids=["nothing", "in quotes"],
)
def test_a_server_is_sent_values_without_the_quotes_of_the_file(
    before: dict[str, Any], after: dict[str, Any], pairs: dict[str, str]
) -> None:
    """9.1.2 answers `CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters`."""
    step = decide(replace(whole_view(spec_of(**before)), spec=spec_of(**after)))
    assert isinstance(step, SetConfig)
    assert dict(step.pairs) == pairs


def test_servers_that_differ_are_set_one_group_after_the_other() -> None:
    view = with_config(whole_view(), "demo-0-0", **{"maxmemory-policy": "allkeys-lru"})
    view = with_config(view, "demo-1-0", **{"maxmemory-policy": "volatile-ttl"})
    view = with_config(view, "demo-2-0", appendonly="no")
    seen = []
    while isinstance(step := decide(view), SetConfig):
        seen.append((step.pods, step.pairs))
        view = configured(view, step)
    assert seen == [
        (("demo-2-0",), (("appendonly", "yes"),)),
        (("demo-0-0", "demo-1-0"), (("maxmemory-policy", "noeviction"),)),
    ]


def test_maxmemory_follows_the_limit_of_each_pod_up_and_down() -> None:
    """Never more than its share of what the pod has at that moment."""
    for memory in ("1Gi", "128Mi", "300Mi"):
        view = replace(whole_view(), spec=spec_of(resources={"limits": {"memory": memory}}))
        while not isinstance(step := decide(view), Steady):
            view = carried_out(view, step)
            for pod in view.pods:
                assert pod.server
                has = to_bytes(pod.resources.actual["limits"]["memory"])
                assert int(pod.server.config["maxmemory"]) <= has * 65 // 100
        assert {server.config["maxmemory"] for server in view.servers.values()} == {
            str(to_bytes(memory) * 65 // 100)
        }


def test_a_deferred_resize_moves_the_pod_after_a_minute_whatever_the_kubelet_says_meanwhile() -> None:
    view = resize_cases.pending("Deferred")
    for second in range(62):
        view, step = told(with_resources(later(view, 1.0), "demo-0-1", told=f"{second} Mi are missing"))
    assert isinstance(step, Evict)


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(
            lambda: with_server(roll_cases.rolling(0), "demo-2-0", migrating=True), id="a pod that may not go"
        ),
        pytest.param(resize_cases.error, id="an error of the kubelet"),
        pytest.param(
            lambda: with_resources(resize_cases.pending("Deferred"), "demo-0-1", pending="", under_way=True),
            id="a kubelet that does nothing",
        ),
        pytest.param(
            lambda: with_server(resize_cases.pending("Deferred"), "demo-2-0", migrating=True),
            id="no room, and a pod that may not go",
        ),
    ],
)
def test_what_lasts_too_long_is_said_to_be_blocked(situation: Callable[[], View]) -> None:
    view = situation()
    for _ in range(200):
        view, step = told(later(view, 5.0))
        if isinstance(step, Blocked):
            return
    pytest.fail(f"still {step}")


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
