"""When a cluster is looked at again."""

from __future__ import annotations

import pytest

from daemon.reconcile import BLOCKED_LOOK_S, WAIT_LOOK_MAX_S, due_in_s
from daemon.steps import Blocked, Forget, Refused, ReleaseFinalizer, Steady, Step, Wait
from daemon.topology import NodeId

WAIT = Wait(0.1, "waiting for a pod", "look at it")
BLOCKED = Blocked("ShardLost", "gone", "restore it")


@pytest.mark.parametrize(
    ("step", "news", "due_s"),
    [
        pytest.param(Forget((NodeId("a"),), "gone"), False, 0.0, id="at once after a change"),
        pytest.param(Steady(), False, None, id="never by itself when steady"),
        pytest.param(Steady(), True, 0.0, id="again while the phase moves"),
        pytest.param(Refused("no"), False, None, id="not while the spec is refused"),
        pytest.param(BLOCKED, False, BLOCKED_LOOK_S, id="now and then while blocked"),
        pytest.param(BLOCKED, True, 0.0, id="again after the block was told"),
        pytest.param(ReleaseFinalizer("done"), False, 1.0, id="the watch tells of the end"),
        pytest.param(WAIT, True, 0.1, id="as the wait says"),
    ],
)
def test_due(step: Step, news: bool, due_s: float | None) -> None:
    assert due_in_s(step, news=news) == due_s


@pytest.mark.parametrize(
    ("waited_s", "due_s"), [(0.0, 0.1), (5.0, 0.1), (50.0, 1.0), (9000.0, WAIT_LOOK_MAX_S)]
)
def test_a_long_wait_is_looked_at_less_often(waited_s: float, due_s: float) -> None:
    assert due_in_s(WAIT, news=False, waited_s=waited_s) == pytest.approx(due_s)
