"""The cluster bus between Valkey servers in memory: one `turn` is one round in which each pings each.

A turn lets gossip, failure, elections, replication and cluster_state go as far as they can at one moment;
the order is by node ID, so the same start gives the same end. The links of a server that has just started
come up later than its replication: until then, votes for it are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import fake_vote
from fake_valkey import Entry, Job, Valkey, minus, within

from valkey_cluster import slots

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from daemon.topology import NodeId


LINK_DELAYS_S = (0.5, 1.0, 1.5)


def turn(running: Sequence[Valkey], away: Collection[str], refusing: Collection[str], now: float) -> None:
    """One round between the servers that run; those at a place that is away reach only each other.

    At an address in `refusing` is a pod in which nobody listens.
    """
    bus = Bus(running, away, refusing, now)
    bus.shake_hands()
    bus.exchange()
    bus.detect_failures()
    fake_vote.hand_over(bus)
    fake_vote.elect(bus)
    bus.migrate()
    bus.replicate()
    bus.judge_state()


class Bus:
    """The servers that run, and who of them reaches whom."""

    def __init__(
        self, running: Sequence[Valkey], away: Collection[str], refusing: Collection[str], now: float
    ) -> None:
        self.servers = sorted(running, key=lambda server: server.node_id)
        self.away = away
        self.refusing = refusing
        self.now = now
        self.at: Mapping[str, Valkey] = {server.ip: server for server in self.servers}
        self.by_id: Mapping[NodeId, Valkey] = {server.node_id: server for server in self.servers}

    def reach(self, one: Valkey, other: Valkey | None) -> bool:
        if other is None:
            return False
        return one.place == other.place or (one.place not in self.away and other.place not in self.away)

    def dialled(self, server: Valkey, node_id: NodeId) -> Valkey | None:
        """The member at the address that the server has of it."""
        entry = server.table.get(node_id)
        target = self.at.get(entry.ip) if entry else None
        if target is None or target.node_id != node_id:  # another answers there: the link is torn
            return None
        return target if self.reach(server, target) else None

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
                if node_id not in sender.table:
                    continue
                target, entry = self.dialled(sender, node_id), sender.table[node_id]
                self._link(sender, entry, target)
                if target is None:
                    continue
                entry.heard, entry.suspected = self.now, False
                if sender.node_id in target.table:
                    self.hear(target, sender)
                else:
                    # 8.1 and newer: without a link back, the sender introduces itself again.
                    target.meet(sender.ip, self.now)

    def _link(self, sender: Valkey, entry: Entry, target: Valkey | None) -> None:
        """Towards an address that is gone, a link reads `connected` for as long as nobody refuses it."""
        if target is None:
            entry.run, entry.connected = 0, entry.ip not in self.refusing and entry.ip not in self.at
            return
        if entry.run != target.run:
            entry.run = target.run
            number = int(sender.node_id) + 2 * int(target.node_id)
            entry.link_due = self.now + LINK_DELAYS_S[number % len(LINK_DELAYS_S)]
        entry.connected = self.now >= entry.link_due

    def hear(self, server: Valkey, sender: Valkey) -> None:
        """What the sender's header and gossip change in the server's table, and in the server itself."""
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
            mine = server.table.get(node_id)
            if mine is not None:
                if (mine.suspected or mine.failed_at is not None) and not _bad(told):
                    mine.ip = told.ip
            elif node_id != server.node_id and node_id not in server.banned:
                server.table[node_id] = Entry(told.ip, self.now, failed_at=told.failed_at)

    def detect_failures(self) -> None:
        for server in self.servers:
            for entry in server.table.values():
                entry.suspected = entry.suspected or self.now - entry.heard > server.node_timeout
        for server in self.servers:
            for node_id, entry in server.table.items():
                if (
                    entry.suspected
                    and entry.failed_at is None
                    and self._reports(server, node_id) >= fake_vote.quorum(server)
                ):
                    self._broadcast_failure(server, node_id)

    def contacts(self, server: Valkey) -> list[Valkey]:
        """Members that the server is in contact with, itself among them."""
        known = [
            self.by_id[node_id]
            for node_id, entry in server.table.items()
            if not entry.suspected and node_id in self.by_id
        ]
        return [server, *(other for other in known if self.dialled(server, other.node_id) is other)]

    def _reports(self, server: Valkey, node_id: NodeId) -> int:
        tables = [voter.table for voter in self.contacts(server) if voter.votes]
        return sum(node_id in table and _bad(table[node_id]) for table in tables)

    def _broadcast_failure(self, server: Valkey, node_id: NodeId) -> None:
        for other in self.contacts(server):
            if node_id in other.table and other.table[node_id].failed_at is None:
                other.table[node_id].failed_at = self.now

    def migrate(self) -> None:
        """What was begun in a turn before comes to its end: all of a job or nothing."""
        for source in self.servers:
            for job in source.jobs:
                if job.state == "replicating" and job.since < self.now:
                    self._finish(source, job)

    def _finish(self, source: Valkey, job: Job) -> None:
        target = self.dialled(source, job.target)
        job.updated = self.now
        unfit = target is None or target.primary_id is not None or minus(job.slots, source.slots)
        if target is None or unfit or source.primary_id is not None or source.jobs_fail:
            source.jobs_fail = max(0, source.jobs_fail - 1)
            job.state, job.message = "failed", "Connection lost to target"
            return
        going = {key for key in source.keys if within(job.slots, key)}
        target.keys |= going
        source.keys -= going
        source.slots = minus(source.slots, job.slots)
        target.slots = slots.normalise([*target.slots, *job.slots])
        for entry in target.table.values():
            entry.slots = minus(entry.slots, job.slots)
        target.current_epoch = max(target.current_epoch, source.current_epoch) + 1
        target.config_epoch = target.current_epoch
        job.state = "success"
        for other in self.contacts(target):
            if other is not target and target.node_id in other.table:
                self.hear(other, target)

    def replicate(self) -> None:
        """The replica's data become its primary's, also when that has none."""
        for server in self.servers:
            if server.primary_id is None:
                continue
            source = self.dialled(server, server.primary_id)
            server.linked = source is not None and source.node_id == server.primary_id and not server.deaf
            if source is not None and server.linked:
                server.keys = server.keys if server.lags else set(source.keys)
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
        return slots.normalise(serving) == slots.ALL and reached >= fake_vote.quorum(server)


def _bad(entry: Entry) -> bool:
    return entry.suspected or entry.failed_at is not None


def _overlap(one: slots.Ranges, other: slots.Ranges) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)
