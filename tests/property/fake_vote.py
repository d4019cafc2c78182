"""Who becomes primary: elections after node-timeout, and failovers that somebody asked for.

A failover succeeds within a turn, or it fails and nobody says so: its votes go over bus links that may not be
up yet, and its primary holds its writers back for 5 s in vain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fake_valkey import ELECTION_DELAY_S, Valkey

if TYPE_CHECKING:
    from fake_bus import Bus

PAUSE_S = 5.0


def elect(bus: Bus) -> None:
    """The replica with the most data first; only one wins in a turn."""
    for replica in sorted(bus.servers, key=lambda server: -len(server.keys)):
        lost = replica.table.get(replica.primary_id) if replica.primary_id else None
        if lost is None or not lost.slots or lost.failed_at is None or not replica.electable(bus.now):
            continue
        if bus.now - lost.failed_at >= ELECTION_DELAY_S and _ballot(bus, replica) >= quorum(replica):
            _promote(bus, replica)
            return


def hand_over(bus: Bus) -> None:
    """Every replica that was told to take over does so now, or gives up."""
    for replica in bus.servers:
        asked, replica.failover = replica.failover, ""
        if asked == "TAKEOVER" and replica.primary_id is not None:
            _promote(bus, replica)
        elif asked and not obstacle(bus, replica, force=asked == "FORCE"):
            primary = bus.by_id.get(replica.primary_id) if replica.primary_id else None
            if asked == "FAILOVER" and primary is not None:
                replica.keys = set(primary.keys)
            _promote(bus, replica)


def obstacle(bus: Bus, replica: Valkey, *, force: bool) -> str:
    """Why a failover to it would come to nothing."""
    if replica.primary_id is None:
        return "it is a primary"
    primary = bus.by_id.get(replica.primary_id)
    if not force and (primary is None or not replica.linked):
        return "its link is down"
    if not force and primary is not None and replica.lags and replica.keys != primary.keys:
        return "it is behind"
    voters = [voter for voter in bus.servers if voter.votes]
    heard = [voter for voter in voters if _linked(voter, replica) and _linked(replica, voter)]
    if not force and len(heard) < len(voters):
        return "a vote is lost: a bus link is not up"
    granting = sum(_believes(voter, replica) for voter in heard)
    needed = quorum(replica)
    return "" if granting >= needed else f"{granting} votes, {needed} needed"


def quorum(server: Valkey) -> int:
    """A majority of the primaries with slots, as far as the server knows."""
    return (server.votes + sum(bool(entry.slots) for entry in server.table.values())) // 2 + 1


def _linked(one: Valkey, other: Valkey) -> bool:
    entry = one.table.get(other.node_id)
    return entry is not None and entry.connected and entry.run == other.run


def _believes(voter: Valkey, replica: Valkey) -> bool:
    known = voter.table.get(replica.node_id)
    return known is not None and known.primary_id == replica.primary_id


def _ballot(bus: Bus, replica: Valkey) -> int:
    lost = replica.table[replica.primary_id] if replica.primary_id else None

    def grants(voter: Valkey) -> bool:
        seen = voter.table.get(replica.primary_id) if replica.primary_id else None
        knows = replica.node_id in voter.table and seen is not None and seen.failed_at is not None
        return knows and seen is not None and lost is not None and seen.slots == lost.slots

    return sum(voter.votes and voter is not replica and grants(voter) for voter in bus.contacts(replica))


def _promote(bus: Bus, replica: Valkey) -> None:
    if replica.primary_id is None:
        return
    lost = replica.table[replica.primary_id]
    replica.current_epoch += 1
    replica.config_epoch = replica.current_epoch
    replica.slots, replica.primary_id, replica.lags, lost.slots = lost.slots, None, False, ()
    for other in bus.contacts(replica):
        if other is not replica and replica.node_id in other.table:
            bus.hear(other, replica)
