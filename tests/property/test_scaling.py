"""Shards and replicas more or less, under writes: every slot arrives, nothing is lost, nobody lives on.

Wrong steps (a member retired that somebody needs, a StatefulSet removed whose pods are members, slots given
away twice at a time) are assertions inside the fake cluster; here is what must be true at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
from edits import Changes, assert_follows, edit, follow, running, until
from fake_act import commands
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import IDLE, look

from daemon.steps import Blocked, MigrateSlots, Provision, Retire, Steady
from valkey_cluster import slots

if TYPE_CHECKING:
    from fake_cluster import FakeCluster


def assert_even(fake: FakeCluster) -> None:
    """Every shard has its share."""
    shares = [slots.count(server.slots) for server in fake.running() if server.votes]
    assert len(shares) == fake.members()[1]
    assert max(shares) - min(shares) <= 1, shares


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((3, 1), (4, 1)),
        ((4, 1), (3, 1)),
        ((3, 0), (6, 0)),
        ((1, 1), (3, 2)),
        ((4, 2), (2, 0)),
        ((2, 0), (1, 1)),
    ],
)
def test_the_cluster_becomes_as_large_as_its_spec_says(
    before: tuple[int, int], after: tuple[int, int], persistent: bool
) -> None:
    fake = running(*before, persistent=persistent)
    edit(fake, shards=after[0], replicasPerShard=after[1])
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert_even(fake)
    assert fake.members() == (after[0] * (1 + after[1]), after[0])
    assert len(fake.volumes) == (fake.members()[0] if persistent else 0)


def test_a_retained_volume_brings_back_neither_a_member_nor_data() -> None:
    fake = running(3, 1)
    edit(fake, shards=2, persistence={"enabled": True, "whenScaled": "Retain"})
    assert isinstance(follow(fake), Steady)
    assert len(fake.volumes) == 6
    edit(fake, shards=3)
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert_even(fake)


def test_what_does_not_arrive_is_sent_again() -> None:
    fake = running(3, 1)
    edit(fake, shards=4)
    until(fake, MigrateSlots)
    for server in fake.running():
        server.jobs_fail = 2
    assert isinstance(follow(fake), Steady)
    assert_even(fake)


def test_an_edit_back_while_slots_move_is_followed_too() -> None:
    fake = running(3, 1)
    edit(fake, shards=4)
    fake.perform(until(fake, MigrateSlots))
    edit(fake, shards=3)
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert_even(fake)


def test_slots_that_somebody_moved_are_evened_out_and_not_where_that_is_off() -> None:
    fake = running(2, 0, rebalance={"mode": "Off"})
    giver = next(server for server in fake.running() if server.votes)
    taker = next(server for server in fake.running() if server is not giver)
    giver.migrate(taker.node_id, slots.first(giver.slots, 100), fake.now)
    assert isinstance(follow(fake), Steady)
    assert slots.count(giver.slots) in (8192, 8092)
    edit(fake, rebalance={})
    assert isinstance(follow(fake), Steady)
    assert_even(fake)


def test_weights_are_shares() -> None:
    fake = running(3, 0)
    edit(fake, rebalance={"weights": {"0": 2}})
    assert isinstance(follow(fake), Steady)
    owned = {pod.shard: slots.count(pod.server.slots) for pod in fake.pods.values() if pod.server}
    assert owned == {0: 8192, 1: 4096, 2: 4096}


def test_an_older_valkey_is_not_resharded() -> None:
    fake = running(3, 1, version="8.1.1")
    edit(fake, shards=4)
    end = follow(fake)
    assert isinstance(end, Blocked)
    assert end.reason == "TooOldToMoveSlots"


def test_data_that_would_not_fit_stay_where_they_are() -> None:
    fake = running(3, 1)
    for server in fake.running():
        server.used_bytes = int(server.config["maxmemory"]) * 3 // 4
    edit(fake, shards=2)
    end = follow(fake)
    assert isinstance(end, Blocked)
    assert end.reason == "DataDoNotFit"
    assert fake.members()[1] == 3


def test_every_prefix_of_growing_and_shrinking_ends_as_the_spec_says() -> None:
    for before, after in (((2, 1), (3, 1)), ((3, 1), (2, 1)), ((2, 2), (2, 1))):
        for at in range(200):
            fake = at_step(before, after, at)
            step = look(fake)
            if isinstance(step, Steady):
                break
            length = len(commands(fake, step))
            for done in sorted({0, 1, length - 1} - {length}):
                fake = at_step(before, after, at)
                fake.half(look(fake), done)
                assert isinstance(follow(fake), Steady)
                assert_follows(fake)
                assert_even(fake)
        else:
            raise AssertionError("it has no end")


def at_step(before: tuple[int, int], after: tuple[int, int], number: int) -> FakeCluster:
    """The cluster just before this step of its change of size."""
    fake = running(*before, persistent=bool(number % 2))
    edit(fake, shards=after[0], replicasPerShard=after[1])
    for _ in range(number):
        step = next_change(fake)
        if isinstance(step, Steady):
            break
        fake.perform(step)
    next_change(fake)
    return fake


def next_change(fake: FakeCluster) -> object:
    for _ in range(80):
        step = look(fake)
        if not isinstance(step, IDLE) or isinstance(step, Steady):
            return step
        fake.turn()
    raise AssertionError(f"does not go on: {step}")


def test_nobody_is_forgotten_that_was_not_retired_first() -> None:
    fake = running(3, 1)
    edit(fake, shards=2)
    kinds = []
    for _ in range(400):
        step = look(fake)
        if isinstance(step, Steady):
            break
        if isinstance(step, IDLE):
            fake.turn()
        else:
            kinds.append(type(step))
            fake.perform(step)
    assert kinds.index(Retire) > kinds.index(MigrateSlots)
    assert kinds.index(Provision) > kinds.index(Retire)


class Sizes(Changes):
    """Besides: the size changes, and migrations fail."""

    def resized(self, number: int) -> None:
        edit(self.fake, shards=1 + number % 4, replicasPerShard=number // 4 % 3)

    def migrations_fail(self, number: int) -> None:
        for server in self.fake.running():
            server.jobs_fail = number % 3


Event = Callable[[Sizes, int], None]
KINDS: tuple[Event, ...] = (
    Sizes.resized,
    Sizes.resized,
    Sizes.edited,
    Sizes.migrations_fail,
    Sizes.daemon_dies,
    Sizes.one_pass,
    Sizes.time_passes,
    Sizes.daemon_works,
    Sizes.daemon_works,
)
History = Sequence[tuple[Event, int]]
HISTORIES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 59)), max_size=10)
SHAPES = st.tuples(st.integers(1, 4), st.integers(0, 2))


@settings(max_examples=2 * settings().max_examples)
@given(shape=SHAPES, persistent=st.booleans(), history=HISTORIES)
def test_whatever_size_is_asked_for_and_whenever_the_last_is_reached(
    shape: tuple[int, int], persistent: bool, history: History
) -> None:
    fake = running(*shape, persistent=persistent)
    for event, number in history:
        event(Sizes(fake), number)
    end = follow(fake)
    assert isinstance(end, Steady), end
    assert_follows(fake)
    assert_even(fake)


UNREST: tuple[Event, ...] = (
    *KINDS,
    Sizes.pod_deleted,
    Sizes.all_pods_deleted,
    Sizes.node_goes_away,
    Sizes.nodes_come_back,
    Sizes.set_deleted,
)
UNRESTFUL = st.lists(st.tuples(st.sampled_from(UNREST), st.integers(0, 59)), max_size=10)


@given(shape=SHAPES, history=UNRESTFUL)
def test_what_is_on_disk_outlives_whatever_happens_to_a_cluster_that_changes_its_size(
    shape: tuple[int, int], history: History
) -> None:
    fake = running(*shape, persistent=True)
    for event, number in history:
        event(Sizes(fake), number)
    fake.away.clear()
    fake.slow.clear()
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert_even(fake)
