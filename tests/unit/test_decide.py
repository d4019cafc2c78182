"""The rules by their cases, and what holds of every case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decide_cases import CASES, CLAIMS, Case, follower_replaced, unfinished, with_claims
from views import (
    edited,
    node_id,
    whole_view,
    with_pod,
    with_server,
)

from daemon.decide import RULES, decide
from daemon.decide.heal import forget_ghosts
from daemon.steps import (
    Blocked,
    DeleteClaims,
    Forget,
    Provision,
    Wait,
)


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


def test_forgetting_is_safe_by_itself() -> None:
    """Rules above keep it from being asked in these views; it must not rely on them."""
    view = follower_replaced()
    assert isinstance(forget_ghosts(view), Forget)
    assert forget_ghosts(with_pod(view, "demo-2-1", server=None)) is None
    followed = with_server(view, "demo-2-1", primary_id=node_id(0, 1))
    assert isinstance(forget_ghosts(followed), Wait)


def test_every_rule_decides_some_case() -> None:
    views = [case.view() for case in CASES]
    views.append(replace(whole_view(), blind="the watch of pods has not caught up"))
    deciding = {next((rule for rule in RULES if rule(view) is not None), None) for view in views}
    assert deciding >= set(RULES)


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
