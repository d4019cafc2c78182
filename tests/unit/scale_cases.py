"""Cases of decide: shards and replicas more or less, slots on their way, no majority left to vote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from decide_cases import Case
from views import (
    NOW,
    dead,
    edited,
    later,
    node_id,
    provisioned,
    replaced,
    scaled,
    spec_of,
    told,
    whole_view,
    with_pod,
    with_server,
)

from daemon.decide import decide
from daemon.steps import (
    Blocked,
    CancelMigrations,
    DeleteClaims,
    Failover,
    Forget,
    MigrateSlots,
    Provision,
    Replicate,
    Retire,
    SetConfig,
    Steady,
    TakeOver,
    Wait,
)
from daemon.topology import Claim, Migration, NodeId
from valkey_cluster import slots

if TYPE_CHECKING:
    from daemon.topology import Server, View
    from valkey_cluster.slots import Ranges


def migration(
    state: str, *, seconds_ago: float = 0.0, message: str = "", to: NodeId | None = None
) -> Migration:
    span: Ranges = ((0, 99),)
    source, target = node_id(0, 0), to or node_id(3, 0)
    return Migration(True, state, span, source, target, message, NOW - seconds_ago)


def grown(**fields: Any) -> View:
    """Shard 3 was added: its server leads its replica, and owns nothing yet."""
    asked = edited(**{"shards": 4, **fields})
    view = scaled(provisioned(asked, decide(asked)))
    for name in ("demo-3-0", "demo-3-1"):
        view = with_server(view, name, slots=(), keys=0)
    return replace(view, pods=tuple(replace(pod, server=_seeing(view, pod.server)) for pod in view.pods))


def _seeing(view: View, server: Server | None) -> Server | None:
    """Peers as they are."""
    if server is None:
        return None
    mine = (pod.server.me for pod in view.pods if pod.server)
    others = (replace(one, flags=one.flags - {"myself"}) for one in mine if one.node_id != server.me.node_id)
    return replace(server, peers=tuple(others))


def moving(state: str, **changes: Any) -> View:
    """Shard 0 gives a batch to shard 3."""
    one = migration(state, **changes)
    view = grown(rebalance={"parallel": 1})
    return with_server(view, "demo-0-0", migrations=(one,), migrating=one.is_active)


def even(owned: dict[str, Ranges]) -> View:
    """Four shards of which the servers own what is said."""
    view = whole_view(spec_of(shards=4))
    for name, span in owned.items():
        view = with_server(view, name, slots=span)
    return replace(view, pods=tuple(replace(pod, server=_seeing(view, pod.server)) for pod in view.pods))


def drained(*retired: str, **fields: Any) -> View:
    """Three shards are wanted; shard 3 owns nothing any more, and these of its pods are retired."""
    thirds = slots.even_split(3)
    view = even({**{f"demo-{shard}-0": span for shard, span in enumerate(thirds)}, "demo-3-0": ()})
    for name in ("demo-3-0", "demo-3-1"):
        view = with_server(view, name, keys=0)
    view = replace(view, spec=spec_of(shards=3, **fields), generation=2)
    for name in retired:
        alone = frozenset({"myself", "master"})
        view = with_server(
            view, name, node_id=NodeId(f"new-{name}"), flags=alone, primary_id=None, peers=(), state_ok=False
        )
    return view


def forgotten(view: View) -> View:
    """Nobody lists a member any more that no pod holds."""
    here = {pod.server.me.node_id for pod in view.pods if pod.server and pod.server.peers}
    for pod in view.pods:
        if pod.server and pod.server.peers:
            view = with_server(
                view, pod.name, peers=tuple(one for one in pod.server.peers if one.node_id in here)
            )
    return view


CLAIMS = tuple(Claim(f"data-demo-3-{ordinal}", f"uid-{ordinal}") for ordinal in range(2))


def fewer_replicas(primary: str = "demo-0-0") -> View:
    """Two replicas of each shard are wanted, and there are three."""
    view = whole_view(spec_of(replicasPerShard=3))
    view = replace(view, spec=spec_of(replicasPerShard=2), generation=2)
    return view if primary == "demo-0-0" else led_by_the_last(view)


def led_by_the_last(view: View) -> View:
    owned, lead = slots.even_split(3)[0], node_id(0, 3)
    changes = {"flags": frozenset({"myself", "slave"}), "primary_id": lead, "slots": ()}
    for ordinal in range(3):
        view = with_server(view, f"demo-0-{ordinal}", **changes)
    flags = frozenset({"myself", "master"})
    view = with_server(view, "demo-0-3", flags=flags, primary_id=None, slots=owned)
    return replace(view, pods=tuple(replace(pod, server=_seeing(view, pod.server)) for pod in view.pods))


def without_majority(*, persistent: bool = True, **fields: Any) -> View:
    """A single shard: nobody is left to vote."""
    spec = spec_of(shards=1, persistence={"enabled": persistent}, **fields)
    return whole_view(spec)


def two_of_three_lost() -> View:
    """Two primaries are gone with their claims; their pods are back, empty."""
    return replaced(replaced(whole_view(), "demo-0-0"), "demo-1-0")


def waited(view: View, seconds: float) -> View:
    return later(told(view)[0], seconds)


def drained_by_hand() -> View:
    """Somebody moved the slots of shard 1 to shard 0."""
    view = with_server(whole_view(), "demo-0-0", slots=((0, 10921),))
    view = with_server(view, "demo-1-0", slots=(), keys=0)
    view = with_server(view, "demo-1-1", keys=0)
    return replace(view, pods=tuple(replace(pod, server=_seeing(view, pod.server)) for pod in view.pods))


def full(view: View) -> View:
    for pod in view.pods:
        assert pod.server
        limit = int(pod.server.config["maxmemory"])
        view = with_server(view, pod.name, dataset_bytes=limit * 3 // 4)
    return view


def retired_but(view: View, *names: str) -> View:
    """These were retired and forgotten."""
    for name in names:
        alone = frozenset({"myself", "master"})
        view = with_server(
            view,
            name,
            node_id=NodeId(f"new-{name}"),
            flags=alone,
            primary_id=None,
            peers=(),
            keys=0,
            state_ok=False,
        )
    return forgotten(view)


def led_by_nobody() -> View:
    """Both members of shard 1 follow the primary of shard 0, which has its slots."""
    view = drained_by_hand()
    for name in ("demo-1-0", "demo-1-1"):
        view = with_server(view, name, flags=frozenset({"myself", "slave"}), primary_id=node_id(0, 0))
    return view


CASES = [
    Case(
        "a shard more is made", lambda: edited(shards=4), Provision, "following the spec: StatefulSet demo-3"
    ),
    Case(
        "a replica more is made",
        lambda: replace(
            whole_view(spec_of(replicasPerShard=2)), spec=spec_of(replicasPerShard=3), generation=2
        ),
        Provision,
        "following the spec: StatefulSet demo-0",
    ),
    Case(
        "a new shard's servers agree soon, while the others serve",
        lambda: with_server(
            grown(), "demo-3-0", peers=(), flags=frozenset({"myself", "master"}), state_ok=False
        ),
        SetConfig,
        "demo-3-0 own no slots and know nobody yet: a short node-timeout",
    ),
    Case(
        "a new shard gets a leader",
        lambda: with_server(grown(), "demo-3-1", flags=frozenset({"myself", "master"}), primary_id=None),
        Replicate,
        "join as replicas",
    ),
    Case("then its share of the slots, from all others at once", grown, MigrateSlots, "4096 slots"),
    Case(
        "not more at a time than is said",
        lambda: grown(rebalance={"parallel": 1}),
        MigrateSlots,
        "(demo-2-0 -> demo-3-0",
    ),
    Case(
        "slots that are on their way are waited for",
        lambda: moving("replicating"),
        Wait,
        "0-99 of demo-0-0: replicating",
    ),
    Case(
        "so are those in a state that is not known",
        lambda: moving("dancing"),
        Wait,
        "0-99 of demo-0-0: dancing",
    ),
    Case("after a batch comes the next", lambda: moving("success"), MigrateSlots, "4096 slots"),
    Case(
        "a transfer that has just failed is not repeated at once",
        lambda: with_server(
            even({"demo-0-0": ((0, 4096),), "demo-1-0": ((4097, 8191),)}),
            "demo-0-0",
            migrations=(migration("failed", message="target out of memory", to=node_id(1, 0)),),
        ),
        Wait,
        "demo-0-0 -> demo-1-0: target out of memory",
    ),
    Case(
        "but a little later",
        lambda: with_server(
            even({"demo-0-0": ((0, 4096),), "demo-1-0": ((4097, 8191),)}),
            "demo-0-0",
            migrations=(migration("failed", seconds_ago=6, to=node_id(1, 0)),),
        ),
        MigrateSlots,
        "demo-0-0 -> demo-1-0 4096",
    ),
    Case(
        "a migration that somebody else has begun is waited for",
        lambda: with_server(whole_view(), "demo-1-0", migrating=True),
        Wait,
        "slots to arrive (on demo-1-0)",
    ),
    Case(
        "what was drained by hand gets its share again",
        drained_by_hand,
        MigrateSlots,
        "demo-0-0 -> demo-1-0",
    ),
    Case(
        "a shard of which nobody can lead is not steady",
        led_by_nobody,
        Wait,
        "shards 1 serve with fewer copies than asked for",
    ),
    Case(
        "a server with keys and without slots gets none",
        lambda: with_server(drained_by_hand(), "demo-1-0", keys=3),
        Blocked,
        "MemberHasKeys",
    ),
    Case(
        "an older Valkey moves no slots",
        lambda: with_server(grown(), "demo-2-1", version="8.1.1"),
        Blocked,
        "TooOldToMoveSlots",
    ),
    Case(
        "shards that could not hold the data are not left with them",
        lambda: full(replace(whole_view(spec_of(shards=4)), spec=spec_of(shards=3), generation=2)),
        Blocked,
        "DataDoNotFit",
    ),
    Case(
        "Off moves nothing",
        lambda: replace(drained_by_hand(), spec=spec_of(rebalance={"mode": "Off"})),
        Steady,
    ),
    Case(
        "and calls back what is on its way",
        lambda: with_server(
            replace(drained_by_hand(), spec=spec_of(rebalance={"mode": "Off"})),
            "demo-0-0",
            migrations=(migration("replicating"),),
            migrating=True,
        ),
        CancelMigrations,
        "demo-0-0 keep their slots",
    ),
    Case(
        "a shard that goes gives its slots away",
        lambda: replace(whole_view(spec_of(shards=4)), spec=spec_of(shards=3), generation=2),
        MigrateSlots,
        "demo-3-0 ->",
    ),
    Case(
        "and stays when slots are not to be moved",
        lambda: replace(whole_view(spec_of(shards=4)), spec=spec_of(rebalance={"mode": "Off"}), generation=2),
        Blocked,
        "SlotsStay shard 3 is to go and still owns slots",
    ),
    Case("a replica of it is retired first", drained, Retire, "demo-3-1 leaves: its server is reset"),
    Case(
        "not while another member is missing",
        lambda: with_pod(drained(), "demo-1-1", ready=False),
        Wait,
        "demo-3-1 leaves (demo-1-1 is not there)",
    ),
    Case("what was retired is forgotten at once", lambda: drained("demo-3-1"), Forget, "1 former member(s)"),
    Case(
        "then its primary is retired",
        lambda: forgotten(drained("demo-3-1")),
        Retire,
        "demo-3-0 leaves",
    ),
    Case(
        "then volumes go",
        lambda: replace(forgotten(drained("demo-3-1", "demo-3-0")), claims=CLAIMS),
        DeleteClaims,
        "removing data-demo-3-0, data-demo-3-1",
    ),
    Case(
        "and are kept where that is said",
        lambda: replace(
            forgotten(drained("demo-3-1", "demo-3-0", persistence={"whenScaled": "Retain"})), claims=CLAIMS
        ),
        Provision,
        "StatefulSet demo-3 goes",
    ),
    Case(
        "then the pods",
        lambda: forgotten(drained("demo-3-1", "demo-3-0")),
        Provision,
        "StatefulSet demo-3 goes",
    ),
    Case("a replica too many is retired", fewer_replicas, Retire, "demo-2-3 leaves"),
    Case(
        "a primary too many hands over first",
        lambda: retired_but(fewer_replicas("demo-0-3"), "demo-1-3", "demo-2-3"),
        Failover,
        "demo-0-3 leaves: demo-0-0 takes over as primary",
    ),
    Case(
        "a shard alone: at the kubelet's word its replica takes over without a vote",
        lambda: dead(without_majority(), "demo-0-0"),
        TakeOver,
        "demo-0-1 takes over without a vote",
    ),
    Case(
        "not one that was not in sync",
        lambda: with_server(
            dead(without_majority(), "demo-0-0", ended_s_ago=1.0), "demo-0-1", link_up=False, link_down_s=60
        ),
        Wait,
        "waiting for the election of demo-0-1",
    ),
    Case(
        "several primaries lost with their claims: an election is waited for first",
        two_of_three_lost,
        Wait,
        "waiting for the election of demo-0-1",
    ),
    Case(
        "then a replica takes over",
        lambda: waited(two_of_three_lost(), 10),
        TakeOver,
        "no majority is left to elect another: demo-0-1 takes over without a vote",
    ),
    Case(
        "but not while a pod is silent that may bring the data back",
        lambda: waited(with_pod(two_of_three_lost(), "demo-0-0", server=None), 10),
        Wait,
        "waiting for the election",
    ),
    Case(
        "nor where a majority can elect",
        lambda: waited(replaced(whole_view(), "demo-0-0"), 10),
        Wait,
        "waiting for the election",
    ),
    Case(
        "volumes that would have to grow",
        lambda: edited(persistence={"size": "2Gi"}),
        Blocked,
        "NotSupportedYet",
    ),
]
