"""A primary whose process has ended: its replica takes over at the kubelet's word, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from edits import assert_kept, edit, follow, running, until
from hypothesis import given
from hypothesis import strategies as st
from passes import IDLE, assert_whole, attempt, look

from daemon.steps import Evict, Failover, Steady
from daemon.topology import PodName
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from fake_cluster import FakeCluster
    from fake_kubelet import Pod

SHAPES = st.tuples(st.integers(3, 4), st.integers(1, 2))


def primary(fake: FakeCluster, shard: int) -> Pod:
    """Of several, the one that was elected last: who comes back has not heard of it yet."""
    claiming = [pod for pod in fake.pods.values() if pod.shard == shard and pod.server and pod.server.votes]
    return max(claiming, key=lambda pod: pod.server.config_epoch if pod.server else -1)


def replicas(fake: FakeCluster, shard: int) -> list[Pod]:
    return [pod for pod in fake.pods.values() if pod.shard == shard and pod.server and not pod.server.votes]


def turns(fake: FakeCluster, count: int) -> None:
    for _ in range(count):
        step = look(fake)
        if not isinstance(step, IDLE):
            attempt(fake, step)
        fake.turn()


@given(
    shape=SHAPES,
    persistent=st.booleans(),
    shard=st.integers(0, 2),
    before=st.integers(3, 9),
    restarted=st.booleans(),
)
def test_the_replica_takes_over_within_one_pass(
    shape: tuple[int, int], persistent: bool, shard: int, before: int, restarted: bool
) -> None:
    fake = running(*shape, persistent=persistent)
    turns(fake, before)
    written, died = set(fake.acknowledged), primary(fake, shard)
    fake.kill_container(died.name)
    if restarted:
        fake.status = ClusterStatus.model_validate(fake.status.model_dump())  # all that a new daemon knows
    step = look(fake)
    assert isinstance(step, Failover)
    assert step.force
    fake.perform(step)
    fake.turn()
    assert primary(fake, shard).name == step.pod
    turns(fake, 4)
    fake.busy = False
    assert fake.write(shard), "clients are served again before node-timeout"
    assert isinstance(follow(fake), Steady)
    assert written <= fake.acknowledged
    assert not fake.in_vain
    assert_whole(fake)
    assert_kept(fake)


def test_of_two_replicas_the_one_that_has_everything_takes_over() -> None:
    fake = running(3, 2, persistent=False)
    behind, current = replicas(fake, 0)
    assert behind.server
    behind.server.lags = True
    turns(fake, 4)
    written, step = set(fake.acknowledged), None
    fake.kill_container(primary(fake, 0).name)
    step = look(fake)
    assert isinstance(step, Failover)
    assert step.pod == current.name
    assert isinstance(follow(fake), Steady)
    assert written <= fake.acknowledged
    assert_kept(fake)


@pytest.mark.parametrize("persistent", [True, False])
def test_in_the_middle_of_a_roll_too(persistent: bool) -> None:
    fake = running(3, 1, persistent=persistent)
    edit(fake, annotations={"team": "a"})
    until(fake, Evict)
    written, died = set(fake.acknowledged), primary(fake, 2)
    fake.kill_container(died.name)
    step = look(fake)
    assert isinstance(step, Failover)
    assert step.force
    assert isinstance(follow(fake), Steady)
    assert written <= fake.acknowledged
    assert_kept(fake)


def test_a_replica_that_never_was_in_sync_does_not_take_over() -> None:
    fake = running(3, 1)
    edit(fake, image={"tag": "9.1.2-deaf"})
    follow(fake)
    fake.kill_container(primary(fake, 0).name)
    assert not isinstance(look(fake), Failover)
    turns(fake, 40)
    edit(fake, image={})
    assert isinstance(follow(fake), Steady)
    assert_kept(fake)


def test_without_a_majority_it_waits_for_the_primary_to_come_back() -> None:
    fake = running(2, 1)
    fake.kill_container(primary(fake, 0).name)
    assert not isinstance(look(fake), Failover)
    assert isinstance(follow(fake), Steady)
    assert not fake.in_vain
    assert_kept(fake)


def test_it_is_not_forced_before_the_votes_can_arrive() -> None:
    fake = running(3, 1, persistent=False)
    name = PodName("demo-0-1")
    fake.kill_container(name)
    while not (server := fake.pods[name].server) or not server.linked:
        turns(fake, 1)
    fake.kill_container(PodName("demo-0-0"))
    assert isinstance(follow(fake), Steady)
    assert_kept(fake)
    assert not fake.in_vain


@pytest.mark.parametrize("shards", [1, 2])
def test_a_cache_of_few_shards_keeps_what_its_replica_has(shards: int) -> None:
    fake = running(shards, 1, persistent=False)
    fake.kill_container(primary(fake, 0).name)
    assert isinstance(follow(fake), Steady)
    assert_kept(fake)
