"""Changes of a running cluster under writes: the last spec is reached, and nothing is lost on the way.

Wrong steps (the owner of slots evicted, two pods down by our hand, the last copy in sync stopped, a limit
below maxmemory, a role given to an old template, a ConfigMap taken from under its readers) are assertions
inside the fake cluster, and so hold of every prefix of every plan; here is what must be true at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from edits import EDITS, VERSIONS, Changes, assert_follows, edit, follow, running, until
from fake_act import commands
from fake_valkey import Refused
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import IDLE, look

from daemon.steps import Evict, Provision, Resize, Steady
from valkey_cluster.names import UpgradePhase

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

    from daemon.steps import Step

Edit = tuple[str, Any]
Event = Callable[[Changes, int], None]
KINDS: tuple[Event, ...] = (
    Changes.edited,
    Changes.edited,
    Changes.edited,
    Changes.pod_killed,
    Changes.container_killed,
    Changes.daemon_dies,
    Changes.one_pass,
    Changes.time_passes,
    Changes.daemon_works,
)
History = Sequence[tuple[Event, int]]
HISTORIES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 59)), max_size=12)
SHAPES = st.tuples(st.integers(1, 4), st.integers(0, 2))


@settings(max_examples=4 * settings().max_examples)
@given(shape=SHAPES, persistent=st.booleans(), first=st.sampled_from(EDITS), history=HISTORIES)
def test_whatever_is_edited_and_whenever_the_last_spec_is_reached(
    shape: tuple[int, int], persistent: bool, first: Edit, history: History
) -> None:
    reach_the_last_spec(Changes(running(*shape, persistent=persistent)), first, history)


def reach_the_last_spec(events: Changes, first: Edit, history: History) -> None:
    edit(events.fake, **{first[0]: first[1]})
    for event, number in history:
        event(events, number)
    end = follow(events.fake)
    assert isinstance(end, Steady), end
    assert_follows(events.fake)


UNREST: tuple[Event, ...] = (
    *KINDS,
    *KINDS,
    Changes.pod_deleted,
    Changes.pod_deleted_and_kept_from_starting,
    Changes.pods_may_start,
    Changes.all_pods_deleted,
    Changes.node_goes_away,
    Changes.another_node_is_away,
    Changes.nodes_come_back,
    Changes.set_deleted,
)
UNRESTFUL = st.lists(st.tuples(st.sampled_from(UNREST), st.integers(0, 59)), max_size=14)


@given(shape=SHAPES, first=st.sampled_from(EDITS), history=UNRESTFUL)
def test_what_is_on_disk_outlives_whatever_happens_to_a_cluster_that_is_changed(
    shape: tuple[int, int], first: Edit, history: History
) -> None:
    fake = running(*shape, persistent=True)
    edit(fake, **{first[0]: first[1]})
    for event, number in history:
        event(Changes(fake), number)
    fake.away.clear()
    fake.slow.clear()
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


@settings(max_examples=max(10, settings().max_examples // 2))
@given(shape=SHAPES, persistent=st.booleans(), first=st.sampled_from(VERSIONS), history=HISTORIES)
def test_a_version_is_reached_by_an_upgrade_whatever_else_is_edited_meanwhile(
    shape: tuple[int, int], persistent: bool, first: str, history: History
) -> None:
    fake = running(*shape, persistent=persistent)
    reach_the_last_spec(Changes(fake), ("version", first), history)
    assert fake.spec
    assert fake.spec.version == first
    assert [one.status.phase for one in fake.upgrades] == [UpgradePhase.SUCCEEDED]


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_no_eviction_is_asked_for_that_the_disruption_budget_refuses(replicas: int, persistent: bool) -> None:
    fake = running(3, replicas, persistent=persistent)
    edit(fake, annotations={"team": "a"})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert len(fake.evictions) == 3 * (1 + replicas)
    assert not fake.refusals


@pytest.mark.parametrize(("shards", "replicas"), [(1, 0), (1, 2), (2, 1)])
def test_every_prefix_of_a_roll_ends_as_the_last_spec_says(shards: int, replicas: int) -> None:
    """Every step is cut short, by a daemon that dies and by an edit that comes just then."""
    for at in range(200):
        fake = at_step(shards, replicas, at)
        step = look(fake)
        if isinstance(step, Steady):
            assert at >= 3 * shards
            return
        length = len(commands(fake, step))
        for done in sorted({0, 1, length - 1} - {length}):
            fake = at_step(shards, replicas, at)
            fake.half(look(fake), done)
            edit(fake, annotations={"team": "b"}, config={"tcp-backlog": "1024"})
            assert isinstance(follow(fake), Steady)
            assert_follows(fake)
    raise AssertionError("the roll has no end")


def at_step(shards: int, replicas: int, number: int) -> FakeCluster:
    """The cluster just before this step of a roll."""
    fake = running(shards, replicas, persistent=bool(number % 2))
    edit(fake, annotations={"team": "a"})
    for _ in range(number):
        step = next_change(fake)
        if isinstance(step, Steady):
            break
        fake.perform(step)
    next_change(fake)
    return fake


def next_change(fake: FakeCluster) -> Step:
    """The next step that changes something, or Steady."""
    for _ in range(60):
        step = look(fake)
        if not isinstance(step, IDLE) or isinstance(step, Steady):
            return step
        fake.turn()
    raise AssertionError(f"does not go on: {step}")


def test_the_server_refuses_a_directive_and_no_valkey_conf_has_it() -> None:
    fake = running(3, 1)
    edit(fake, config={"maxclients": "65000"})
    with pytest.raises(Refused, match="operating system"):
        follow(fake)
    assert "65000" not in str(fake.objects)
    edit(fake, config={})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def test_memory_that_is_edited_twice_in_a_row_is_never_less_than_what_may_be_filled() -> None:
    fake = running(1, 1)
    edit(fake, resources={"limits": {"memory": "128Mi"}})
    fake.perform(until(fake, Resize))
    edit(fake, resources={"limits": {"memory": "512Mi"}})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def test_maxmemory_stays_below_the_limit_of_a_shard_that_has_not_its_turn() -> None:
    fake = running(2, 1)
    edit(fake, resources={"limits": {"memory": "512Mi"}}, annotations={"team": "a"})
    fake.perform(until(fake, Provision))
    edit(fake, config={"tcp-backlog": "1024"})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def test_a_live_directive_that_is_taken_out_goes_back_to_its_default() -> None:
    fake = running(2, 1, config={"hz": "50"})
    edit(fake, config={})
    assert isinstance(follow(fake), Steady)
    assert {server.config["hz"] for server in fake.running()} == {"10"}


@pytest.mark.parametrize("later", ["9.1.4", "9.1.2"])
def test_a_version_that_is_edited_during_an_upgrade_is_reached_too(later: str) -> None:
    fake = running(2, 1)
    edit(fake, version="9.1.3")
    until(fake, Evict)
    edit(fake, version=later)
    assert isinstance(follow(fake), Steady)
    assert fake.spec
    assert fake.spec.version == later
    assert_follows(fake)
