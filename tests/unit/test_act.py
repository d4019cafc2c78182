"""Each Step becomes exactly these writes and these commands, on exactly these servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import IDENTITY, FakeApi, FakeLease, FakeNodes, FakeProvisioner, a_view, pod, server

from daemon.act import Actor
from daemon.errors import NodeRefused
from daemon.kube.errors import Conflict, NotFound, NotLeader, TooManyRequests, Unreachable
from daemon.kube.kinds import PERSISTENT_VOLUME_CLAIM, POD, VALKEY_CLUSTER, VALKEY_UPGRADE
from daemon.nodes import Address, NodeError, NodeSilent
from daemon.state import Target
from daemon.steps import (
    Assignment,
    AssignSlots,
    Blocked,
    CancelMigrations,
    CreateUpgrade,
    DeleteClaims,
    Destroy,
    Evict,
    Failover,
    Forget,
    HoldFinalizer,
    Meet,
    MigrateSlots,
    Preview,
    Provision,
    Refused,
    ReleaseFinalizer,
    Replicate,
    Resize,
    Retire,
    SetConfig,
    Steady,
    Step,
    TakeOver,
    Transfer,
    Wait,
    WriteVersion,
)
from daemon.topology import Claim, NodeId, PodName
from valkey_cluster.spec import parse
from valkey_cluster.stage import render

FINALIZER = "valkeeper.io/destroy"
P0, P1, P2 = (PodName(f"orders-{number}-0") for number in range(3))
VIEW = a_view(pods=tuple(pod(number, server(number)) for number in range(3)))
SPEC = parse({"shards": 3}, "orders")
STAGE = render(IDENTITY, SPEC)
AMOUNTS = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}


@dataclass
class World:
    """An actor and everything it can reach."""

    api: FakeApi = field(default_factory=FakeApi)
    nodes: FakeNodes = field(default_factory=FakeNodes)
    provisioner: FakeProvisioner = field(default_factory=FakeProvisioner)
    lease: FakeLease = field(default_factory=FakeLease)
    learned: list[dict[str, Any]] = field(default_factory=list)

    async def act(self, step: Step) -> None:
        actor = Actor(self.api, self.nodes, self.provisioner, self.lease, learn=self.learned.append)
        await actor.act(VIEW, step)

    def untouched(self) -> bool:
        return not (self.api.calls or self.nodes.sent or self.provisioner.done)

    def cluster(self, *finalizers: str, uid: str = IDENTITY.uid) -> None:
        meta: dict[str, Any] = {"namespace": "shop", "name": "orders", "uid": uid}
        self.api.put(
            VALKEY_CLUSTER, {"metadata": meta | ({"finalizers": list(finalizers)} if finalizers else {})}
        )

    def finalizers(self) -> list[str]:
        found: list[str] = self.api.objects["valkeyclusters", "shop", "orders"]["metadata"].get(
            "finalizers", []
        )
        return found


@pytest.fixture
def world() -> World:
    return World()


COMMANDS: list[tuple[Step, dict[str, list[tuple[Any, ...]]]]] = [
    (
        SetConfig((P0, P2), (("cluster-node-timeout", "500"), ("hz", "50")), "x"),
        {
            P0: [("CONFIG", "SET", "cluster-node-timeout", "500", "hz", "50")],
            P2: [("CONFIG", "SET", "cluster-node-timeout", "500", "hz", "50")],
        },
    ),
    (
        AssignSlots(
            (Assignment(P0, ((0, 5460),), 1), Assignment(P1, ((5461, 9000), (9002, 9002)), None)), "x"
        ),
        {
            P0: [("CLUSTER", "SET-CONFIG-EPOCH", 1), ("CLUSTER", "ADDSLOTSRANGE", 0, 5460)],
            P1: [("CLUSTER", "ADDSLOTSRANGE", 5461, 9000, 9002, 9002)],
        },
    ),
    (
        Meet(((P0, P1), (P0, P2), (P2, P0)), "x"),
        {
            P0: [("CLUSTER", "MEET", "10.0.0.1", 6379), ("CLUSTER", "MEET", "10.0.0.2", 6379)],
            P2: [("CLUSTER", "MEET", "10.0.0.0", 6379)],
        },
    ),
    (
        Replicate(((P1, NodeId("a" * 40)), (P2, NodeId("b" * 40))), "x"),
        {P1: [("CLUSTER", "REPLICATE", "a" * 40)], P2: [("CLUSTER", "REPLICATE", "b" * 40)]},
    ),
    (
        Forget((NodeId("c" * 40), NodeId("d" * 40)), "x"),
        {name: [("CLUSTER", "FORGET", "c" * 40), ("CLUSTER", "FORGET", "d" * 40)] for name in (P0, P1, P2)},
    ),
    (Failover(P1, force=False, because="x"), {P1: [("CLUSTER", "FAILOVER")]}),
    (Failover(P2, force=True, because="x"), {P2: [("CLUSTER", "FAILOVER", "FORCE")]}),
    (TakeOver(P1, "x"), {P1: [("CLUSTER", "FAILOVER", "TAKEOVER")]}),
    (
        MigrateSlots(
            (
                Transfer(P0, P2, NodeId("c" * 40), ((0, 9), (20, 20))),
                Transfer(P1, P2, NodeId("c" * 40), ((30, 39),)),
                Transfer(P0, P1, NodeId("b" * 40), ((50, 59),)),
            ),
            "x",
        ),
        {
            P0: [
                (
                    *("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 9, 20, 20, "NODE", "c" * 40),
                    *("SLOTSRANGE", 50, 59, "NODE", "b" * 40),
                )
            ],
            P1: [("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 30, 39, "NODE", "c" * 40)],
        },
    ),
    (CancelMigrations((P0,), "x"), {P0: [("CLUSTER", "CANCELSLOTMIGRATIONS")]}),
    (Retire(P2, "x"), {P2: [("CLUSTER", "RESET", "HARD"), ("FLUSHALL",)]}),
]


@pytest.mark.parametrize(("step", "sent"), COMMANDS, ids=[type(step).__name__ for step, _ in COMMANDS])
async def test_commands(world: World, step: Step, sent: dict[str, list[tuple[Any, ...]]]) -> None:
    await world.act(step)
    assert world.nodes.sent == sent
    assert world.nodes.together == 1, "one batch at a time on a server: it has few connections"
    assert not world.api.calls
    assert not world.provisioner.done


async def test_servers_are_reached_where_the_view_saw_them(world: World) -> None:
    await world.act(Replicate(((P1, NodeId("a")),), "x"))
    assert world.nodes.addresses == {Address(P1, "uid-pod-1", "10.0.0.1")}


@pytest.mark.parametrize(
    "step",
    [Wait(1.0, "x", "y"), Blocked("R", "x", "y"), Refused("x"), Steady()],
    ids=lambda step: type(step).__name__,
)
async def test_these_do_nothing_and_need_no_lease(world: World, step: Step) -> None:
    world.lease.held = False
    await world.act(step)
    assert world.untouched()


WRITING: list[Step] = [
    *(step for step, _ in COMMANDS),
    HoldFinalizer("x"),
    ReleaseFinalizer("x"),
    Provision(STAGE, SPEC, False, "x"),
    Preview(STAGE, SPEC, "x"),
    Destroy("x"),
    DeleteClaims((Claim("data-orders-0-0", "u"),), "x"),
    Evict(P0, "u", "x"),
    Resize(P0, "u", AMOUNTS, "x"),
    CreateUpgrade("orders-9-1-3", "9.1.3", "x"),
    WriteVersion("9.1.3", None, None, "x"),
]


@pytest.mark.parametrize("step", WRITING, ids=lambda step: type(step).__name__)
async def test_without_the_lease_nothing_is_written(world: World, step: Step) -> None:
    world.cluster()
    world.lease.held = False
    with pytest.raises(NotLeader):
        await world.act(step)
    assert world.untouched()


def test_every_kind_of_step_is_tested_here() -> None:
    idle = {"Wait", "Blocked", "Refused", "Steady"}
    assert {type(step).__name__ for step in WRITING} | idle == {kind.__name__ for kind in Step.__args__}


@pytest.mark.parametrize("refresh", [True, False])
async def test_provision_runs_an_update_to_its_stage(world: World, refresh: bool) -> None:
    await world.act(Provision(STAGE, SPEC, refresh, "x"))
    assert world.provisioner.done == [("up", IDENTITY, Target(STAGE, SPEC), refresh)]


async def test_where_the_shards_are_going_is_kept_with_the_stage(world: World) -> None:
    goal = parse({"shards": 3, "terminationGracePeriodSeconds": 90}, "orders")
    await world.act(Provision(STAGE, SPEC, refresh=False, because="x", goal=goal))
    assert world.provisioner.done == [("up", IDENTITY, Target(STAGE, SPEC, goal), False)]


async def test_a_preview_changes_nothing(world: World) -> None:
    await world.act(Preview(STAGE, SPEC, "x"))
    assert world.provisioner.done == [("preview", IDENTITY, Target(STAGE, SPEC), False)]


async def test_destroy_runs_a_destroy(world: World) -> None:
    await world.act(Destroy("x"))
    assert [what for what, *_ in world.provisioner.done] == ["destroy"]


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (HoldFinalizer("x"), (), [FINALIZER]),
        (HoldFinalizer("x"), ("other/one",), ["other/one", FINALIZER]),
        (HoldFinalizer("x"), (FINALIZER,), [FINALIZER]),
        (ReleaseFinalizer("x"), (FINALIZER,), []),
        (ReleaseFinalizer("x"), (FINALIZER, "other/one"), ["other/one"]),
        (ReleaseFinalizer("x"), (), []),
    ],
)
async def test_only_our_own_finalizer_comes_and_goes(
    world: World, step: Step, before: tuple[str, ...], after: list[str]
) -> None:
    world.cluster(*before)
    await world.act(step)
    assert world.finalizers() == after


async def test_a_later_object_of_the_name_keeps_its_finalizer(world: World) -> None:
    world.cluster(FINALIZER, uid="uid-of-another")
    await world.act(ReleaseFinalizer("x"))
    assert world.finalizers() == [FINALIZER]


async def test_an_object_that_is_gone_needs_no_release(world: World) -> None:
    await world.act(ReleaseFinalizer("x"))
    assert world.api.verbs() == ["get"]


def claim(world: World, name: str, uid: str) -> None:
    world.api.put(PERSISTENT_VOLUME_CLAIM, {"metadata": {"namespace": "shop", "name": name, "uid": uid}})


async def test_claims_are_deleted_and_gone_ones_are_no_error(world: World) -> None:
    claim(world, "data-orders-1-0", "u1")
    claim(world, "data-of-somebody-else", "u2")
    await world.act(DeleteClaims((Claim("data-orders-0-0", "u0"), Claim("data-orders-1-0", "u1")), "x"))
    assert [name for _, _, name in world.api.objects] == ["data-of-somebody-else"]


async def test_a_claim_that_was_made_anew_is_kept(world: World) -> None:
    claim(world, "data-orders-0-0", "u-new")
    with pytest.raises(Conflict):
        await world.act(DeleteClaims((Claim("data-orders-0-0", "u-old"),), "x"))
    assert len(world.api.objects) == 1


def a_pod(world: World, uid: str = "uid-pod-0") -> None:
    """With another container beside ours."""
    containers = [
        {"name": "sidecar", "resources": {}},
        {"name": "valkey", "image": "i", "resources": {"a": {}}},
    ]
    meta = {"namespace": "shop", "name": P0, "uid": uid}
    world.api.put(POD, {"metadata": meta, "spec": {"containers": containers}})


async def test_an_evicted_pod_is_known_to_be_leaving_before_the_watch_brings_it(world: World) -> None:
    a_pod(world)
    await world.act(Evict(P0, "uid-pod-0", "x"))
    assert world.api.calls[0] == ("evict", "pods", P0)
    assert [("deletionTimestamp" in one["metadata"], one["metadata"]["name"]) for one in world.learned] == [
        (True, P0)
    ]
    assert not world.nodes.sent


async def test_a_pod_that_is_gone_right_after_its_eviction_is_no_error(world: World) -> None:
    a_pod(world)
    world.api.fail["get"] = NotFound({"code": 404, "message": "gone"})
    await world.act(Evict(P0, "uid-pod-0", "x"))
    assert world.learned == []


@pytest.mark.parametrize("step", [Evict(P0, "uid-old", "x"), Resize(P0, "uid-old", AMOUNTS, "x")])
async def test_a_pod_that_was_made_anew_is_left_alone(world: World, step: Step) -> None:
    a_pod(world, uid="uid-new")
    before = world.api.objects["pods", "shop", P0]
    with pytest.raises(Conflict):
        await world.act(step)
    assert world.api.objects["pods", "shop", P0] == before


@pytest.mark.parametrize("step", [Evict(P0, "u", "x"), Resize(P0, "u", AMOUNTS, "x")])
async def test_a_pod_that_is_gone_is_an_error(world: World, step: Step) -> None:
    """It was there a moment ago: look again."""
    with pytest.raises(NotFound):
        await world.act(step)


async def test_what_the_disruption_budget_says_is_passed_on(world: World) -> None:
    a_pod(world)
    world.api.fail["evict"] = TooManyRequests({"code": 429, "message": "violates the budget"})
    with pytest.raises(TooManyRequests):
        await world.act(Evict(P0, "uid-pod-0", "x"))
    assert world.learned == []


async def test_a_resize_changes_our_containers_resources_and_nothing_else(world: World) -> None:
    a_pod(world)
    before = world.api.objects["pods", "shop", P0]
    await world.act(Resize(P0, "uid-pod-0", AMOUNTS, "x"))
    assert world.api.calls == [("resize", "pods", P0)]
    after = world.api.objects["pods", "shop", P0]
    sidecar, ours = after["spec"]["containers"]
    assert (sidecar, ours["image"]) == (before["spec"]["containers"][0], "i")
    assert ours["resources"] == {"a": {}} | AMOUNTS
    assert world.learned == [after]


async def test_an_upgrade_is_made_of_an_edited_version_and_belongs_to_the_cluster(world: World) -> None:
    await world.act(CreateUpgrade("orders-9-1-3", "9.1.3", "x"))
    made = world.api.objects[VALKEY_UPGRADE.plural, "shop", "orders-9-1-3"]
    assert made["spec"] == {"clusterRef": {"name": "orders"}, "version": "9.1.3"}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ValkeyCluster", "orders", IDENTITY.uid)
    assert world.learned == [made]


async def test_an_upgrade_that_is_there_already_is_no_error(world: World) -> None:
    for _ in range(2):
        await world.act(CreateUpgrade("orders-9-1-3", "9.1.3", "x"))
    assert world.api.verbs() == ["create", "create"]


async def test_the_version_that_came_about_is_written_with_its_image(world: World) -> None:
    world.cluster()
    world.api.put(
        VALKEY_CLUSTER,
        world.api.objects["valkeyclusters", "shop", "orders"]
        | {"spec": {"shards": 3, "version": "9.1.2", "image": {"tag": "old", "repository": "r"}}},
    )
    await world.act(WriteVersion("9.1.3", None, "sha256:1", "x"))
    after = world.api.objects["valkeyclusters", "shop", "orders"]["spec"]
    assert after == {"shards": 3, "version": "9.1.3", "image": {"digest": "sha256:1", "repository": "r"}}
    assert len(world.learned) == 1


async def test_the_version_is_not_written_into_a_later_cluster_of_the_name(world: World) -> None:
    world.cluster(uid="uid-of-another")
    with pytest.raises(Conflict):
        await world.act(WriteVersion("9.1.3", None, None, "x"))


async def test_a_refused_failover_names_the_pod(world: World) -> None:
    world.nodes.fail[P1, "FAILOVER"] = NodeError("ERR Master is down or failed")
    with pytest.raises(NodeRefused, match=f"^{P1}: ERR Master is down or failed$"):
        await world.act(Failover(P1, force=False, because="x"))


@pytest.mark.parametrize("error", [NodeError("ERR no such thing"), NodeSilent("does not answer in time")])
async def test_a_refusal_names_the_pod_and_the_others_are_still_asked(world: World, error: Exception) -> None:
    world.nodes.fail[P0, "CONFIG"] = error
    with pytest.raises(NodeRefused, match=f"^{P0}: {error}$") as caught:
        await world.act(SetConfig((P0, P1), (("hz", "1"),), "x"))
    assert caught.value.__cause__ is error
    assert set(world.nodes.sent) == {P0, P1}


async def test_after_a_refused_command_the_rest_of_its_batch_is_not_sent(world: World) -> None:
    world.nodes.fail[P0, "SET-CONFIG-EPOCH"] = NodeError("ERR Node config epoch is already non-zero")
    with pytest.raises(NodeRefused):
        await world.act(AssignSlots((Assignment(P0, ((0, 16383),), 1),), "x"))
    assert world.nodes.sent == {P0: [("CLUSTER", "SET-CONFIG-EPOCH", 1)]}


async def test_a_member_that_a_server_has_forgotten_already_is_no_error(world: World) -> None:
    """FORGET spreads by gossip; the members after it are forgotten all the same."""
    world.nodes.fail[P1, "c" * 40] = NodeError(f"ERR Unknown node {'c' * 40}")
    await world.act(Forget((NodeId("c" * 40), NodeId("d" * 40)), "x"))
    assert world.nodes.sent[P1] == [("CLUSTER", "FORGET", "c" * 40), ("CLUSTER", "FORGET", "d" * 40)]


@pytest.mark.parametrize(
    "error", [NodeError("ERR Can't forget my master!"), NodeSilent("connection refused")]
)
async def test_any_other_refusal_to_forget_is_an_error(world: World, error: Exception) -> None:
    world.nodes.fail[P2, "FORGET"] = error
    with pytest.raises(NodeRefused, match=str(error)):
        await world.act(Forget((NodeId("c" * 40),), "x"))
    assert set(world.nodes.sent) == {P0, P1, P2}


async def test_members_are_forgotten_only_by_servers_that_answered(world: World) -> None:
    silent = a_view(pods=(pod(0, server(0)), pod(1, None)))
    await Actor(world.api, world.nodes, world.provisioner, world.lease).act(
        silent, Forget((NodeId("c"),), "x")
    )
    assert set(world.nodes.sent) == {P0}


async def test_an_error_of_kubernetes_is_passed_on(world: World) -> None:
    world.cluster()
    world.api.fail["merge_patch"] = Unreachable("gone")
    with pytest.raises(Unreachable):
        await world.act(HoldFinalizer("x"))


async def test_the_cluster_with_its_finalizer_is_known_before_the_watch_brings_it(world: World) -> None:
    world.cluster("somebody.else/keeps-it")
    learned: list[Any] = []
    actor = Actor(world.api, world.nodes, world.provisioner, world.lease, learn=learned.append)
    await actor.act(VIEW, HoldFinalizer("objects are about to be made"))
    (known,) = learned
    assert known["metadata"]["finalizers"] == world.finalizers()
