"""What may be taken away and who may take over.

`safe_to_remove` is asked of every pod of every small cluster that can be told apart, and its answer is held
against the truth, which it does not see: a node that does not answer may be alive or dead, so a yes must be
right in both worlds. The truth below is counted from the nodes alone and shares no code with daemon/.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from functools import cache
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, Any

import pytest
from views import (
    dead,
    listing,
    new_view,
    node_id,
    silent,
    spec_of,
    whole_view,
    with_pod,
    with_server,
)

from daemon import safety
from daemon.safety import LAG_MAX_BYTES, best_replica, electable, safe_to_remove, safe_to_take_over
from daemon.topology import Applied, NodeId, Peer, PodName, PodView, Server, View
from valkey_cluster import slots
from valkey_cluster.stage import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from valkey_cluster.slots import Ranges


class Is(StrEnum):
    """What a node is in truth."""

    OK = "ok"
    DEAD = "dead, and the kubelet says so"
    GONE = "no pod at all"
    UNREACHABLE = "silent: alive or dead, and the kubelet says that it runs"
    LAGGING = "a replica without link, with the keys that it had"
    STRAY = "a replica of a server that is gone, with the keys that it had"
    EMPTY = "a primary that came back without its keys"
    MIGRATING = "moving slots"
    TERMINATING = "about to end"
    CUT_OFF = "out of the other servers' reach"


AS_PRIMARY = tuple(one for one in Is if one not in (Is.LAGGING, Is.STRAY))
AS_REPLICA = tuple(one for one in Is if one is not Is.EMPTY)
SILENT = (Is.DEAD, Is.GONE, Is.UNREACHABLE)
Shard = tuple[Is, ...]
"""The primary (the owner of the slots, unless somebody else was elected), then the replicas."""
Cluster = tuple[Shard, ...]
Node = tuple[int, int]
"""Number of the shard; 0 for its primary, then its replicas."""


# ---- the truth


def harm(cluster: Cluster, removed: Node, alive: frozenset[Node]) -> str:
    """What is lost when this node is stopped; `alive` are the unreachable ones that live in this world."""
    nodes = {(shard, place): is_ for shard, one in enumerate(cluster) for place, is_ in enumerate(one)}
    ended = {node for node, is_ in nodes.items() if is_ in (Is.DEAD, Is.GONE)}
    ended |= {node for node, is_ in nodes.items() if is_ is Is.UNREACHABLE and node not in alive}
    leaving = {node for node, is_ in nodes.items() if is_ is Is.TERMINATING}
    astray = {node for node, is_ in nodes.items() if is_ is Is.CUT_OFF}
    if removed[1] == 0:
        return "it owns slots"
    for shard, one in enumerate(cluster):
        copies = {node for node in nodes if node[0] == shard and _has_the_keys(node, one)} - ended
        if copies and not copies - leaving - astray - {removed}:
            return f"shard {shard} loses its last copy"
    voters = {(shard, 0) for shard in range(len(cluster))} - ended - leaving - astray
    if 2 * len(voters) <= len(cluster):
        return "no majority of primaries is left"
    if removed not in ended and (ended | leaving) - {removed}:
        return "another one is down already"
    if Is.MIGRATING in nodes.values() or astray - {removed}:
        return "the cluster is not at rest"
    return ""


def _has_the_keys(node: Node, shard: Shard) -> bool:
    """It has all that was acknowledged; of a shard whose primary lost it, as much as there is anywhere."""
    is_ = shard[node[1]]
    if shard[0] is Is.EMPTY:
        return is_ in (Is.LAGGING, Is.STRAY, Is.UNREACHABLE)
    return is_ not in (Is.LAGGING, Is.STRAY)


def worlds(cluster: Cluster) -> Iterator[frozenset[Node]]:
    """Which of the unreachable nodes are alive: every possibility."""
    unknown = [(s, n) for s, one in enumerate(cluster) for n, is_ in enumerate(one) if is_ is Is.UNREACHABLE]
    for choice in product((False, True), repeat=len(unknown)):
        yield frozenset(node for node, lives in zip(unknown, choice, strict=True) if lives)


# ---- what the daemon sees of it


@cache
def _applied(shards: int, members: int) -> View:
    spec = spec_of(shards=shards, replicasPerShard=members - 1)
    view = new_view(spec)
    return replace(view, finalizer=True, applied=Applied(render(view.identity, spec), spec, None))


def name_of(node: Node, members: int) -> PodName:
    """Primaries are at other ordinals in other shards: roles come from the servers alone."""
    shard, place = node
    return PodName(f"demo-{shard}-{(place + shard) % members}")


def seen(cluster: Cluster, *, noticed: bool = False) -> View:
    """The View of it: at the moment when it became so, or after the servers have noticed."""
    members = len(cluster[0])
    nodes = [(shard, place) for shard in range(len(cluster)) for place in range(members)]
    peers = {node: _peer(node, cluster, noticed=noticed) for node in nodes}
    listed = tuple(peers.values())
    down = noticed and any(one[0] in SILENT for one in cluster)
    pods = []
    for index, node in enumerate(nodes):
        is_ = cluster[node[0]][node[1]]
        if is_ is not Is.GONE:
            others = listed[:index] + listed[index + 1 :]
            server = None if is_ in SILENT else _server(node, cluster, peers[node], others, down=down)
            pods.append(_pod(name_of(node, members), peers[node].ip, is_, server))
    return replace(_applied(len(cluster), members), pods=tuple(pods))


def _peer(node: Node, cluster: Cluster, *, noticed: bool) -> Peer:
    shard, place = node
    is_ = cluster[shard][place]
    lost = noticed and is_ in SILENT
    role = "slave" if place else "master"
    leader = NodeId(f"{shard}.gone" if is_ is Is.STRAY else f"{shard}.0") if place else None
    owned: Ranges = () if place else _shares(len(cluster))[shard]
    return Peer(
        NodeId(f"{shard}.{place}"),
        f"10.0.{shard}.{place}",
        _flags(role, lost),
        leader,
        shard,
        not lost,
        owned,
    )


@cache
def _shares(shards: int) -> tuple[Ranges, ...]:
    return slots.even_split(shards)


@cache
def _flags(role: str, lost: bool) -> frozenset[str]:
    return frozenset({role, "fail"} if lost else {role})


def _server(node: Node, cluster: Cluster, me: Peer, others: tuple[Peer, ...], *, down: bool) -> Server:
    shard = cluster[node[0]]
    is_ = shard[node[1]]
    adrift = is_ in (Is.LAGGING, Is.STRAY)
    followed = shard[0] in SILENT
    return Server(
        me,
        others,
        state_ok=is_ is not Is.CUT_OFF and not down,
        link_up=not node[1] or not (adrift or followed),
        offset=100,
        keys=0 if shard[0] is Is.EMPTY and not adrift else 10,
        node_timeout_ms=5000,
        version="9.1.2",
        migrating=is_ is Is.MIGRATING,
    )


def _pod(name: PodName, ip: str, is_: Is, server: Server | None) -> PodView:
    _, shard, ordinal = name.split("-")
    return PodView(
        name,
        f"uid-{name}",
        int(shard),
        int(ordinal),
        ip,
        "node",
        "zone",
        ready=server is not None,
        terminating=is_ is Is.TERMINATING,
        trouble="",
        server=server,
        runs=is_ is not Is.DEAD,
        ended="2026-11-23T10:00:00Z" if is_ is Is.DEAD else "",
    )


# ---- every small cluster


def shards_of(members: int, most_odd: int, states: frozenset[Is]) -> list[Shard]:
    """Every shard that can be told apart, the least odd first: replicas have no order."""
    followers = list(combinations_with_replacement(AS_REPLICA, members - 1))
    made = [(first, *others) for first in AS_PRIMARY for others in followers]
    return sorted((one for one in made if odd(one) <= most_odd and states.issuperset(one)), key=odd)


def odd(shard: Shard) -> int:
    return sum(is_ is not Is.OK for is_ in shard)


def clusters(
    shards: int, members: int, most_odd: int = 99, states: frozenset[Is] = frozenset(Is)
) -> Iterator[Cluster]:
    """Every cluster of this shape with so many nodes at most that are not ok; shards have no order."""
    return _chosen(shards_of(members, most_odd, states), shards, most_odd)


def _chosen(some: list[Shard], count: int, most_odd: int) -> Iterator[Cluster]:
    if count == 0:
        yield ()
        return
    for index, one in enumerate(some):
        left = most_odd - odd(one)
        if left < 0:
            return
        yield from ((one, *rest) for rest in _chosen(some[index:], count - 1, left))


def questions(cluster: Cluster) -> Iterator[Node]:
    """Its nodes that have a pod; of those that cannot be told apart, one."""
    told = set()
    for shard, one in enumerate(cluster):
        for place, is_ in enumerate(one):
            alike = one, place == 0, is_
            if is_ is not Is.GONE and alike not in told:
                told.add(alike)
                yield shard, place


def answers(cluster: Cluster, *, noticed: bool = False) -> dict[Node, str]:
    """What safe_to_remove says of each."""
    view = seen(cluster, noticed=noticed)
    pods = {pod.name: pod for pod in view.pods}
    members = len(cluster[0])
    return {node: safe_to_remove(view, pods[name_of(node, members)]) for node in questions(cluster)}


def wrong(some: Iterable[Cluster], *, noticed: bool = False) -> Iterator[str]:
    """Each yes that does harm in some world."""
    for cluster in some:
        for node, reason in answers(cluster, noticed=noticed).items():
            for alive in worlds(cluster) if not reason else ():
                if why := harm(cluster, node, alive):
                    yield f"{cluster}: {node}: {why}"


SMALL = {"1x0": (1, 1), "1x1": (1, 2), "1x2": (1, 3), "2x0": (2, 1), "2x1": (2, 2), "3x0": (3, 1)}
LARGE = {"2x2": (2, 3), "3x1": (3, 2)}
LARGEST = {"3x2": (3, 3), "4x2": (4, 3)}
AT_REST = frozenset(Is) - {Is.MIGRATING, Is.CUT_OFF}


@pytest.mark.parametrize("noticed", [False, True], ids=["at once", "noticed"])
@pytest.mark.parametrize(("shards", "members"), SMALL.values(), ids=SMALL)
def test_no_yes_does_harm(shards: int, members: int, *, noticed: bool) -> None:
    assert list(wrong(clusters(shards, members), noticed=noticed)) == []


@pytest.mark.parametrize(("shards", "members"), LARGE.values(), ids=LARGE)
def test_no_yes_does_harm_in_any_larger_cluster(shards: int, members: int) -> None:
    """Without what is a no wherever it stands; to all others, a pod that is gone is as one that is dead."""
    assert list(wrong(clusters(shards, members, states=AT_REST - {Is.GONE}))) == []


@pytest.mark.parametrize(("shards", "members"), (LARGE | LARGEST).values(), ids=LARGE | LARGEST)
def test_no_yes_does_harm_with_up_to_three_odd_nodes(shards: int, members: int) -> None:
    assert list(wrong(clusters(shards, members, most_odd=3))) == []


def test_the_order_of_shards_and_replicas_is_no_matter() -> None:
    """What lets the spaces above leave out every other order."""
    for cluster in clusters(2, 3, most_odd=2):
        turned = tuple((one[0], *reversed(one[1:])) for one in reversed(cluster))
        assert _allowed(cluster) == _allowed(turned)


def _allowed(cluster: Cluster) -> set[tuple[Shard, bool, Is]]:
    """What is allowed, in words that do not depend on the order."""
    may_go = [node for node, reason in answers(cluster).items() if not reason]
    return {((cluster[s][0], *sorted(cluster[s][1:])), n == 0, cluster[s][n]) for s, n in may_go}


SHAPES = {**SMALL, **LARGE, **LARGEST}


@pytest.mark.parametrize(("shards", "members"), SHAPES.values(), ids=SHAPES)
def test_of_a_healthy_cluster_every_replica_may_go_and_no_primary(shards: int, members: int) -> None:
    (healthy,) = clusters(shards, members, most_odd=0)
    view = seen(healthy)
    may_go = {pod.name for pod in view.pods if not safe_to_remove(view, pod)}
    assert may_go == {pod.name for pod in view.pods if pod.server and not pod.server.me.slots}


@pytest.mark.parametrize("noticed", [False, True], ids=["at once", "noticed"])
@pytest.mark.parametrize(("shards", "members"), SHAPES.values(), ids=SHAPES)
def test_a_pod_that_does_not_run_may_go_while_all_slots_have_an_owner(
    shards: int, members: int, *, noticed: bool
) -> None:
    """Whoever else is missing: otherwise two pods that cannot start would wait for each other for ever."""
    serving = frozenset({Is.OK, Is.DEAD, Is.GONE, Is.UNREACHABLE, Is.LAGGING, Is.STRAY, Is.TERMINATING})
    asked = 0
    for cluster in clusters(shards, members, most_odd=3, states=serving):
        if any(one[0] is not Is.OK for one in cluster):
            continue
        view = seen(cluster, noticed=noticed)
        for node, reason in answers(cluster, noticed=noticed).items():
            if cluster[node[0]][node[1]] is Is.DEAD and all(one.state_ok for one in view.servers.values()):
                assert not reason, cluster
                asked += 1
    assert asked or members == 1 or noticed


# ---- the checks are all needed


def no(*_: Any) -> str:
    return ""


def without_silent(view: View, pod: PodView) -> str:
    return "" if pod.server is None else HOLDS(view, pod)


def without_stray(view: View, pod: PodView) -> str:
    return "" if pod.server and pod.server.me.primary_id not in view.pod_of else HOLDS(view, pod)


def without_lagging(view: View, pod: PodView) -> str:
    return "" if pod.server and not pod.server.link_up else HOLDS(view, pod)


def without_leaving(view: View, pod: PodView) -> str:
    staying = tuple(replace(one, terminating=False) for one in view.pods)
    return OTHERS(replace(view, pods=staying), pod)


HOLDS, OTHERS = safety._holds, safety._others_missing
MUTANTS: dict[str, tuple[str, Callable[..., str], set[str]]] = {
    "owners": ("_owners_missing", no, {"it owns slots"}),
    "rest": ("_unsettled", no, {"the cluster is not at rest"}),
    "others": ("_others_missing", no, {"another one is down already"}),
    "leaving ones": ("_others_missing", without_leaving, {"another one is down already"}),
    "content": ("_holds", no, {"shard 0 loses its last copy"}),
    "content of the silent": ("_holds", without_silent, {"shard 0 loses its last copy"}),
    "content of strays": ("_holds", without_stray, {"shard 0 loses its last copy"}),
    "content of the lagging": ("_holds", without_lagging, {"shard 0 loses its last copy"}),
}


@pytest.mark.parametrize(("helper", "mutant", "harms"), MUTANTS.values(), ids=MUTANTS)
def test_without_this_check_harm_is_done(
    monkeypatch: pytest.MonkeyPatch, helper: str, mutant: Callable[..., str], harms: set[str]
) -> None:
    monkeypatch.setattr(safety, helper, mutant)
    found = [*wrong(clusters(2, 2, most_odd=3)), *wrong(clusters(1, 3))]
    assert {one.rpartition(": ")[2] for one in found} >= harms


# ---- safe_to_remove by its words


def pod_of(view: View, name: str) -> PodView:
    return next(pod for pod in view.pods if pod.name == name)


REMOVAL: dict[str, tuple[Callable[[], View], str]] = {
    "a view that may be old": (
        lambda: replace(whole_view(), blind="the watch has ended"),
        "the watch has ended",
    ),
    "another primary that is leaving": (
        lambda: with_pod(whole_view(), "demo-0-0", terminating=True),
        "without demo-1-1 nobody serves the slots 0-5460",
    ),
    "another primary that is silent": (
        lambda: silent(whole_view(), "demo-0-0"),
        "without demo-1-1 nobody serves the slots 0-5460",
    ),
    "a server that is not ok": (
        lambda: with_server(whole_view(), "demo-2-1", state_ok=False),
        "demo-2-1 says that the cluster is not ok",
    ),
    "a migration": (
        lambda: with_server(whole_view(), "demo-2-0", migrating=True),
        "slots of demo-2-0 are on their way",
    ),
    "a slot that was opened by hand": (
        lambda: with_server(whole_view(), "demo-2-0", open_slots=True),
        "slots of demo-2-0 are on their way",
    ),
    "a replica that is silent": (lambda: silent(whole_view(), "demo-0-1"), "demo-0-1 is not there"),
    "a replica that is leaving": (
        lambda: with_pod(whole_view(), "demo-0-1", terminating=True),
        "demo-0-1 is not there",
    ),
    "silence of its own": (
        lambda: silent(whole_view(), "demo-1-1"),
        "demo-1-1 runs and does not answer: nobody knows what it holds",
    ),
    "keys without a primary": (
        lambda: with_server(whole_view(), "demo-1-1", primary_id=NodeId("id-gone"), link_up=False),
        "demo-1-1 holds 10 keys and follows no server that answers",
    ),
    "keys that its primary has not": (
        lambda: with_server(with_server(whole_view(), "demo-1-0", keys=0), "demo-1-1", link_up=False),
        "demo-1-1 holds 10 keys, more than its primary demo-1-0 has received",
    ),
}


@pytest.mark.parametrize(("situation", "reason"), REMOVAL.values(), ids=REMOVAL)
def test_why_a_replica_must_stay(situation: Callable[[], View], reason: str) -> None:
    view = situation()
    assert safe_to_remove(view, pod_of(view, "demo-1-1")) == reason


def test_a_primary_stays() -> None:
    view = whole_view()
    assert safe_to_remove(view, pod_of(view, "demo-1-0")) == (
        "without demo-1-0 nobody serves the slots 5461-10921"
    )


def test_a_primary_that_was_replaced_and_does_not_know_it_yet_stays() -> None:
    """Both claim the slots; the one that was elected has the higher epoch."""
    owner = {"flags": frozenset({"myself", "master"}), "primary_id": None, "slots": ((0, 5460),)}
    view = with_server(whole_view(), "demo-0-1", **owner, config_epoch=9)
    assert safe_to_remove(view, pod_of(view, "demo-0-0")) == "demo-0-0 owns slots"


def test_a_replica_with_the_keys_of_a_primary_that_has_lost_them_stays_also_after_the_first_new_write() -> (
    None
):
    view = with_server(whole_view(), "demo-1-0", keys=1, offset=20)
    view = with_server(view, "demo-1-1", keys=1000, offset=90_000, link_up=False)
    assert safe_to_remove(view, pod_of(view, "demo-1-1"))


# ---- safe_to_take_over


TAKE_OVER: dict[str, tuple[Callable[[], View], str]] = {
    "a view that may be old": (
        lambda: replace(whole_view(), blind="the watch has ended"),
        "the watch has ended",
    ),
    "its own silence": (
        lambda: silent(whole_view(), "demo-1-1"),
        "demo-1-1 or its primary does not answer",
    ),
    "a primary that is silent": (
        lambda: silent(whole_view(), "demo-1-0"),
        "demo-1-1 or its primary does not answer",
    ),
    "leaving": (
        lambda: with_pod(whole_view(), "demo-1-1", terminating=True),
        "demo-1-1 is terminating",
    ),
    "another primary": (
        lambda: with_server(whole_view(), "demo-1-1", primary_id=node_id(0, 0)),
        "demo-1-1 is not in sync with demo-1-0",
    ),
    "a link that is down": (
        lambda: with_server(whole_view(), "demo-1-1", link_up=False),
        "demo-1-1 is not in sync with demo-1-0",
    ),
    "lag": (
        lambda: with_server(whole_view(), "demo-1-0", offset=100 + LAG_MAX_BYTES + 1),
        f"demo-1-1 is behind demo-1-0 (by {LAG_MAX_BYTES + 1} bytes)",
    ),
    "a silent member": (lambda: silent(whole_view(), "demo-0-1"), "demo-0-1 is not there"),
    "a member that is leaving": (
        lambda: with_pod(whole_view(), "demo-0-1", terminating=True),
        "demo-0-1 is not there",
    ),
    "a primary that is leaving": (
        lambda: with_pod(whole_view(), "demo-1-0", terminating=True),
        "demo-1-0 is not there",
    ),
    "a server that is not ok": (
        lambda: with_server(whole_view(), "demo-0-0", state_ok=False),
        "demo-0-0 says that the cluster is not ok",
    ),
    "a migration": (
        lambda: with_server(whole_view(), "demo-0-0", migrating=True),
        "slots of demo-0-0 are on their way",
    ),
    "a voter without link to it": (
        lambda: listing(whole_view(), "demo-0-0", "demo-1-1", connected=False),
        "demo-0-0 has no link to demo-1-1 yet",
    ),
    "a voter that suspects it": (
        lambda: listing(whole_view(), "demo-2-0", "demo-1-1", flags=frozenset({"slave", "fail?"})),
        "demo-2-0 has no link to demo-1-1 yet",
    ),
    "a voter that knows no address of it": (
        lambda: listing(whole_view(), "demo-2-0", "demo-1-1", flags=frozenset({"slave", "noaddr"})),
        "demo-2-0 has no link to demo-1-1 yet",
    ),
    "a voter that is still meeting it": (
        lambda: listing(whole_view(), "demo-2-0", "demo-1-1", flags=frozenset({"handshake"})),
        "demo-2-0 has no link to demo-1-1 yet",
    ),
    "a voter that it has no link to": (
        lambda: listing(whole_view(), "demo-1-1", "demo-2-0", connected=False),
        "demo-1-1 has no link to demo-2-0 yet",
    ),
    "a replica elsewhere that it has no link to": (
        lambda: listing(whole_view(), "demo-1-1", "demo-2-1", connected=False),
        "demo-1-1 has no link to demo-2-1 yet",
    ),
}


@pytest.mark.parametrize(("situation", "reason"), TAKE_OVER.values(), ids=TAKE_OVER)
def test_why_a_replica_must_not_take_over_yet(situation: Callable[[], View], reason: str) -> None:
    view = situation()
    assert safe_to_take_over(view, pod_of(view, "demo-1-1")) == reason


def test_a_primary_cannot_take_over() -> None:
    view = whole_view()
    assert safe_to_take_over(view, pod_of(view, "demo-1-0")) == "demo-1-0 is the primary already"


@pytest.mark.parametrize(
    "situation",
    [
        whole_view,
        lambda: whole_view(spec_of(shards=1)),
        lambda: with_server(whole_view(), "demo-1-0", offset=100 + LAG_MAX_BYTES),
        lambda: listing(whole_view(), "demo-0-0", "demo-2-0", connected=False),
    ],
    ids=["whole", "of one shard", "a little behind", "others without a link between them"],
)
def test_a_replica_in_sync_and_in_contact_may_take_over(situation: Callable[[], View]) -> None:
    view = situation()
    replica = max((pod for pod in view.pods if pod.shard == view.shards // 2), key=lambda pod: pod.ordinal)
    assert safe_to_take_over(view, replica) == ""


# ---- electable


def lost_primary(**spec: Any) -> View:
    """The container of demo-0-0 has ended a second ago."""
    return dead(whole_view(spec_of(**spec)), "demo-0-0", ended_s_ago=1.0)


def broken_link(down_s: int, view: View | None = None) -> View:
    return with_server(view or lost_primary(), "demo-0-1", link_up=False, link_down_s=down_s)


def two_more_lost(shards: int) -> View:
    return silent(silent(lost_primary(shards=shards), "demo-1-0"), "demo-2-0")


NOT_ELECTABLE: dict[str, tuple[Callable[[], View], str]] = {
    "silence": (lambda: silent(lost_primary(), "demo-0-1"), "demo-0-1 does not follow it"),
    "leaving": (
        lambda: with_pod(lost_primary(), "demo-0-1", terminating=True),
        "demo-0-1 does not follow it",
    ),
    "another primary": (
        lambda: with_server(lost_primary(), "demo-0-1", primary_id=node_id(1, 0)),
        "demo-0-1 does not follow it",
    ),
    "a link that was never up": (lambda: broken_link(-1), "demo-0-1 was not in sync with it"),
    "a link that was down before": (lambda: broken_link(4), "demo-0-1 was not in sync with it"),
    "the only shard": (lambda: lost_primary(shards=1), "only 0 of 1 primaries can vote"),
    "one of two shards": (lambda: lost_primary(shards=2), "only 1 of 2 primaries can vote"),
    "a minority of three": (lambda: silent(lost_primary(), "demo-1-0"), "only 1 of 3 primaries can vote"),
    "a half of four": (
        lambda: silent(lost_primary(shards=4), "demo-1-0"),
        "only 2 of 4 primaries can vote",
    ),
    "a minority of five": (
        lambda: silent(two_more_lost(5), "demo-3-0"),
        "only 1 of 5 primaries can vote",
    ),
}


@pytest.mark.parametrize(("situation", "reason"), NOT_ELECTABLE.values(), ids=NOT_ELECTABLE)
def test_why_a_replica_must_not_be_made_primary(situation: Callable[[], View], reason: str) -> None:
    view = situation()
    assert electable(view, pod_of(view, "demo-0-1"), node_id(0, 0), 1.0) == reason


ELECTABLE: dict[str, Callable[[], View]] = {
    "its link looks up still": lost_primary,
    "its link broke with the end": lambda: broken_link(1),
    "its link broke just now": lambda: broken_link(0),
    "its clock is a second off, and so is the kubelet's": lambda: broken_link(3),
    "three of five primaries vote": lambda: silent(lost_primary(shards=5), "demo-1-0"),
}


@pytest.mark.parametrize("situation", ELECTABLE.values(), ids=ELECTABLE)
def test_a_replica_that_was_in_sync_may_be_made_primary(situation: Callable[[], View]) -> None:
    view = situation()
    assert electable(view, pod_of(view, "demo-0-1"), node_id(0, 0), 1.0) == ""


def test_the_primary_that_is_lost_has_no_vote() -> None:
    """Its pod answers again, and it still counts as one of the primaries that there were."""
    view = silent(whole_view(), "demo-1-0")
    assert electable(view, pod_of(view, "demo-0-1"), node_id(0, 0), 1.0) == "only 1 of 3 primaries can vote"


# ---- best_replica


def with_offsets(*offsets: int) -> tuple[PodView, ...]:
    view = whole_view(spec_of(replicasPerShard=len(offsets)))
    for ordinal, offset in enumerate(offsets, 1):
        view = with_server(view, f"demo-0-{ordinal}", offset=offset)
    return tuple(pod for pod in view.pods if pod.shard == 0 and pod.ordinal)


@pytest.mark.parametrize(
    ("offsets", "best"), [((5, 9, 7), "demo-0-2"), ((7, 7), "demo-0-1"), ((0,), "demo-0-1")]
)
def test_the_best_replica_has_received_most(offsets: tuple[int, ...], best: str) -> None:
    found = best_replica(with_offsets(*offsets))
    assert found
    assert found.name == best


def test_of_no_replicas_none_is_best() -> None:
    assert best_replica(()) is None


def test_a_replica_that_does_not_answer_is_the_last_choice() -> None:
    first, second = with_offsets(9, 0)
    assert best_replica((replace(first, server=None), second)) is second
