"""What the canary shards of an upgrade are judged by. Pure.

Counters are the servers' own since their start; a canary's servers have started with the upgrade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster.upgrade_status import BaselineStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.topology import PodView, Server, Upgrade, View

_MINUTE_S = 60.0


def baseline(view: View) -> BaselineStatus:
    """What is usual for the primaries, before anything is done."""
    servers = [pod.server for pod in _primaries(view, range(view.shards)) if pod.server]
    return BaselineStatus(
        error_replies=sum(_a_minute(server.error_replies, server) for server in servers),
        evicted_keys=sum(_a_minute(server.evicted_keys, server) for server in servers),
        latency_microseconds=_latency(servers),
    )


def problem(view: View, upgrade: Upgrade, shards: Collection[int]) -> str:
    """The first gate that the shards do not pass, with both figures; empty when they pass all."""
    if upgrade.spec is None:
        return ""
    gates, primaries = upgrade.spec.gates, _primaries(view, shards)
    lag = max((_lag(view, pod) for pod in primaries), default=0)
    if lag > gates.max_lag_bytes:
        return f"a replica is {lag} bytes behind (gates.maxLagBytes: {gates.max_lag_bytes})"
    servers = [pod.server for pod in primaries if pod.server]
    errors = sum(_a_minute(server.error_replies, server) for server in servers)
    if errors > gates.max_error_replies:
        return f"{errors:.0f} error replies a minute (gates.maxErrorReplies: {gates.max_error_replies})"
    evicted = sum(_a_minute(server.evicted_keys, server) for server in servers)
    if gates.max_evicted_keys is not None and evicted > gates.max_evicted_keys:
        return f"{evicted:.0f} evicted keys a minute (gates.maxEvictedKeys: {gates.max_evicted_keys})"
    before = upgrade.status.baseline.latency_microseconds if upgrade.status.baseline else None
    now = _latency(servers)
    if before and now and now * 100 > before * gates.max_latency_percent:
        return (
            f"a command takes {now:.0f} microseconds, {now * 100 / before:.0f} % of before "
            f"(gates.maxLatencyPercent: {gates.max_latency_percent})"
        )
    return ""


def _primaries(view: View, shards: Collection[int]) -> list[PodView]:
    return [primary for shard in shards if (primary := view.primary(shard)) is not None]


def _lag(view: View, primary: PodView) -> int:
    offsets = [pod.server.offset for pod in view.of_shard(primary.shard) if pod.server and pod is not primary]
    return max((primary.server.offset - offset for offset in offsets), default=0) if primary.server else 0


def _a_minute(count: int, server: Server) -> float:
    return count * _MINUTE_S / max(float(server.uptime_s), _MINUTE_S / 4)


def _latency(servers: list[Server]) -> float | None:
    """Microseconds per call over all of them; None when there were none."""
    calls = sum(server.command_calls for server in servers)
    return sum(server.command_usec for server in servers) / calls if calls else None
