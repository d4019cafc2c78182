"""What may be taken away and who may take over: asked by all rules that stop servers or move roles. Pure.

The one place for these questions (docs/decisions/0008). An answer is the reason against it, in words for
people; an empty answer is a yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.topology import NodeId, PodView, Server, View

LAG_MAX_BYTES = 1 << 20
"""A primary that hands over holds its clients back until the replica has everything: this much is nothing."""


def safe_to_remove(view: View, pod: PodView) -> str:
    """Why the pod must not be stopped now; empty when no slot loses its last copy in sync, nor its owner.

    Every slot has an owner that answers, is not this pod and stays, so no majority is at risk either; and
    nobody else is missing, unless this pod does not run anyway. The pod's claim is not in question here.
    """
    if view.blind:
        return view.blind
    return (
        _owners_missing(view, pod)
        or _unsettled(view)
        or (_others_missing(view, pod) if pod.runs else "")
        or _holds(view, pod)
    )


def safe_to_take_over(view: View, pod: PodView) -> str:
    """Why CLUSTER FAILOVER to this replica must wait; empty when it can come to its end at once.

    A failover that fails holds the shard's writes back for 5 s. It fails when a vote is lost on a bus link
    that is not up yet, while replication already is: 6 of 8 rolls stalled without these two looks at the
    links (8.0 -> 8.1), none with them.
    """
    replica, primary = pod.server, view.primary(pod.shard)
    if view.blind:
        return view.blind
    if replica is None or primary is None or primary.server is None:
        return f"{pod.name} or its primary does not answer"
    if pod.terminating or primary.name == pod.name:
        return f"{pod.name} is {'terminating' if pod.terminating else 'the primary already'}"
    if replica.me.primary_id != primary.server.me.node_id or not replica.link_up:
        return f"{pod.name} is not in sync with {primary.name}"
    if primary.server.offset - replica.offset > LAG_MAX_BYTES:
        return f"{pod.name} is behind {primary.name} (by {primary.server.offset - replica.offset} bytes)"
    members = [one for one in view.pods if one.name in view.servers]
    return _others_missing(view, pod) or _unsettled(view) or _out_of_contact(members, pod, replica)


def electable(view: View, pod: PodView, lost: NodeId, ended_s_ago: float) -> str:
    """Why this replica must not be made primary in place of a server that has ended; empty when it may.

    FORCE does not ask how old the replica's data are, so this does: its link was up until its primary ended,
    give or take a second for each clock. And the vote needs a majority of the primaries that there were.
    """
    replica = pod.server
    reason = out_of_date(pod, lost, ended_s_ago)
    if reason or replica is None:
        return reason
    owners, alive = voters(view, replica, lost)
    if 2 * len(alive) <= len(owners):
        return f"only {len(alive)} of {len(owners)} primaries can vote"
    return _out_of_contact([view.pod_of[node_id] for node_id in alive], pod, replica)


def out_of_date(pod: PodView, lost: NodeId, ended_s_ago: float) -> str:
    """Why this is no replica that was in sync with the server until it ended; empty when it was."""
    replica = pod.server
    if replica is None or pod.terminating or replica.me.primary_id != lost:
        return f"{pod.name} does not follow it"
    if not replica.link_up and not 0 <= replica.link_down_s <= ended_s_ago + 2:
        return f"{pod.name} was not in sync with it"
    return ""


def voters(view: View, replica: Server, lost: NodeId) -> tuple[frozenset[NodeId], frozenset[NodeId]]:
    """The owners of slots that the replica knows, and those of them that can vote."""
    owners = frozenset(node_id for node_id, peer in replica.by_id.items() if peer.is_primary and peer.slots)
    return owners, frozenset(one for one in owners if one in view.pod_of and one != lost)


def best_replica(pods: tuple[PodView, ...]) -> PodView | None:
    """The one that has received most; of equals the lowest ordinal."""
    return max(pods, key=lambda pod: (pod.server.offset if pod.server else -1, -pod.ordinal), default=None)


def _owners_missing(view: View, pod: PodView) -> str:
    others = [view.primary(shard) for shard in range(view.shards)]
    staying = [one for one in others if one is not None and one.name != pod.name and not one.terminating]
    missing = slots.complement(span for one in staying if one.server for span in one.server.me.slots)
    return f"without {pod.name} nobody serves the slots {slots.text(missing)}" if missing else ""


def _others_missing(view: View, pod: PodView) -> str:
    """Members that do not answer, are on their way out, or do not count as ready for Kubernetes yet."""
    leaving = {one.name for one in view.pods if one.terminating or not one.ready}
    missing = sorted({*view.silent, *leaving} - {pod.name})
    return f"{', '.join(missing)} is not there" if missing else ""


def _unsettled(view: View) -> str:
    """Servers that answer, and slots that are on their way."""
    for name, server in view.servers.items():
        if not server.state_ok:
            return f"{name} says that the cluster is not ok"
        if server.migrating or server.me.open_slots:
            return f"slots of {name} are on their way"
    return ""


def _holds(view: View, pod: PodView) -> str:
    """What the pod's own server has that nobody else might have."""
    if pod.server is None:
        return f"{pod.name} runs and does not answer: nobody knows what it holds" if pod.runs else ""
    me = pod.server.me
    if me.is_primary and me.slots:
        return f"{pod.name} owns slots"
    if not pod.server.keys:
        return ""
    leader = view.pod_of.get(me.primary_id) if me.primary_id else None
    if leader is None or leader.server is None:
        return f"{pod.name} holds {pod.server.keys} keys and follows no server that answers"
    behind = not leader.server.keys or leader.server.offset < pod.server.offset
    if not pod.server.link_up and behind:
        return f"{pod.name} holds {pod.server.keys} keys, more than its primary {leader.name} has received"
    return ""


def _out_of_contact(others: Iterable[PodView], pod: PodView, replica: Server) -> str:
    """Bus links, both ways: each other server to the replica, and the replica to each."""
    for other in others:
        if other.server is None or other.name == pod.name:
            continue
        theirs, ours = other.server.by_id.get(replica.me.node_id), replica.by_id.get(other.server.me.node_id)
        if theirs is None or not theirs.in_contact:
            return f"{other.name} has no link to {pod.name} yet"
        if ours is None or not ours.in_contact:
            return f"{pod.name} has no link to {other.name} yet"
    return ""
