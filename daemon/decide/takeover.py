"""Rules for roles that move: at the kubelet's word that a primary has ended, and while a failover runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.safety import best_replica, electable
from daemon.steps import Failover, Step, Wait

if TYPE_CHECKING:
    from daemon.topology import NodeId, PodView, View

GIVEN_UP_MS = 5000
"""After this long the servers give up a failover, unless `cluster-manual-failover-timeout` says otherwise."""
MARGIN_S = 2.0
"""The time noted has whole seconds, and clocks differ."""


def await_handover(view: View) -> Step | None:
    """A failover that was asked for: not asked for twice, and nothing else meanwhile."""
    asked = view.status.handover
    if asked is None or view.now - unix(asked.at) > _given_up_s(view):
        return None
    pod = next((pod for pod in view.pods if pod.name == asked.pod), None)
    if pod is None or pod.server is None or pod.server.me.slots:
        return None
    return Wait(
        0.02,
        f"waiting for {asked.pod} to become primary of shard {pod.shard}",
        "look at the log of the pod: kubectl logs",
    )


def _given_up_s(view: View) -> float:
    said = (conf.get("cluster-manual-failover-timeout", GIVEN_UP_MS) for conf in view.confs.values())
    return max((int(ms) for ms in said), default=GIVEN_UP_MS) / 1000 + MARGIN_S


def replace_dead_primary(view: View) -> Step | None:
    """The kubelet says that a primary's process has ended: its replica takes over at once.

    The servers would notice after node-timeout, and a container that restarts empty within it would have its
    emptiness copied. A failure that only other servers suspect is left to their own election.
    """
    for pod in view.pods:
        lost = _lost_primary(view, pod) if pod.is_dead else None
        if lost is None:
            continue
        ended_s_ago = view.now - unix(pod.ended) if pod.ended != "unknown" else 0.0
        heirs = tuple(one for one in view.pods if not electable(view, one, lost, ended_s_ago))
        best = best_replica(heirs)
        if best is not None:
            return Failover(
                best.name,
                force=True,
                because=f"the kubelet says that {pod.name}, primary of shard {pod.shard}, has ended: "
                f"{best.name} takes over",
            )
    return None


def _lost_primary(view: View, dead: PodView) -> NodeId | None:
    """The ghost at the dead pod's address that is still believed to own slots."""
    owners = view.ghost_owners(view.orphaned)
    for node_id, peers in view.ghosts.items():
        if dead.ip and node_id in owners and any(peer.ip == dead.ip and peer.slots for peer in peers):
            return node_id
    return None
