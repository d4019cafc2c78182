"""What is told: each thing once, before it is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import IDENTITY, FakeApi, FakeLease, a_view

from daemon.kube.api import Key, Obj
from daemon.kube.errors import Invalid, NotLeader
from daemon.kube.events import EventRecorder, Limits
from daemon.kube.kinds import VALKEY_CLUSTER
from daemon.report import Reporter
from daemon.steps import Blocked, HoldFinalizer, Meet, Provision, Refused, Steady, Step, Wait
from daemon.topology import Drift, PodName, View
from daemon.watch import Caches
from valkey_cluster.names import Condition
from valkey_cluster.spec import parse
from valkey_cluster.stage import Stage
from valkey_cluster.status_model import ClusterStatus

SPEC = parse({"shards": 3}, "orders")
WAIT = Wait(1.0, "waiting for orders-0-0", "look at it")
MEET = Meet(((PodName("orders-0-0"), PodName("orders-1-0")),), "they do not know each other")
BLOCKED = Blocked("ShardLost", "shard 1 is lost", "restore it")


@dataclass
class World:
    """A reporter, and the cluster that it reports on."""

    api: FakeApi = field(default_factory=FakeApi)
    lease: FakeLease = field(default_factory=FakeLease)
    there: bool = True

    def __post_init__(self) -> None:
        self.caches = Caches(self.api, (), lambda key, *, urgent=False: None)
        self.events = EventRecorder(self.api, "valkeeper.io/daemon", "me", Limits(repeat_s=0))
        self.reporter = Reporter(self.api, self.caches, self.lease, self.events)
        if self.there:
            meta = {"namespace": "shop", "name": "orders", "uid": IDENTITY.uid}
            kind = {"apiVersion": "valkeeper.io/v1alpha1", "kind": "ValkeyCluster"}
            self.caches.take(self.api.put(VALKEY_CLUSTER, kind | {"metadata": meta}))

    def view(self, **facts: Any) -> View:
        """The cluster as the caches have it."""
        return a_view(
            spec=SPEC, status=ClusterStatus.model_validate(self.status() or {}, strict=False), **facts
        )

    def status(self) -> Obj | None:
        known = self.caches.cluster(Key("shop", "orders")) or {}
        status: Obj | None = known.get("status")
        return status

    async def announce(self, step: Step, **facts: Any) -> bool:
        return await self.reporter.announce(self.view(**facts), step)

    async def told(self) -> list[tuple[str, str, str]]:
        """Type, reason and note of each Event, in order."""
        task = asyncio.create_task(self.events.run())
        await self.events.flush(5)
        task.cancel()
        made = [obj for (plural, _, _), obj in self.api.objects.items() if plural == "events"]
        return [(event["type"], event["reason"], event["note"]) for event in made]

    def writes(self) -> int:
        return self.api.verbs().count("apply_status")


@pytest.fixture
def world() -> World:
    return World()


async def settled(world: World, step: Step, **facts: Any) -> None:
    """Announce until there is nothing new: the phase moves one hop at a time."""
    for _ in range(5):
        if not await world.announce(step, **facts):
            return
    pytest.fail("the status never comes to rest")


async def test_a_new_status_is_written_and_known_at_once(world: World) -> None:
    assert await world.announce(WAIT)
    status = world.status()
    assert status is not None
    assert status["step"]["because"] == status["message"] == WAIT.because
    assert world.writes() == 1


@pytest.mark.parametrize(
    "step", [WAIT, BLOCKED, Steady(), Refused("bad")], ids=lambda step: type(step).__name__
)
async def test_an_unchanged_status_is_not_written(world: World, step: Step) -> None:
    await settled(world, step)
    before = len(world.api.calls)
    for _ in range(10):
        assert not await world.announce(step, now=1_900_000_000.0)
    assert len(world.api.calls) == before


async def test_a_status_that_the_api_server_does_not_keep_is_no_news(world: World) -> None:
    """An older CRD drops fields; taken for news each time, it would make a hot loop."""

    class Dropping(FakeApi):
        async def apply_status(self, resource: Any, obj: Obj, *, manager: str) -> Obj:
            kept = {name: value for name, value in obj["status"].items() if name != "topology"}
            return await super().apply_status(resource, obj | {"status": kept}, manager=manager)

    await settled(World(api=Dropping()), WAIT)


async def test_a_step_is_told_once_while_it_lasts_and_again_when_it_comes_back(world: World) -> None:
    for step in (BLOCKED, BLOCKED, BLOCKED, Steady(), Steady(), BLOCKED):
        await world.announce(step)
    told = [reason for _, reason, _ in await world.told()]
    assert told == ["ShardLost", "Steady"]
    assert world.api.verbs().count("merge_patch") == 1, "the second ShardLost is a series of the first"


async def test_waiting_is_no_event(world: World) -> None:
    await world.announce(WAIT)
    assert await world.told() == []


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (MEET, ("Normal", "Meet", MEET.because)),
        (HoldFinalizer("about to"), ("Normal", "HoldFinalizer", "about to")),
        (Provision(Stage(()), SPEC, False, "new"), ("Normal", "Provision", "new")),
        (Steady("fine"), ("Normal", "Steady", "fine")),
        (BLOCKED, ("Warning", "ShardLost", "shard 1 is lost. What to do: restore it")),
        (Refused("spec.shards: is wrong"), ("Warning", "InvalidSpec", "spec.shards: is wrong")),
    ],
)
async def test_each_step_is_an_event(world: World, step: Step, told: tuple[str, str, str]) -> None:
    await world.announce(step)
    assert await world.told() == [told]


async def test_each_performed_step_is_told_each_time_it_is_performed(world: World) -> None:
    for _ in range(3):
        await world.announce(MEET)
    assert len(await world.told()) == 1
    assert world.api.verbs().count("merge_patch") == 2


async def test_drift_is_an_event_that_names_field_and_manager(world: World) -> None:
    drift = (Drift("Service", "orders", ("spec.ports.valkey.port",), ("kubectl-edit",)),)
    step = Provision(Stage(()), SPEC, True, "putting back")
    await world.announce(step, drift=drift)
    assert await world.told() == [
        ("Warning", "DriftDetected", "Service orders: spec.ports.valkey.port changed by kubectl-edit"),
        ("Normal", "Provision", "putting back"),
    ]


async def test_objects_that_go_with_their_cluster_are_no_drift(world: World) -> None:
    await world.announce(WAIT, drift=(Drift("Service", "orders", (), ()),), deleting=True)
    assert await world.told() == []


async def test_a_view_that_may_be_old_says_nothing_of_the_cluster(world: World) -> None:
    assert not await world.announce(WAIT, blind="the Kubernetes API does not show pods")
    assert world.writes() == 0


async def test_without_the_lease_no_status_is_written(world: World) -> None:
    world.lease.held = False
    with pytest.raises(NotLeader):
        await world.announce(WAIT)
    assert world.writes() == 0


async def test_a_failure_is_told_in_status_and_event(world: World) -> None:
    await world.announce(MEET)
    await world.reporter.failed(world.view(), MEET, RuntimeError("orders-0-0: ERR no"))
    status = world.status()
    assert status is not None
    (progressing,) = [one for one in status["conditions"] if one["type"] == Condition.PROGRESSING]
    assert (progressing["status"], progressing["reason"]) == ("False", "StepFailed")
    assert "orders-0-0: ERR no" in progressing["message"]
    assert ("Warning", "MeetFailed", "orders-0-0: ERR no") in await world.told()


async def test_a_failure_that_lasts_is_written_once(world: World) -> None:
    for _ in range(4):
        await world.announce(MEET)
        await world.reporter.failed(world.view(), MEET, RuntimeError("no"))
    before = world.writes()
    for _ in range(4):
        await world.announce(MEET)
        await world.reporter.failed(world.view(), MEET, RuntimeError("no"))
    assert world.writes() == before


async def test_a_failure_whose_status_can_not_be_written_raises_nothing_more(world: World) -> None:
    await world.announce(MEET)
    world.api.fail["apply_status"] = Invalid({"code": 422, "message": "too long"})
    await world.reporter.failed(world.view(), MEET, RuntimeError("no"))
    assert world.writes() == 2


async def test_a_cluster_that_has_just_gone_is_told_of_without_an_error() -> None:
    world = World(there=False)
    assert not await world.announce(MEET)
    assert await world.told() == [("Normal", "Meet", MEET.because)]


async def test_what_is_said_of_a_deleted_cluster_never_lands_on_the_next_of_its_name(world: World) -> None:
    await world.announce(MEET)
    deleted = world.view(deleting=True)
    meta = {"namespace": "shop", "name": "orders", "uid": "uid-of-another"}
    world.api.put(VALKEY_CLUSTER, {"metadata": meta})
    assert not await world.reporter.announce(deleted, Steady())
    assert "status" not in world.api.objects["valkeyclusters", "shop", "orders"]
