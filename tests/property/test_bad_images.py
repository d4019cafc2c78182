"""Images that are no good: the change stops at the first pod, says which, and can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from edits import assert_follows, assert_kept, edit, follow, running, until
from fake_api import Wrong
from fake_kubelet import BAD_VERSIONS
from hypothesis import given
from hypothesis import strategies as st
from passes import IDLE, attempt, look

from daemon.steps import Blocked, Evict, Steady, Wait
from daemon.topology import PodName
from valkey_cluster.names import UpgradePhase
from valkey_cluster.stage import template_of

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

FAULTS = ("nopull", "dies", "deaf")
SHAPES = st.tuples(st.integers(1, 4), st.integers(0, 2))


def down(fake: FakeCluster) -> list[str]:
    """Pods that do not serve in sync."""
    serving = (
        pod.name for pod in fake.pods.values() if pod.server and (pod.server.votes or pod.server.linked)
    )
    return sorted(set(fake.pods) - set(serving))


@given(shape=SHAPES, persistent=st.booleans(), fault=st.sampled_from(FAULTS), also=st.booleans())
def test_a_bad_image_stops_at_one_pod_and_can_be_taken_back(
    shape: tuple[int, int], persistent: bool, fault: str, also: bool
) -> None:
    fake = running(*shape, persistent=persistent)
    before = dict(fake.objects)
    edit(fake, image={"tag": f"9.1.2-{fault}"})
    end = follow(fake)
    assert isinstance(end, Wait | Blocked)
    assert len(down(fake)) == 1
    assert down(fake)[0] in end.because
    assert all(pod.server.votes for pod in fake.pods.values() if pod.server and pod.server.primary_id is None)
    assert_kept(fake)
    assert_writable(fake)
    edit(fake, image={}, **({"annotations": {"team": "a"}} if also else {}))
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert also or fake.objects == before


def assert_writable(fake: FakeCluster) -> None:
    """In every shard."""
    fake.busy = False
    assert all(fake.write(shard) for shard in range(fake.members()[1]))
    fake.busy = True


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("replicas", [0, 1, 2])
@pytest.mark.parametrize("version", BAD_VERSIONS)
def test_an_upgrade_to_a_bad_version_takes_itself_back(version: str, replicas: int, persistent: bool) -> None:
    fake = running(2, replicas, persistent=persistent)
    before = dict(fake.objects)
    edit(fake, version=version)
    end = follow(fake)
    if isinstance(end, Wait):
        assert down(fake)[0] in end.because
        fake.now += 900
        end = follow(fake)
    assert isinstance(end, Blocked)
    assert version in end.because
    assert [one.status.phase for one in fake.upgrades] == [UpgradePhase.ROLLED_BACK]
    assert fake.objects == before
    assert_writable(fake)
    edit(fake, version="9.1.2")
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


@pytest.mark.parametrize("event", ["pod", "container"])
@pytest.mark.parametrize("persistent", [True, False])
def test_a_pod_that_dies_before_its_shard_has_its_turn_comes_back_as_it_was(
    event: str, persistent: bool
) -> None:
    fake = running(3, 1, persistent=persistent)
    edit(fake, annotations={"team": "a"})
    fake.perform(until(fake, Evict))
    assert comes_back_as_it_was(fake, event)
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


@pytest.mark.parametrize("event", ["pod", "container"])
def test_a_pod_that_dies_while_a_canary_soaks_comes_back_in_the_version_before(event: str) -> None:
    fake = running(3, 1)
    edit(fake, version="9.1.3")
    while not fake.upgrades or fake.upgrades[0].status.phase is not UpgradePhase.SOAKING:
        attempt(fake, look(fake))
        fake.turn()
    assert comes_back_as_it_was(fake, event)


@pytest.mark.parametrize("event", ["pod", "container"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_pod_that_dies_beside_a_bad_image_does_not_get_it_too(fault: str, event: str) -> None:
    fake = running(3, 1)
    edit(fake, image={"tag": f"9.1.2-{fault}"})
    follow(fake)
    (bad,) = down(fake)
    assert comes_back_as_it_was(fake, event)
    assert down(fake) == [bad]


@pytest.mark.xfail(strict=True, raises=Wrong, reason="daemon: replace_broken does not look at who is missing")
@pytest.mark.parametrize("image", [{"tag": "9.1.2-nopull"}, {"repository": "registry.local/valkey"}])
def test_a_replica_that_only_restarts_beside_one_that_is_rolled_is_left_alone(image: dict[str, str]) -> None:
    fake = running(1, 2)
    edit(fake, image=image)
    fake.perform(until(fake, Evict))
    assert comes_back_as_it_was(fake, "container", PodName("demo-0-2"))


LAST = PodName("demo-2-1")


def comes_back_as_it_was(fake: FakeCluster, event: str, name: PodName = LAST) -> bool:
    """A replica dies and is made again; whether from the template that it had."""
    before = template_of(fake.pods[name].made_from)
    if event == "pod":
        fake.kill(name, keep_claim=True)
    else:
        fake.kill_container(name)
    for _ in range(20):
        step = look(fake)
        if isinstance(step, IDLE) or not attempt(fake, step):
            fake.turn()
        pod = fake.pods.get(name)
        if pod and pod.server and pod.server.linked:
            return template_of(pod.made_from) == before
    return False
