"""How a cluster is, by what its servers say: one assessment for status, metrics and the phase. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from valkey_cluster import slots
from valkey_cluster.status_model import Health as ShardHealth

if TYPE_CHECKING:
    from daemon.topology import PodView, View


@dataclass(frozen=True)
class Health:
    """The assessment; `whole` is when all slots are served and every copy is there and in sync."""

    whole: bool
    reason: str
    sentence: str
    serving_shards: int
    ready: int
    version: str
    shards: tuple[ShardHealth, ...]


def assess(view: View) -> Health:
    """Judge the members that the applied stage asks for."""
    judged = tuple(_shard(view, shard) for shard in range(view.shards))
    reason, sentence = _verdict(view, judged)
    versions = {server.version for server in view.servers.values()}
    return Health(
        whole=reason == "AllMembersServe",
        reason=reason,
        sentence=sentence,
        serving_shards=sum(
            one is not ShardHealth.DOWN and view.primary(shard) is not None
            for shard, one in enumerate(judged)
        ),
        ready=sum(pod.ready and pod.name in view.expected for pod in view.pods),
        version=versions.pop() if len(versions) == 1 else "",
        shards=judged,
    )


def _shard(view: View, shard: int) -> ShardHealth:
    staying = [name for name, of in view.expected.items() if of == shard and name not in view.leaving]
    leader = view.leader(shard)
    if leader is None or leader.server is None or not leader.server.state_ok:
        if view.orphaned or view.unclaimed or view.primary(shard) is not None:
            return ShardHealth.DOWN
        # It owns no slots: it is new and not put together yet, or on its way out.
        return ShardHealth.DEGRADED if staying else ShardHealth.OK
    followers = [pod for pod in view.of_shard(shard) if pod.name in staying and _follows(pod, leader)]
    wanted = len(staying) - (leader.name in staying)
    return ShardHealth.OK if len(followers) == wanted else ShardHealth.DEGRADED


def _follows(pod: PodView, primary: PodView) -> bool:
    server, leader = pod.server, primary.server
    if server is None or leader is None or not server.state_ok:
        return False
    return server.me.primary_id == leader.me.node_id and server.link_up


def _verdict(view: View, shards: tuple[ShardHealth, ...]) -> tuple[str, str]:
    if not shards:
        return "NotMade", "no objects of the cluster exist yet"
    down = [str(shard) for shard, one in enumerate(shards) if one is ShardHealth.DOWN]
    degraded = [str(shard) for shard, one in enumerate(shards) if one is ShardHealth.DEGRADED]
    missing = slots.complement(span for server in view.servers.values() for span in server.me.slots)
    if down:
        return "ShardsDown", f"shards {', '.join(down)} do not serve"
    if missing:
        return "SlotsMissing", f"nobody serves the slots {slots.text(missing)}"
    if degraded:
        return "MembersMissing", f"shards {', '.join(degraded)} serve with fewer copies than asked for"
    return (
        "AllMembersServe",
        f"{len(view.expected) - len(view.retired)} members serve all {slots.SLOTS} slots",
    )
