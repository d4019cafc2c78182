"""The cluster bus between Valkey servers in memory: one `turn` is one round in which each pings each.

A turn lets gossip, failure, elections, replication and cluster_state go as far as they can at one moment;
the order is by node ID, so the same start gives the same end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fake_valkey import ELECTION_DELAY_S, Entry, Valkey

from valkey_cluster import slots

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from daemon.topology import NodeId


def turn(running: Sequence[Valkey], away: Collection[str], now: float) -> None:
    """One round between the servers that run; those at a place that is away reach only each other."""
    bus = _Bus(sorted(running, key=lambda server: server.node_id), away, now)
    bus.shake_hands()
    bus.exchange()
    bus.detect_failures()
    bus.elect()
    bus.replicate()
    bus.judge_state()


class _Bus:
    def __init__(self, servers: Sequence[Valkey], away: Collection[str], now: float) -> None:
        self.servers = servers
        self.away = away
        self.now = now
        self.at: Mapping[str, Valkey] = {server.ip: server for server in servers}
        self.by_id: Mapping[NodeId, Valkey] = {server.node_id: server for server in servers}

    def reach(self, one: Valkey, other: Valkey | None) -> bool:
        if other is None:
            return False
        return one.place == other.place or (one.place not in self.away and other.place not in self.away)

    def dialled(self, server: Valkey, node_id: NodeId) -> Valkey | None:
        """The member at the address that the server has of it."""
        entry = server.table.get(node_id)
        target = self.at.get(entry.ip) if entry else None
        return target if target is not None and self.reach(server, target) else None

    def shake_hands(self) -> None:
        met: list[tuple[Valkey, Valkey]] = []
        for server in self.servers:
            server.banned = {node_id: until for node_id, until in server.banned.items() if until > self.now}
            for ip, deadline in list(server.handshakes.items()):
                target = self.at.get(ip)
                if target is not None and self.reach(server, target):
                    del server.handshakes[ip]
                    met.append((server, target))
                elif deadline <= self.now:
                    del server.handshakes[ip]
        for one, other in met:
            if one is not other:
                self._introduce(one, other)
                if one.node_id not in other.table:
                    other.meet(one.ip, self.now)

    def _introduce(self, server: Valkey, target: Valkey) -> None:
        """MEET pays no heed to the ban."""
        entry = server.table.setdefault(target.node_id, Entry(target.ip, self.now))
        entry.ip, entry.heard = target.ip, self.now

    def exchange(self) -> None:
        for sender in self.servers:
            for node_id in list(sender.table):
                target = self.dialled(sender, node_id)
                if target is None or node_id not in sender.table:
                    continue
                entry = sender.table[node_id]
                entry.heard, entry.suspected = self.now, False
                if sender.node_id in target.table:
                    self._hear(target, sender)
                else:
                    # 8.1 and newer: without a link back, the sender introduces itself again.
                    target.meet(sender.ip, self.now)

    def _hear(self, server: Valkey, sender: Valkey) -> None:
        entry = server.table[sender.node_id]
        entry.ip, entry.heard, entry.suspected = sender.ip, self.now, False
        undo_s = 2 * server.node_timeout if sender.votes else 0.0
        if entry.failed_at is not None and self.now - entry.failed_at >= undo_s:
            entry.failed_at = None
        server.current_epoch = max(server.current_epoch, sender.current_epoch)
        entry.primary_id = sender.primary_id
        if sender.primary_id is None:
            self._hear_primary(server, sender)
        else:
            entry.slots = ()
            if server.primary_id == sender.node_id and sender.primary_id in server.table:
                server.follow(sender.primary_id)
        self._hear_gossip(server, sender)

    def _hear_primary(self, server: Valkey, sender: Valkey) -> None:
        server.believe(sender.node_id, sender.slots, sender.config_epoch)
        collides = server.primary_id is None and server.config_epoch == sender.config_epoch
        if collides and sender.node_id > server.node_id:
            server.current_epoch += 1
            server.config_epoch = server.current_epoch
        self._correct(server, sender)

    def _correct(self, server: Valkey, sender: Valkey) -> None:
        """UPDATE: who claims what another owns with a higher epoch is told so."""
        newer = [
            (node_id, entry.slots, entry.epoch)
            for node_id, entry in server.table.items()
            if entry.epoch > sender.config_epoch
            and node_id in sender.table
            and _overlap(entry.slots, sender.slots)
        ]
        if (
            server.votes
            and server.config_epoch > sender.config_epoch
            and _overlap(server.slots, sender.slots)
        ):
            newer.append((server.node_id, server.slots, server.config_epoch))
        for node_id, claim, epoch in newer:
            if node_id in sender.table:
                sender.table[node_id].primary_id = None
                sender.believe(node_id, claim, epoch)

    def _hear_gossip(self, server: Valkey, sender: Valkey) -> None:
        for node_id, until in sender.banned.items():
            if node_id in server.table and node_id != server.primary_id and node_id not in server.banned:
                del server.table[node_id]
                server.banned[node_id] = until
        for node_id, told in sender.table.items():
            if node_id == server.node_id:
                continue
            mine = server.table.get(node_id)
            if mine is None:
                if node_id not in server.banned:
                    server.table[node_id] = Entry(told.ip, self.now, failed_at=told.failed_at)
            elif _bad(mine) and not _bad(told):
                mine.ip = told.ip

    def detect_failures(self) -> None:
        for server in self.servers:
            for entry in server.table.values():
                entry.suspected = entry.suspected or self.now - entry.heard > server.node_timeout
        for server in self.servers:
            for node_id, entry in server.table.items():
                if (
                    entry.suspected
                    and entry.failed_at is None
                    and self._reports(server, node_id) >= quorum(server)
                ):
                    self._broadcast_failure(server, node_id)

    def _contacts(self, server: Valkey) -> list[Valkey]:
        """Members that the server is in contact with, itself among them."""
        known = [
            self.by_id[node_id]
            for node_id, entry in server.table.items()
            if not entry.suspected and node_id in self.by_id
        ]
        return [server, *(other for other in known if self.dialled(server, other.node_id) is other)]

    def _reports(self, server: Valkey, node_id: NodeId) -> int:
        tables = [voter.table for voter in self._contacts(server) if voter.votes]
        return sum(node_id in table and _bad(table[node_id]) for table in tables)

    def _broadcast_failure(self, server: Valkey, node_id: NodeId) -> None:
        for other in self._contacts(server):
            if node_id in other.table and other.table[node_id].failed_at is None:
                other.table[node_id].failed_at = self.now

    def elect(self) -> None:
        """The replica with the most data first; only one wins in a turn."""
        for replica in sorted(self.servers, key=lambda server: -len(server.keys)):
            lost = replica.table.get(replica.primary_id) if replica.primary_id else None
            if lost is None or not lost.slots or lost.failed_at is None or not replica.electable(self.now):
                continue
            if self.now - lost.failed_at < ELECTION_DELAY_S or self._ballot(replica, lost) < quorum(replica):
                continue
            replica.current_epoch += 1
            replica.config_epoch = replica.current_epoch
            replica.slots, replica.primary_id, lost.slots = lost.slots, None, ()
            for other in self._contacts(replica):
                if other is not replica and replica.node_id in other.table:
                    self._hear(other, replica)
            return

    def _ballot(self, replica: Valkey, lost: Entry) -> int:
        def grants(voter: Valkey) -> bool:
            seen = voter.table.get(replica.primary_id) if replica.primary_id else None
            knows = replica.node_id in voter.table and seen is not None and seen.failed_at is not None
            return knows and seen is not None and seen.slots == lost.slots

        return sum(
            voter.votes and voter is not replica and grants(voter) for voter in self._contacts(replica)
        )

    def replicate(self) -> None:
        """The replica's data become its primary's, also when that has none."""
        for server in self.servers:
            if server.primary_id is None:
                continue
            source = self.dialled(server, server.primary_id)
            server.linked = source is not None and source.node_id == server.primary_id
            if source is not None and server.linked:
                server.keys = set(source.keys)
                server.linked_at = self.now

    def judge_state(self) -> None:
        for server in self.servers:
            if not self._sees_whole(server):
                server.ok, server.good_since = False, None
                continue
            server.good_since = self.now if server.good_since is None else server.good_since
            delay_s = min(max(server.node_timeout, 0.5), 5.0) if server.votes else 0.0
            server.ok = server.ok or self.now - server.good_since >= delay_s

    def _sees_whole(self, server: Valkey) -> bool:
        serving = [
            *server.slots,
            *(one for entry in server.table.values() if entry.failed_at is None for one in entry.slots),
        ]
        reached = server.votes + sum(bool(entry.slots) and not _bad(entry) for entry in server.table.values())
        return slots.normalise(serving) == slots.ALL and reached >= quorum(server)


def quorum(server: Valkey) -> int:
    """A majority of the primaries with slots, as far as the server knows."""
    return (server.votes + sum(bool(entry.slots) for entry in server.table.values())) // 2 + 1


def _bad(entry: Entry) -> bool:
    return entry.suspected or entry.failed_at is not None


def _overlap(one: slots.Ranges, other: slots.Ranges) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)
