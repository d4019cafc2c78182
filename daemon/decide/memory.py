"""How much of its memory a server may fill with data, while limits move. Pure.

Up: the limit first, then maxmemory. Down: maxmemory first, then, when the data have followed, the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.steps import Blocked, Step
from valkey_cluster.quantity import to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.topology import Amounts, PodView, View
    from valkey_cluster.resources import Manifest

HEADROOM = 0.9
"""A limit is not lowered below what a server uses by more than this share of it."""


def asked_by(manifest: Manifest) -> Amounts:
    """The resources that a StatefulSet's template asks for."""
    resources: Amounts = manifest["spec"]["template"]["spec"]["containers"][0]["resources"]
    return resources


def memory_limit(amounts: Mapping[str, Mapping[str, str]]) -> int:
    """Bytes; 0 when there is none."""
    text = amounts.get("limits", {}).get("memory", "")
    return to_bytes(text) if text else 0


def maxmemory_bytes(pod: PodView, conf_bytes: int, meant: int) -> int:
    """What the server's maxmemory shall be: that of its valkey.conf, as far as its limit has come by now.

    Args:
        pod: it and the limit that it has.
        conf_bytes: maxmemory in the edition that it reads.
        meant: the memory limit that edition was written for, in bytes.
    """
    has = memory_limit(pod.resources.actual or pod.resources.asked)
    if not has or has >= meant:
        return conf_bytes
    return conf_bytes * has // meant


def refuse_overfull(view: View) -> Step | None:
    """Less memory than the data take, where nothing may be evicted: nothing is touched."""
    spec = view.goal
    if spec is None or spec.maxmemory.policy != "noeviction":
        return None
    target = spec.maxmemory_bytes
    full = [
        f"{name} ({server.data_bytes})" for name, server in view.servers.items() if server.data_bytes > target
    ]
    before = [int(server.config.get("maxmemory", target)) for server in view.servers.values()]
    if not full or target >= max(before, default=target):
        return None
    return Blocked(
        reason="DataTooLarge",
        because=f"maxmemory would become {target} bytes, and more than that is used by {', '.join(full)}; "
        "nothing was touched",
        remedy="delete data, add shards, raise the memory limit again, or choose a policy that evicts",
    )
