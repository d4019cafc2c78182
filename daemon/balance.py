"""Which slots have to move between shards, by who owns what now and who should. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from valkey_cluster import slots
from valkey_cluster.stage import key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.topology import Migration, NodeId, PodView, View
    from valkey_cluster.slots import Move, Ranges


@dataclass(frozen=True)
class Remaining:
    """What is still to be moved."""

    moves: tuple[Move, ...]
    """Without what is on its way."""
    slots: int
    keys: int
    bytes: int
    """With what is on its way; keys and bytes as if they were spread evenly over a shard's slots."""

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.slots} slots, about {self.keys} keys and {self.bytes >> 20} MB to go"


NOTHING = Remaining((), 0, 0, 0)


def remaining(view: View) -> Remaining:
    """What has to move until every shard has its share; nothing when slots are not to be moved."""
    shares, owned = weights(view), _owned(view)
    if view.goal is None or view.goal.rebalance.mode == "Off" or not any(shares.values()) or not owned:
        return NOTHING
    moves = slots.moves(_arrived(view, owned), shares)
    going = [(move.source, slots.count(move.slots)) for move in moves]
    going += [(pod.shard, slots.count(one.slots)) for pod, one in exports(view)]
    keys = sum(_per_slot(view, shard, "keys") * number for shard, number in going)
    size = sum(_per_slot(view, shard, "dataset_bytes") * number for shard, number in going)
    return Remaining(moves, sum(number for _, number in going), round(keys), round(size))


def weights(view: View) -> Mapping[int, int]:
    """Of each applied shard; 0 of one that is to go."""
    given = view.goal.rebalance.weights if view.goal else {}
    return {
        shard: given.get(str(shard), 1) if key(manifest) in view.wanted.by_key else 0
        for shard, manifest in view.sets.items()
    }


def exports(view: View) -> tuple[tuple[PodView, Migration], ...]:
    """The migrations that are on their way, each with the pod that gives the slots away."""
    return tuple(
        (pod, one)
        for pod in view.pods
        if pod.name in view.servers and pod.server is not None
        for one in pod.server.migrations
        if one.exports and one.is_active
    )


def _owned(view: View) -> dict[int, Ranges]:
    return {
        shard: pod.server.me.slots
        for shard in view.sets
        if (pod := view.primary(shard)) is not None and pod.server is not None
    }


def _arrived(view: View, owned: dict[int, Ranges]) -> Mapping[int, Ranges]:
    """As if what is on its way had arrived."""
    shard_of: Mapping[NodeId, int] = {node_id: pod.shard for node_id, pod in view.pod_of.items()}

    def arrive(now: dict[int, Ranges], job: tuple[PodView, Migration]) -> dict[int, Ranges]:
        pod, one = job
        target = shard_of.get(one.target)
        if target is None or pod.shard not in now:
            return now
        kept = slots.minus(now[pod.shard], one.slots)
        gone = slots.minus(now[pod.shard], kept)
        return now | {pod.shard: kept, target: slots.normalise([*now.get(target, ()), *gone])}

    return reduce(arrive, exports(view), owned)


def _per_slot(view: View, shard: int, amount: str) -> float:
    pod = view.primary(shard)
    if pod is None or pod.server is None:
        return 0.0
    number: int = getattr(pod.server, amount)
    return number / max(slots.count(pod.server.me.slots), 1)
