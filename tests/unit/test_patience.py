"""A wait that lasts too long is said to be blocked, stays so, and never becomes going on."""

from __future__ import annotations

from dataclasses import replace

from views import later, told, whole_view, with_pod, without

from daemon.decide import decide
from daemon.steps import Blocked, Steady, Wait


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
