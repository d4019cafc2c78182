"""Rules that mend a cluster that was formed: who knows whom, who is missing, who is gone for good."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from daemon.health import assess
from daemon.steps import Blocked, Forget, Meet, Step, Wait
from valkey_cluster import names, slots

if TYPE_CHECKING:
    from daemon.topology import NodeId, Peer, PodName, PodView, View

MESH_LIMIT = 16
"""Up to this many servers each meets each: gossip alone takes seconds longer. Above, everyone meets one."""

ELECTION_PATIENCE_S = 60.0


def introduce(view: View) -> Step | None:
    """Servers that list each other at an old address, or not at all, are made to meet.

    After a restart of all pods no server finds any other (their tables hold dead addresses, and the
    bus dials addresses); one MEET mends that, IDs and slots stay (measured: 20 s later still all
    failed without, 4.5 s with). Not before all slots have an owner: a new cluster gets its slots first.
    """
    pairs = tuple((a.name, b.name) for a, b in _strangers(view) if not _are_meeting(a, b))
    return Meet(pairs, _unknown(view)) if pairs else None


def await_introduction(view: View) -> Step | None:
    """Handshakes that are under way. If they fail, the servers meet again, and it is still the same wait."""
    if not _strangers(view):
        return None
    return Wait(
        0.1,
        f"{_unknown(view)} (they are meeting)",
        f"let the pods reach each other on port {names.BUS_PORT}: a NetworkPolicy or firewall may forbid it",
    )


def _strangers(view: View) -> list[tuple[PodView, PodView]]:
    """Pairs of which the first does not know the second at its present address."""
    if view.unclaimed:
        return []
    present = [pod for pod in view.pods if pod.name in view.servers and not pod.terminating]
    return [(a, b) for a, b in _mesh(present) if a.server and b.server and not a.server.knows(b.server)]


def _are_meeting(one: PodView, other: PodView) -> bool:
    return one.server is not None and other.server is not None and one.server.is_meeting(other.server)


def _unknown(view: View) -> str:
    strangers = sorted({other.name for _, other in _strangers(view)})
    return f"not every server knows the present address of {', '.join(strangers)}"


def _mesh(pods: list[PodView]) -> list[tuple[PodView, PodView]]:
    if len(pods) <= MESH_LIMIT:
        return list(permutations(pods, 2))
    hub = pods[0]
    return [pair for pod in pods[1:] for pair in ((hub, pod), (pod, hub))]


def await_lost_shard(view: View) -> Step | None:
    """Slots whose owner is gone: an election, a pod that may come back with its claim, or the truth."""
    for owner in sorted(view.ghost_owners(view.orphaned)):
        heirs = sorted(pod.name for pod in view.pods if pod.server and pod.server.me.primary_id == owner)
        lost = lost_with(view, owner)
        if heirs:
            return Wait(
                0.2,
                f"{lost} lost their primary: waiting for the election of {' or '.join(heirs)}",
                "see docs/runbooks/no-election.md: the other primaries may lack a majority",
                ELECTION_PATIENCE_S,
            )
    lost = f"slots {slots.text(view.orphaned)}"
    if view.orphaned and view.silent:
        return Wait(
            0.5,
            f"{lost} have no primary: their data may come back with {describe(view, view.silent)}",
            "find out why the pod does not start: kubectl describe pod",
        )
    if view.orphaned:
        return Blocked(
            reason="ShardLost",
            because=f"no member has the data of {lost} any more: they are lost",
            remedy="restore the claims of their shard, or delete and make the cluster again "
            "(docs/runbooks/shard-lost.md)",
        )
    return None


def lost_with(view: View, owner: NodeId) -> str:
    """The slots that went with this member, for people."""
    spans = [span for peer in view.ghosts[owner] for span in peer.slots]
    return f"slots {slots.text(slots.minus(view.orphaned, slots.complement(spans)))}"


def await_members(view: View) -> Step | None:
    """A member that does not run or does not answer; nothing is changed meanwhile."""
    if not view.silent:
        return None
    return Wait(
        1.0,
        f"waiting for {describe(view, view.silent)}",
        "find out why it does not run: kubectl describe pod",
    )


def forget_ghosts(view: View) -> Step | None:
    """Members that are gone for good: replaced by others, without slots, and held by no pod.

    A live member is never forgotten: every pod there is has answered with another ID, so none can be
    the one; and either its peers have given it up, or the server at its address was retired, which has made
    another of it. Nor is one that owned slots (their owner must be known first) or that a replica follows.
    """
    if view.silent or not view.ghosts:
        return None
    gone = tuple(node_id for node_id, peers in view.ghosts.items() if _replaced(view, node_id, peers))
    if gone:
        return Forget(gone, f"{len(gone)} former member(s) have no pod, no slots and no replica any more")
    return None


def await_ghosts(view: View) -> Step | None:
    """Servers send no event when they notice that a member is gone, so until then nothing is steady.

    They take node-timeout for it. A roll does not wait: a member without slots has no vote, and what asks
    for links (safety.py) asks those of members that answer.
    """
    if view.silent or not view.ghosts:
        return None
    return Wait(
        1.0,
        f"waiting until every server has noticed that {', '.join(view.ghosts)} is gone",
        "if it is a live server that somebody added by hand, take it out again: stop it, then CLUSTER FORGET",
    )


def await_whole(view: View) -> Step | None:
    """What no rule above had a name for: while a copy is missing, it is not steady and nothing changes."""
    health = assess(view)
    if health.whole:
        return None
    return Wait(1.0, health.sentence, "look at what the servers say: valkey-cli CLUSTER NODES, CLUSTER INFO")


def _replaced(view: View, node_id: NodeId, peers: tuple[Peer, ...]) -> bool:
    followed = any(server.me.primary_id == node_id for server in view.servers.values())
    reset = {pod.ip for pod in view.pods if pod.name in view.retired}
    return not followed and all(not peer.slots and (_given_up(peer) or peer.ip in reset) for peer in peers)


def _given_up(peer: Peer) -> bool:
    """Agreed to be down, or without a link.

    The link alone does not tell: towards an address that is gone it reads `connected` for as long as nobody
    refuses the connection (9.1.2: `slave,fail ... connected` for minutes).
    """
    return peer.failed or not peer.connected


def describe(view: View, pods: tuple[PodName, ...]) -> str:
    """Each pod with what is known of it."""
    known = {pod.name: pod for pod in view.pods}
    return ", ".join(f"{name} ({_state(known.get(name))})" for name in pods)


def _state(pod: PodView | None) -> str:
    if pod is None:
        return "no pod"
    if pod.terminating:
        return "terminating"
    return pod.trouble or pod.unreachable or "starting"
