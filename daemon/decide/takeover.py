"""Rules for roles that move: at the kubelet's word that a primary has ended, and while a failover runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.decide.heal import await_lost_shard, lost_with
from daemon.safety import best_replica, electable, out_of_date, voters
from daemon.steps import Failover, Step, TakeOver, Wait, gist
from valkey_cluster.config import node_timeout_ms

if TYPE_CHECKING:
    from daemon.topology import NodeId, PodView, Server, View

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


def replace_without_vote(view: View) -> Step | None:
    """The same where no majority is left to vote: with one or two shards, or after losing several primaries.

    At the kubelet's word a replica that was in sync takes over at once, if its primary is the only one lost,
    or if nothing is persisted. Otherwise the pods are waited for: they bring their data back. Only when every
    pod is there, and none is the lost primary, and for so long that one that lives on cut off from the others
    has stopped to serve, a replica takes over with what it has (docs/decisions/0011).
    """
    if view.applied is None:
        return None
    lost = sorted(view.ghost_owners(view.orphaned))
    ended = {owner: pod for pod in view.pods if pod.is_dead and (owner := _lost_primary(view, pod))}
    told = lost and set(lost) <= ended.keys()
    at_once = bool(told) and (len(lost) == 1 or not view.applied.spec.persistence.enabled)
    for owner in lost:
        if at_once:
            dead = ended[owner]
            since_s = view.now - unix(dead.ended) if dead.ended != "unknown" else 0.0
            heirs = tuple(one for one in view.pods if not out_of_date(one, owner, since_s))
        else:
            heirs = tuple(one for one in view.pods if one.server and one.server.me.primary_id == owner)
        best = best_replica(heirs)
        if best is None or best.server is None or _has_majority(view, best.server, owner):
            continue
        if at_once or (
            not view.silent and _waited_s(view) > node_timeout_ms(view.applied.spec) / 1000 + MARGIN_S
        ):
            return TakeOver(best.name, _unvoted(view, best, owner))
    return None


def _has_majority(view: View, replica: Server, lost: NodeId) -> bool:
    owners, alive = voters(view, replica, lost)
    return 2 * len(alive) > len(owners)


def _waited_s(view: View) -> float:
    """How long the election has been waited for that cannot come."""
    wait, prior = await_lost_shard(view), view.status.step
    if wait is None or prior is None or gist(prior.because) != gist(wait.because):
        return 0.0
    return view.now - unix(prior.since)


def _unvoted(view: View, pod: PodView, owner: NodeId) -> str:
    return (
        f"{lost_with(view, owner)} lost their primary for good and no majority is left to elect another: "
        f"{pod.name} takes over without a vote, and writes that it had not received are lost"
    )


def _lost_primary(view: View, dead: PodView) -> NodeId | None:
    """The ghost at the dead pod's address that is still believed to own slots."""
    owners = view.ghost_owners(view.orphaned)
    for node_id, peers in view.ghosts.items():
        if dead.ip and node_id in owners and any(peer.ip == dead.ip and peer.slots for peer in peers):
            return node_id
    return None
