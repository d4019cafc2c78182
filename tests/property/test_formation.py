"""A new cluster: whatever the daemon dies in, the next one makes it whole, and nothing is made twice."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import pytest
from fake_act import commands
from fake_cluster import FakeCluster, spec_of
from hypothesis import given
from hypothesis import strategies as st
from passes import IDLE, assert_whole, look, settle

from daemon.decide import decide
from daemon.steps import AssignSlots, Steady, Step
from daemon.topology import PodName
from valkey_cluster import names, slots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fake_kubelet import Place

SHAPES = [(1, 0), (1, 2), (2, 1), (3, 1)]


def pod_names(shards: int, replicas: int) -> list[PodName]:
    members = product(range(shards), range(1 + replicas))
    return [PodName(names.pod("demo", shard, ordinal)) for shard, ordinal in members]


@st.composite
def new_clusters(draw: st.DrawFn) -> FakeCluster:
    """Any shape; pods anywhere in up to three zones, and not all starting at once."""
    shards, replicas = draw(st.integers(1, 6)), draw(st.integers(0, 2))
    pods = pod_names(shards, replicas)
    node = st.sampled_from([f"node-{number}" for number in range(draw(st.integers(1, 4)))])
    nodes = draw(st.fixed_dictionaries(dict.fromkeys(pods, node)))
    zoned = draw(st.booleans())
    places: Mapping[PodName, Place] = {
        pod: (nodes[pod], f"zone-{int(nodes[pod][-1]) % 3}" if zoned else "") for pod in pods
    }
    delays = draw(st.fixed_dictionaries(dict.fromkeys(pods, st.sampled_from([0.5, 1.0, 3.0]))))
    persistence = {"enabled": draw(st.booleans())}
    spec = spec_of(shards=shards, replicasPerShard=replicas, persistence=persistence)
    return FakeCluster(spec, places=places.__getitem__, start_delay_s=delays.__getitem__)


def next_change(fake: FakeCluster) -> Step:
    """The next step that changes something, or Steady."""
    for _ in range(60):
        step = look(fake)
        if not isinstance(step, IDLE) or isinstance(step, Steady):
            return step
        fake.turn()
    raise AssertionError(f"does not go on: {step}")


def fewest_at_one_place(fake: FakeCluster) -> int:
    """The least that the fullest place can hold, one pod per shard; by trying every choice."""
    shards = {pod.shard for pod in fake.pods.values()}
    choices = [{where(pod.place) for pod in fake.pods.values() if pod.shard == shard} for shard in shards]
    return min(max(Counter(choice).values()) for choice in product(*choices))


def where(place: Place) -> str:
    return place[1] or place[0]


def assert_formed(fake: FakeCluster) -> None:
    assert isinstance(settle(fake), Steady)
    assert_whole(fake)
    primaries = [pod for pod in fake.pods.values() if pod.server and pod.server.slots]
    for pod in primaries:
        assert pod.server
        assert pod.server.slots == slots.even_split(len(primaries))[pod.shard]
    fullest = max(Counter(where(pod.place) for pod in primaries).values())
    assert fullest == fewest_at_one_place(fake), "primaries are not spread as the places allow"
    epochs = [pod.server.config_epoch for pod in primaries if pod.server]
    assert len(set(epochs)) == len(epochs), "two primaries have the same config epoch"


def assert_rests(fake: FakeCluster) -> None:
    """Steady, and then nothing changes any more: neither step nor status."""
    look(fake)
    before = fake.status
    for _ in range(3):
        fake.turn()
        assert isinstance(look(fake), Steady)
        assert fake.status == before


@given(fake=new_clusters())
def test_a_new_cluster_becomes_whole_and_then_rests(fake: FakeCluster) -> None:
    assert_formed(fake)
    assert_rests(fake)


@given(fake=new_clusters(), data=st.data())
def test_a_daemon_that_dies_in_any_step_is_followed_by_one_that_finishes(
    fake: FakeCluster, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 8), label="deaths")):
        step = next_change(fake)
        if isinstance(step, Steady):
            break
        fake.half(step, data.draw(st.integers(0, len(commands(fake, step))), label="commands done"))
        for _ in range(data.draw(st.integers(0, 3), label="turns until the next daemon")):
            fake.turn()
    assert_formed(fake)


@pytest.mark.parametrize(("shards", "replicas"), SHAPES)
def test_every_prefix_of_the_plan_ends_whole(shards: int, replicas: int) -> None:
    """Every step of the plan is cut short: before its first command, after it, half-way, before its last."""
    spec = spec_of(shards=shards, replicasPerShard=replicas)
    for at in range(100):
        fake, step = at_step(FakeCluster(spec), at)
        if isinstance(step, Steady):
            assert at >= 4
            return
        length = len(commands(fake, step))
        for done in sorted({0, 1, length // 2, length - 1}):
            fake, step = at_step(FakeCluster(spec), at)
            fake.half(step, done)
            assert_formed(fake)
    raise AssertionError("the plan has no end")


def at_step(fake: FakeCluster, number: int) -> tuple[FakeCluster, Step]:
    """The cluster just before the plan's step of this number, and the step."""
    for _ in range(number):
        fake.perform(next_change(fake))
    return fake, next_change(fake)


@given(fake=new_clusters())
def test_slots_are_given_out_once_and_only_when_every_member_answers(fake: FakeCluster) -> None:
    given_out = []
    while not isinstance(step := next_change(fake), Steady):
        if isinstance(step, AssignSlots):
            assert all(pod.server for pod in fake.pods.values())
            given_out += [span for one in step.assignments for span in one.slots]
        fake.perform(step)
    assert slots.normalise(given_out) == slots.ALL
    assert sum(slots.count((span,)) for span in given_out) == slots.SLOTS


@given(fake=new_clusters(), data=st.data(), keep=st.booleans())
def test_deleting_at_any_moment_leaves_only_what_was_to_be_kept(
    fake: FakeCluster,
    data: st.DataObject,
    keep: bool,
) -> None:
    assert fake.spec
    kept = fake.spec.persistence.model_copy(update={"when_deleted": "Retain" if keep else "Delete"})
    fake.spec = fake.spec.model_copy(update={"persistence": kept})
    for _ in range(data.draw(st.integers(0, 6), label="steps before")):
        step = next_change(fake)
        fake.half(step, data.draw(st.integers(0, len(commands(fake, step))), label="commands done"))
    fake.deleting = True
    claims = set(fake.volumes)
    while not isinstance(step := decide(fake.view()), Steady):
        look(fake)
        fake.half(step, data.draw(st.integers(1, len(commands(fake, step))), label="commands done"))
    assert not fake.finalizer
    assert not fake.pods
    assert not fake.objects
    assert claims <= set(fake.volumes) if keep else not fake.volumes
