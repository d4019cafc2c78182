"""CLUSTER NODES, parsed by node ID. Pure.

The client library's own parser is keyed by address: two members without an address become one there.
"""

from __future__ import annotations

from daemon.topology import NodeId, Peer
from valkey_cluster import slots


def parse(text: str) -> tuple[Peer, tuple[Peer, ...]]:
    """The node itself and the other members that it lists.

    Raises:
        ValueError: the text is not a whole answer, or names no `myself`.
    """
    peers = [_parse_line(line) for line in text.splitlines() if line.strip()]
    mine = [peer for peer in peers if "myself" in peer.flags]
    if len(mine) != 1:
        raise ValueError("CLUSTER NODES names no node as myself")
    return mine[0], tuple(peer for peer in peers if peer is not mine[0])


def _parse_line(line: str) -> Peer:
    """`id ip:port@cport[,hostname] flags primary ping pong epoch link [slot ...]`."""
    fields = line.split()
    if len(fields) < 8:  # noqa: PLR2004  as the docstring counts them
        raise ValueError(f"a line of CLUSTER NODES is cut short: {line!r}")
    node_id, address, flags, primary, _, _, epoch, link, *owned = fields
    return Peer(
        node_id=NodeId(node_id),
        ip=address.partition(",")[0].rpartition("@")[0].rpartition(":")[0],
        flags=frozenset(flags.split(",")),
        primary_id=None if primary == "-" else NodeId(primary),
        config_epoch=int(epoch),
        connected=link == "connected",
        slots=slots.normalise(_range(item) for item in owned if not item.startswith("[")),
        open_slots=any(item.startswith("[") for item in owned),
    )


def _range(item: str) -> slots.Range:
    start, _, end = item.partition("-")
    return int(start), int(end or start)
