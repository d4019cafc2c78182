"""Resources of running pods: changed in place where the kubelet can, by a roll where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from edits import Changes, assert_follows, assert_kept, edit, follow, running, until
from hypothesis import given
from hypothesis import strategies as st
from passes import attempt, look

from daemon.steps import Blocked, Evict, Resize, Steady, Wait
from daemon.topology import PodName
from valkey_cluster.quantity import to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_cluster import FakeCluster

    from daemon.topology import Amounts

MIB = 1 << 20
UP = {"limits": {"memory": "512Mi"}}
DOWN = {"requests": {"cpu": "205m"}, "limits": {"memory": "128Mi"}}
CAPPED = {"requests": {"cpu": "1"}, "limits": {"cpu": "1505m", "memory": "1Gi"}}
NODES = ("node-0", "node-1", "node-2")
LARGE = {"cpu": "4", "memory": "4Gi"}
SMALL = {"cpu": "4", "memory": "300Mi"}


def restarts(fake: FakeCluster) -> int:
    return sum(pod.restarts for pod in fake.pods.values()) + len(fake.evictions)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(0, 2)),
    persistent=st.booleans(),
    wanted=st.tuples(st.sampled_from([UP, DOWN]), st.sampled_from([UP, DOWN, CAPPED])),
    deferred=st.lists(st.sampled_from(NODES), max_size=3),
    percent=st.sampled_from([None, 40, 80]),
)
def test_no_pod_restarts_when_every_kubelet_can(
    shape: tuple[int, int],
    persistent: bool,
    wanted: tuple[Amounts, Amounts],
    deferred: list[str],
    percent: int | None,
) -> None:
    fake = running(*shape, persistent=persistent)
    fake.room = dict.fromkeys(deferred, "256Mi")
    edit(fake, resources=wanted[0], maxmemory={"percent": percent})
    for _ in range(40):
        attempt(fake, look(fake))
        fake.turn()
    fake.room = {}
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    edit(fake, resources=wanted[1])
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert not restarts(fake)


class Hosts(Changes):
    """Kubelets and nodes that can and cannot, beside all else."""

    def resources_edited(self, number: int) -> None:
        amounts: tuple[Amounts, ...] = ({}, UP, DOWN, {**UP, "requests": {"cpu": "1", "memory": "300Mi"}})
        edit(self.fake, resources=amounts[number % len(amounts)])

    def kubelet_cannot(self, number: int) -> None:
        pods = sorted(self.fake.pods)
        self.fake.unable = {pods[number % len(pods)]} if pods else set()

    def kubelets_can(self, _: int) -> None:
        self.fake.unable = set()

    def node_is_full(self, number: int) -> None:
        self.fake.room = {NODES[number % len(NODES)]: "256Mi"}

    def replica_lags(self, number: int) -> None:
        pods = [
            pod.server for _, pod in sorted(self.fake.pods.items()) if pod.server and not pod.server.votes
        ]
        for server in pods[number % len(pods) : number % len(pods) + 1] if pods else []:
            server.lags = not server.lags


KINDS = (
    Hosts.resources_edited,
    Hosts.resources_edited,
    Hosts.edited,
    Hosts.kubelet_cannot,
    Hosts.kubelets_can,
    Hosts.node_is_full,
    Hosts.replica_lags,
    Hosts.pod_killed,
    Hosts.container_killed,
    Hosts.daemon_dies,
    Hosts.one_pass,
    Hosts.daemon_works,
)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 2)),
    persistent=st.booleans(),
    policy=st.sampled_from(["NotRequired", "RestartContainer"]),
    history=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 59)), min_size=1, max_size=12),
)
def test_resources_are_followed_on_any_hosts(
    shape: tuple[int, int], persistent: bool, policy: str, history: list[tuple[Callable[..., None], int]]
) -> None:
    fake = running(*shape, persistent=persistent, resizePolicy={"memory": policy})
    fake.allocatable = dict.fromkeys(NODES, LARGE)
    hosts = Hosts(fake)
    for event, number in history:
        event(hosts, number)
    for server in fake.running():
        server.lags = False
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_where_the_policy_says_so_containers_restart_one_by_one(shards: int, persistent: bool) -> None:
    fake = running(shards, 1, persistent=persistent, resizePolicy={"memory": "RestartContainer"})
    for wanted in (UP, DOWN):
        edit(fake, resources=wanted)
        assert isinstance(follow(fake), Steady)
        assert_follows(fake)
    assert not fake.evictions
    assert {pod.restarts for pod in fake.pods.values()} == {2}


def test_a_shard_without_replica_is_not_restarted_for_its_resources() -> None:
    fake = running(2, 0, resizePolicy={"memory": "RestartContainer"})
    edit(fake, resources=UP)
    end = follow(fake)
    assert isinstance(end, Wait | Blocked)
    assert "there is no replica" in end.because
    assert not restarts(fake)
    assert_kept(fake)


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("unable", [["demo-0-0"], ["demo-1-1"], ["demo-0-0", "demo-0-1", "demo-2-0"]])
def test_what_a_kubelet_can_never_do_is_done_by_a_restart(unable: list[str], persistent: bool) -> None:
    fake = running(3, 1, persistent=persistent)
    fake.unable = set(map(PodName, unable))
    edit(fake, resources=UP)
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert sorted(fake.evictions) == sorted(unable)


def test_a_node_that_is_too_small_is_left_for_one_that_is_not() -> None:
    fake = running(3, 1, persistent=False)
    fake.allocatable = dict.fromkeys(NODES, LARGE) | {"node-0": SMALL}
    edit(fake, resources=UP)
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert len(fake.evictions) == 2
    assert all(pod.place[0] != "node-0" for pod in fake.pods.values())


def test_what_is_deferred_for_a_minute_goes_where_there_is_room() -> None:
    fake = running(3, 1)
    fake.allocatable, fake.room = dict.fromkeys(NODES, LARGE), {"node-0": "256Mi"}
    edit(fake, resources=UP)
    waited = fake.now
    until(fake, Evict)
    assert fake.now - waited > 60
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert len(fake.evictions) == 2


def test_nothing_is_touched_when_no_node_fits() -> None:
    fake = running(3, 1)
    before, fake.allocatable = dict(fake.objects), dict.fromkeys(NODES, SMALL)
    edit(fake, resources=UP)
    end = follow(fake)
    assert isinstance(end, Blocked)
    assert end.reason == "NoNodeFits"
    assert fake.objects == before
    assert not restarts(fake)
    assert all(pod.asked["limits"]["memory"] == "256Mi" for pod in fake.pods.values())


def test_a_limit_waits_until_the_data_have_followed() -> None:
    fake = running(2, 1)
    for server in fake.running():
        server.used_bytes = 130 * MIB
    edit(fake, resources=DOWN, maxmemory={"policy": "allkeys-lru"})
    end = follow(fake)
    assert isinstance(end, Wait)
    assert "uses too much" in end.because
    assert all(to_bytes(pod.actual["limits"]["memory"]) == 256 * MIB for pod in fake.pods.values())
    assert all(int(server.config["maxmemory"]) < 128 * MIB for server in fake.running())
    for server in fake.running():
        server.used_bytes = 60 * MIB
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def test_what_may_not_be_evicted_keeps_its_memory() -> None:
    fake = running(2, 1)
    for server in fake.running():
        server.used_bytes = 130 * MIB
    edit(fake, resources=DOWN)
    end = follow(fake)
    assert isinstance(end, Blocked)
    assert end.reason == "DataTooLarge"
    edit(fake, resources={})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def test_what_the_kubelet_could_not_do_at_once_it_tries_again() -> None:
    """Usage that jumps between our look and its deed."""
    fake = running(2, 1)
    edit(fake, resources=DOWN)
    step = until(fake, Resize)
    assert isinstance(step, Resize)
    fake.perform(step)
    server = fake.pods[step.pod].server
    assert server
    server.used_bytes = 140 * MIB
    for _ in range(6):
        fake.turn()
        assert "the kubelet tries again" in look(fake).because
    server.used_bytes = 60 * MIB
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert not restarts(fake)


@pytest.mark.parametrize("waits_for", ["data that follow", "a replica"])
def test_a_resize_that_waits_can_be_taken_back(waits_for: str) -> None:
    fake = running(2, 0, resizePolicy={"memory": "RestartContainer"} if waits_for == "a replica" else {})
    for server in fake.running():
        server.used_bytes = 130 * MIB
    edit(fake, maxmemory={"policy": "allkeys-lru"}, resources=UP if waits_for == "a replica" else DOWN)
    assert isinstance(follow(fake), Wait)
    edit(fake, resources={})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


@pytest.mark.xfail(
    strict=True, reason="daemon: a deferred pod is evicted without a look at the room elsewhere"
)
def test_a_pod_stays_where_it_is_while_no_node_has_room() -> None:
    fake = running(3, 1)
    fake.allocatable, fake.room = dict.fromkeys(NODES, LARGE), dict.fromkeys(NODES, "256Mi")
    edit(fake, resources=UP)
    follow(fake)
    assert not fake.evictions


def test_resources_that_a_pod_cannot_be_placed_with_can_be_taken_back() -> None:
    fake = running(3, 1)
    fake.allocatable, fake.room = dict.fromkeys(NODES, LARGE), dict.fromkeys(NODES, "256Mi")
    edit(fake, resources=UP)
    until(fake, Evict)
    follow(fake)
    edit(fake, resources={})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


@pytest.mark.xfail(strict=True, reason="daemon: a limit that is taken out of the spec stays on the pods")
def test_a_limit_that_is_taken_out_goes() -> None:
    fake = running(2, 1, resources={"limits": {"cpu": "500m"}})
    edit(fake, resources={})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def test_a_change_of_the_qos_class_is_a_roll() -> None:
    fake = running(2, 1)
    edit(fake, resources={"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
