"""Rules that move slots between shards by atomic slot migration (9.0 and newer), a batch at a time.

What has to move follows from who owns what now (slots.moves), so it does not matter who left the slots as
they are: a shard that was added, one that is to go, an operator, a migration that broke off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.balance import exports, remaining, weights
from daemon.steps import Blocked, CancelMigrations, MigrateSlots, Step, Transfer, Wait
from valkey_cluster import slots
from valkey_cluster.spec.versions import version_tuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.topology import Server, View
    from valkey_cluster.slots import Move
    from valkey_cluster.spec.rebalance import RebalanceSpec

ATOMIC_SINCE = (9, 0, 0)
BATCH_BYTES = 8 << 20
"""A batch is no larger than this, however few its keys are."""
FULL = 0.95
"""Data that would fill more than this share of a shard's maxmemory do not fit."""
RETRY_S = 5.0
"""A transfer that failed is tried again after this long."""
LOOK_S = 0.03
_REMEDY = "see docs/runbooks/slots-wait.md; spec.rebalance.mode Off stops it"


def refuse_move(view: View) -> Step | None:
    """Slots that cannot be moved, or that the others cannot hold: nothing is begun."""
    if view.goal is None or not _rebalance(view) or not remaining(view).moves:
        return None
    return _too_old(view) or _overfull(view) or _has_stray_keys(view)


def cancel_moves(view: View) -> Step | None:
    """With `spec.rebalance.mode: Off`, what is on its way is called back."""
    if view.goal is None or _rebalance(view):
        return None
    pods = tuple(sorted({pod.name for pod, _ in exports(view)}))
    if pods:
        return CancelMigrations(pods, f"spec.rebalance.mode is Off: {', '.join(pods)} keep their slots")
    return None


def move_slots(view: View) -> Step | None:
    """The next batches of each shard that gives slots away and has nothing on its way."""
    spec = _rebalance(view)
    if spec is None:
        return None
    left = remaining(view)
    active = exports(view)
    transfers = _next(view, spec, left.moves, len(active))
    if transfers:
        text = ", ".join(f"{one.source} -> {one.target} {slots.text(one.slots)}" for one in transfers)
        return MigrateSlots(transfers, f"moving slots: {left.text} ({text})")
    if active:
        text = ", ".join(f"{slots.text(one.slots)} of {pod.name}: {one.state}" for pod, one in active)
        return Wait(LOOK_S, f"waiting for slots to arrive ({text}; then {left.text})", _REMEDY)
    failed = [text for move in left.moves if (text := _failure(view, move))]
    if failed:
        return Wait(0.5, f"a transfer of slots failed and is tried again ({'; '.join(failed)})", _REMEDY)
    return None


def whole(view: View) -> MigrateSlots:
    """All moves at once, for a plan, with the number of batches one after the other that they are made in."""
    spec = _rebalance(view)
    left = remaining(view)
    transfers, batches = [], 0
    for move in left.moves:
        source, target = view.leader(move.source), view.leader(move.target)
        if spec is None or not source or not source.server or not target or not target.server:
            continue
        transfers.append(Transfer(source.name, target.name, target.server.me.node_id, move.slots))
        batches += -(-slots.count(move.slots) // _batch(source.server, spec))
    side_by_side = min(spec.parallel if spec else 1, len({one.source for one in transfers}) or 1)
    text = ", ".join(f"{one.source} -> {one.target} {slots.text(one.slots)}" for one in transfers)
    because = f"moving slots: {left.text} ({text})"
    return MigrateSlots(tuple(transfers), because, -(-batches // side_by_side), left.bytes)


def await_others(view: View) -> Step | None:
    """A migration that none of our primaries gives: somebody else's, or its giver has been demoted."""
    busy = sorted(name for name, server in view.servers.items() if server.migrating)
    if not busy:
        return None
    return Wait(LOOK_S, f"waiting for slots to arrive (on {', '.join(busy)})", _REMEDY)


def _next(view: View, spec: RebalanceSpec, moves: Sequence[Move], busy: int) -> tuple[Transfer, ...]:
    """A batch for each pair whose source is free, as many as may move at a time; none to a failing pair."""
    found: list[Transfer] = []
    for move in moves:
        source, target = view.leader(move.source), view.leader(move.target)
        if source is None or source.server is None or target is None or target.server is None:
            continue
        if source.server.migrating or busy + len(found) >= spec.parallel or _failure(view, move):
            continue
        batch = slots.first(move.slots, _batch(source.server, spec))
        found.append(Transfer(source.name, target.name, target.server.me.node_id, batch))
    return tuple(found)


def _batch(server: Server, spec: RebalanceSpec) -> int:
    """Slots that have about as many keys as one batch may have, as if keys were spread evenly."""
    owned = slots.count(server.me.slots)
    by_keys = owned * spec.batch_keys // max(server.keys, 1)
    by_bytes = owned * BATCH_BYTES // max(server.dataset_bytes, 1) if server.keys else owned
    return max(1, min(by_keys, by_bytes))


def _failure(view: View, move: Move) -> str:
    """Why the last transfer of this pair failed, if that is only just past."""
    source, target = view.leader(move.source), view.leader(move.target)
    if source is None or source.server is None or target is None or target.server is None:
        return f"shard {move.source if source is None else move.target} has no primary"
    last = next((one for one in source.server.migrations if one.exports), None)
    recent = last is not None and view.now - last.updated < RETRY_S
    if last is None or last.state != "failed" or not recent or last.target != target.server.me.node_id:
        return ""
    return f"{source.name} -> {target.name}: {last.message}"


def _rebalance(view: View) -> RebalanceSpec | None:
    """The settings, unless slots are not to be moved."""
    goal = view.goal
    return goal.rebalance if goal is not None and goal.rebalance.mode == "Automatic" else None


def _too_old(view: View) -> Step | None:
    old = sorted(name for name, one in view.servers.items() if version_tuple(one.version) < ATOMIC_SINCE)
    if not old:
        return None
    return Blocked(
        reason="TooOldToMoveSlots",
        because=f"slots have to move, and Valkey moves them without a gap from 9.0 on; {', '.join(old)} "
        "run an older version; nothing was touched",
        remedy="upgrade to Valkey 9 first, or set spec.shards back",
    )


def _overfull(view: View) -> Step | None:
    """Shards that could not hold their share: the data would be evicted, or writes refused."""
    shares = weights(view)
    primaries = [pod.server for shard in view.sets if (pod := view.primary(shard)) and pod.server]
    data = sum(server.dataset_bytes for server in primaries)
    for shard, weight in shares.items():
        leader = view.leader(shard)
        if leader is None or leader.server is None or not weight:
            continue
        limit = int(leader.server.config.get("maxmemory", 0))
        expected = data * weight // sum(shares.values())
        if limit and FULL * limit < expected and leader.server.dataset_bytes < expected:
            return Blocked(
                reason="DataDoNotFit",
                because=f"{data >> 20} MB of data on {sum(bool(one) for one in shares.values())} shards are "
                f"{expected >> 20} MB for shard {shard}, whose maxmemory is {limit >> 20} MB; "
                "nothing was touched",
                remedy="keep more shards, raise the memory limit, or delete data",
            )
    return None


def _has_stray_keys(view: View) -> Step | None:
    for shard in view.sets:
        leader = view.leader(shard)
        if leader and leader.server and leader.server.keys and not leader.server.me.slots:
            return Blocked(
                reason="MemberHasKeys",
                because=f"{leader.name} owns no slots but holds {leader.server.keys} keys: "
                "none are moved to it",
                remedy=f"save what is needed from {leader.name}, then run FLUSHALL on it",
            )
    return None
