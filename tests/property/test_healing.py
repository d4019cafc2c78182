"""A cluster that was formed, and then everything happens: it ends whole, or says why it cannot.

Wrong steps (slots given twice, a live member forgotten, the last copy of a key destroyed) are assertions
inside the fake cluster; here is what must be true at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
from events import Events, formed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from passes import assert_whole, look, settle

from daemon.steps import Blocked, Meet, Steady, Step, Wait
from daemon.topology import PodName
from valkey_cluster import slots

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

SHAPES = st.tuples(st.integers(1, 4), st.integers(0, 2))


Event = Callable[[Events, int], None]
KINDS: tuple[Event, ...] = (
    Events.pod_deleted,
    Events.pod_and_claim_deleted,
    Events.pod_deleted_and_kept_from_starting,
    Events.pods_may_start,
    Events.all_pods_deleted,
    Events.node_goes_away,
    Events.another_node_is_away,
    Events.nodes_come_back,
    Events.set_deleted,
    Events.daemon_dies,
    Events.keys_are_written,
    Events.one_pass,
    Events.time_passes,
    Events.daemon_works,
)
History = Sequence[tuple[Event, int]]
HISTORIES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 59)), max_size=14)


def unowned(fake: FakeCluster) -> slots.Ranges:
    """Slots that no running server owns."""
    return slots.complement(span for server in fake.running() for span in server.slots)


def after(fake: FakeCluster, history: History) -> Step:
    """Where it comes to rest when everything happened, all nodes are back and all pods may start."""
    events = Events(fake)
    for event, number in history:
        event(events, number)
    fake.away.clear()
    fake.slow.clear()
    return settle(fake)


def assert_nothing_lost(fake: FakeCluster) -> None:
    assert_whole(fake)
    served = {key for server in fake.running() if server.slots for key in server.keys}
    assert fake.acknowledged <= served


STALE_PRIMARY = [
    (Events.node_goes_away, 0),
    (Events.daemon_works, 29),
    (Events.keys_are_written, 0),
    (Events.another_node_is_away, 1),
    (Events.one_pass, 0),
    (Events.another_node_is_away, 2),
    (Events.one_pass, 0),
]
"""The primary of shard 0 (on node 0) comes back, and whoever was elected over it is not there to say so."""

KNOWN_ONLY_BY_OTHERS = [
    (Events.pod_deleted, 0),
    (Events.pod_deleted, 0),
    (Events.node_goes_away, 0),
    (Events.node_goes_away, 14),
    (Events.pod_deleted, 0),
    (Events.time_passes, 9),
]


@settings(max_examples=4 * settings().max_examples)
@given(shape=SHAPES, persistent=st.sampled_from([True, True, False]), history=HISTORIES)
@example(shape=(3, 2), persistent=True, history=STALE_PRIMARY)
@example(shape=(3, 2), persistent=True, history=KNOWN_ONLY_BY_OTHERS)
def test_whatever_happens_it_ends_whole_or_says_why_not(
    shape: tuple[int, int],
    persistent: bool,
    history: History,
) -> None:
    fake = formed(*shape, persistent=persistent)
    end = after(fake, history)
    if isinstance(end, Steady):
        assert_nothing_lost(fake)
        return
    assert unowned(fake), f"every slot has an owner, and yet: {end}"
    assert isinstance(end, Wait | Blocked)
    assert end.remedy
    if isinstance(end, Wait):
        fake.now += end.patience_s
        blocked = look(fake)
        assert isinstance(blocked, Blocked)
        assert blocked.reason == "WaitedTooLong"


HEALED: dict[str, History] = {
    "a primary's pod is deleted": [(Events.pod_deleted, 0)],
    "a replica's pod is deleted": [(Events.pod_deleted, 1)],
    "a primary's pod is slow to come back": [
        (Events.pod_deleted_and_kept_from_starting, 0),
        (Events.daemon_works, 29),
        (Events.keys_are_written, 0),
    ],
    "a primary's pod and claim are deleted": [(Events.pod_and_claim_deleted, 2)],
    "a replica's pod and claim are deleted": [(Events.pod_and_claim_deleted, 3)],
    "one member of each shard is replaced, one by one": [
        step
        for member in (0, 3, 4)
        for step in (
            (Events.pod_and_claim_deleted, member),
            (Events.daemon_works, 29),
            (Events.daemon_works, 9),
        )
    ],
    "all pods are deleted at once": [(Events.all_pods_deleted, 0)],
    "all pods are deleted again before they have met": [
        (Events.all_pods_deleted, 0),
        (Events.time_passes, 3),
        (Events.all_pods_deleted, 0),
    ],
    "all pods are deleted, and the daemon dies as it makes them meet": [
        (Events.all_pods_deleted, 0),
        (Events.time_passes, 3),
        (Events.one_pass, 0),
        (Events.daemon_dies, 7),
    ],
    "a node is away and comes back": [(Events.node_goes_away, 1), (Events.daemon_works, 29)],
    "two of three nodes are away and come back": [
        (Events.node_goes_away, 1),
        (Events.node_goes_away, 2),
        (Events.daemon_works, 29),
    ],
    "a StatefulSet is deleted": [(Events.set_deleted, 0), (Events.daemon_works, 3)],
}


@pytest.mark.parametrize("history", HEALED.values(), ids=HEALED)
def test_these_are_healed_without_losing_a_key(history: History) -> None:
    fake = formed(3, 1)
    written = set(fake.acknowledged)
    assert isinstance(after(fake, history), Steady)
    assert written <= fake.acknowledged
    assert_nothing_lost(fake)


def test_a_cache_that_lost_all_its_pods_is_formed_anew() -> None:
    fake = formed(3, 1, persistent=False)
    assert isinstance(after(fake, [(Events.all_pods_deleted, 0)]), Steady)
    assert not fake.acknowledged
    assert_whole(fake)


def test_what_is_lost_is_said_and_nothing_is_put_in_its_place() -> None:
    fake = formed(3, 1)
    for name in ("demo-0-0", "demo-0-1"):
        fake.kill(PodName(name), keep_claim=False)
    end = settle(fake)
    assert isinstance(end, Blocked)
    assert end.reason == "ShardLost"
    assert unowned(fake) == slots.even_split(3)[0]


def test_data_that_should_be_there_and_is_not_is_never_replaced_by_nothing() -> None:
    fake = formed(3, 1)
    for name in sorted(fake.pods):
        fake.kill(name, keep_claim=False)
    end = settle(fake)
    assert isinstance(end, Blocked)
    assert end.reason == "DataMissing"
    assert unowned(fake) == slots.ALL


def test_servers_that_cannot_reach_each_other_are_blocked_tried_again_and_healed() -> None:
    fake = formed(3, 1)
    fake.bus_closed = {"node-1"}
    for name in sorted(fake.pods):
        fake.kill(name, keep_claim=True)
    waited = wait_for_blocked(fake)
    assert waited.reason == "WaitedTooLong"
    assert "port 16379" in waited.remedy
    retries = 0
    for _ in range(40):
        step = look(fake)
        retries += isinstance(step, Meet)
        fake.perform(step)
        assert next(one.status for one in fake.status.conditions if one.type == "Blocked") == "True"
        fake.turn()
    assert retries
    fake.bus_closed.clear()
    assert isinstance(settle(fake), Steady)
    assert_nothing_lost(fake)


def wait_for_blocked(fake: FakeCluster) -> Blocked:
    for _ in range(800):
        step = look(fake)
        if isinstance(step, Blocked):
            return step
        fake.perform(step)
        fake.turn()
    raise AssertionError(f"never blocked: {step}")
