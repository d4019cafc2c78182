"""Valkey servers in memory, as far as forming and healing a cluster shows them. No clock, no random.

What is obeyed: MEET and gossip, SET-CONFIG-EPOCH, ADDSLOTSRANGE, REPLICATE, FORGET with its ban and its
spreading, config epochs and their collisions, UPDATE to a stale owner, failure by node-timeout and
majority, election of a replica that was linked since its own start, cluster_state, full syncs, CONFIG SET,
FAILOVER, its FORCE and TAKEOVER, slot migrations as a whole, RESET HARD. Not modelled: partial syncs, the
steps of a migration, IP addresses that are used twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from daemon.topology import Migration, NodeId, Peer, Server
from valkey_cluster import slots

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from valkey_cluster.slots import Ranges

BAN_S = 60.0
HANDSHAKE_S = 1.0
ELECTION_DELAY_S = 0.5
VALIDITY_FACTOR = 10
REPL_PING_S = 10.0
BYTES_PER_KEY = 2 << 20
"""Of the replication stream: a replica that lacks one key is behind by that much."""
DEFAULTS = {
    "databases": "16",
    "hz": "10",
    "maxclients": "10000",
    "maxmemory-samples": "5",
    "repl-backlog-size": "10485760",
    "tcp-backlog": "511",
}
"""Directives that a server has without being told, as far as these tests tell it others."""
IMMUTABLE = frozenset(("cluster-enabled", "databases", "dir", "port", "tcp-backlog"))
MAXCLIENTS_MAX = 10000
"""More than the host has file descriptors for is refused."""


@dataclass
class Job:
    """A slot migration, as its source remembers it."""

    target: NodeId
    slots: Ranges
    since: float
    state: str = "replicating"
    message: str = ""
    updated: float = 0.0


class Refused(Exception):
    """The server's error reply."""


@dataclass
class Entry:
    """What one server believes of another."""

    ip: str
    heard: float
    primary_id: NodeId | None = None
    epoch: int = 0
    slots: Ranges = ()
    suspected: bool = False
    failed_at: float | None = None
    run: int = 0
    """The run of the other's process that the bus link was made to."""
    link_due: float = 0.0
    connected: bool = False


@dataclass
class Valkey:
    """One server: its node ID, its part of nodes.conf, its configuration, its data."""

    node_id: NodeId
    ip: str
    place: str
    config: dict[str, str]
    version: str = "9.1.2"
    run: int = 0
    deaf: bool = False
    """Its link to a primary never comes up."""
    lags: bool = False
    """A replica whose link is up, and which receives nothing new."""
    used_bytes: int = 1 << 20
    table: dict[NodeId, Entry] = field(default_factory=dict)
    handshakes: dict[str, float] = field(default_factory=dict)
    banned: dict[NodeId, float] = field(default_factory=dict)
    primary_id: NodeId | None = None
    config_epoch: int = 0
    current_epoch: int = 0
    slots: Ranges = ()
    keys: set[str] = field(default_factory=set)
    linked: bool = False
    linked_at: float | None = None
    """When its link to its primary was last up; None if never since its start or its change of primary."""
    good_since: float | None = None
    ok: bool = False
    failover: str = ""
    """What it was asked for: `FAILOVER` or `FORCE`; empty when nothing is under way."""
    paused_until: float = 0.0
    """A primary that hands over holds its writers back."""
    jobs: list[Job] = field(default_factory=list)
    """Newest first."""
    jobs_fail: int = 0
    """So many of the next migrations that it gives come to nothing."""

    @property
    def node_timeout(self) -> float:
        """Seconds."""
        return int(self.config["cluster-node-timeout"]) / 1000

    @property
    def votes(self) -> bool:
        return self.primary_id is None and bool(self.slots)

    def set_config_epoch(self, epoch: int) -> None:
        if self.table:
            raise Refused(
                "The user can assign a config epoch only when the node does not know any other node."
            )
        if self.config_epoch:
            raise Refused("Node config epoch is already non-zero")
        self.config_epoch = epoch
        self.current_epoch = max(self.current_epoch, epoch)

    def add_slots(self, span: Ranges) -> None:
        known = [*self.slots, *(one for entry in self.table.values() for one in entry.slots)]
        if slots.count(slots.complement([*known, *span])) != slots.count(
            slots.complement(known)
        ) - slots.count(span):
            raise Refused("Slot is already busy")
        self.slots = slots.normalise([*self.slots, *span])

    def meet(self, ip: str, now: float) -> None:
        self.handshakes.setdefault(ip, now + max(self.node_timeout, HANDSHAKE_S))

    def replicate(self, node_id: NodeId) -> None:
        if node_id == self.node_id:
            raise Refused("Can't replicate myself")
        if node_id not in self.table:
            raise Refused(f"Unknown node {node_id}")
        if self.table[node_id].primary_id is not None:
            raise Refused("I can only replicate a master, not a replica.")
        if self.primary_id is None and (self.slots or self.keys):
            raise Refused("To set a master the node must be empty and without assigned slots.")
        self.follow(node_id)

    def forget(self, node_id: NodeId, now: float) -> None:
        if node_id == self.node_id:
            raise Refused("I tried hard but I can't forget myself...")
        if node_id not in self.table:
            raise Refused(f"Unknown node {node_id}")
        if node_id == self.primary_id:
            raise Refused("Can't forget my master!")
        del self.table[node_id]
        self.banned[node_id] = now + BAN_S

    def configure(self, pairs: Mapping[str, str]) -> None:
        """CONFIG SET: all of it or nothing."""
        for name, value in pairs.items():
            if name not in self.config:
                raise Refused(f"Unknown option or number of arguments for CONFIG SET - '{name}'")
            if name in IMMUTABLE:
                raise Refused(f"CONFIG SET failed - can't set immutable config '{name}'")
            if name == "maxclients" and int(value) > MAXCLIENTS_MAX:
                raise Refused("CONFIG SET failed - the operating system is not able to handle that many")
        self.config |= {name: answered(value) for name, value in pairs.items()}

    def take_over(self, *, force: bool) -> None:
        """CLUSTER FAILOVER: the answer comes at once, the role later or never."""
        if self.primary_id is None:
            raise Refused("You should send CLUSTER FAILOVER to a replica")
        if not force and not self.linked:
            raise Refused("Master is down or failed, please use CLUSTER FAILOVER FORCE")
        self.failover = "FORCE" if force else "FAILOVER"

    def migrate(self, target: NodeId, span: Ranges, now: float) -> None:
        """CLUSTER MIGRATESLOTS: the answer comes at once, the slots go later or never."""
        if self.primary_id is not None:
            raise Refused("Slot migration can only be used on primary nodes.")
        if minus(span, self.slots):
            raise Refused("Slots are not served by this node.")
        if target not in self.table:
            raise Refused(f"Unknown node {target}")
        if any(job.state == "replicating" and minus(job.slots, span) != job.slots for job in self.jobs):
            raise Refused("I am already migrating slot")
        self.jobs.insert(0, Job(target, span, now, updated=now))

    def cancel(self) -> None:
        active = [job for job in self.jobs if job.state == "replicating"]
        if not active:
            raise Refused("No migrations ongoing")
        for job in active:
            job.state = "cancelled"

    def reset_hard(self, node_id: NodeId, run: int) -> None:
        """CLUSTER RESET HARD, and FLUSHALL."""
        if self.primary_id is None and self.keys:
            raise Refused("CLUSTER RESET can't be called with master nodes containing keys")
        self.node_id, self.run, self.table, self.handshakes, self.banned = node_id, run, {}, {}, {}
        self.primary_id, self.slots, self.keys, self.linked, self.linked_at = None, (), set(), False, None
        self.config_epoch = self.current_epoch = 0
        self.ok, self.good_since, self.failover, self.jobs = False, None, "", []

    def follow(self, node_id: NodeId) -> None:
        """Be its replica; data stays until the link is up, but does not count for an election before."""
        self.primary_id, self.slots, self.linked, self.linked_at = node_id, (), False, None
        self.paused_until = 0.0

    def believe(self, owner: NodeId, claim: Ranges, epoch: int) -> None:
        """Slots go to who claims them with the higher epoch; who loses all its slots follows the winner."""
        known = self.table[owner]
        if known.slots == claim and known.epoch == epoch:
            return
        known.epoch = epoch
        followed = self.node_id if self.primary_id is None else self.primary_id
        claim = minus(claim, self.slots) if self.config_epoch >= epoch else claim
        for node_id, entry in self.table.items():
            if node_id != owner and entry.slots and entry.epoch >= epoch:
                claim = minus(claim, entry.slots)
        ours = self.slots if self.primary_id is None else self._slots_of(followed)
        self.slots = minus(self.slots, claim)
        for node_id, entry in self.table.items():
            if node_id != owner and entry.slots:
                entry.slots = minus(entry.slots, claim)
        known.slots = slots.normalise([*known.slots, *claim])
        if ours and owner != followed and not minus(ours, claim) and not minus(known.slots, ours):
            self.follow(owner)

    def _slots_of(self, node_id: NodeId) -> Ranges:
        return self.table[node_id].slots if node_id in self.table else ()

    def electable(self, now: float, node_timeout: float | None = None) -> bool:
        """Validity factor: its data are not much older than its primary's failure."""
        patience = REPL_PING_S + (1 + VALIDITY_FACTOR) * (node_timeout or self.node_timeout)
        return self.linked_at is not None and now - self.linked_at <= patience

    def told(self, now: float, directives: Collection[str]) -> Server:
        """As an observer sees it who asks for these directives."""
        lines = [_peer(node_id, entry) for node_id, entry in sorted(self.table.items())]
        lines += [
            Peer(NodeId(f"handshake-{ip}"), ip, frozenset({"handshake"}), None, 0, False, ())
            for ip in self.handshakes
        ]
        role = "master" if self.primary_id is None else "slave"
        flags = frozenset({"myself", role})
        linked = self.primary_id is None or self.linked
        down_s = -1 if self.linked_at is None else int(now - self.linked_at)
        return Server(
            me=Peer(self.node_id, self.ip, flags, self.primary_id, self.config_epoch, True, self.slots),
            peers=tuple(lines),
            state_ok=self.ok,
            link_up=linked,
            offset=len(self.keys) * BYTES_PER_KEY,
            keys=len(self.keys),
            node_timeout_ms=round(self.node_timeout * 1000),
            version=self.version,
            config={name: self.config[name] for name in directives if name in self.config},
            used_memory=self.used_bytes,
            data_bytes=self.used_bytes,
            dataset_bytes=self.used_bytes if self.votes else 0,
            link_down_s=0 if linked else down_s,
            migrating=any(job.state == "replicating" for job in self.jobs),
            migrations=tuple(
                Migration(True, job.state, job.slots, self.node_id, job.target, job.message, job.updated)
                for job in self.jobs
            ),
        )


def restarted(held: Valkey, now: float, **changes: Any) -> Valkey:
    """What a process makes of another's nodes.conf and data: no links, no handshakes, nothing under way."""
    table = {
        node_id: replace(entry, heard=now, run=0, connected=False) for node_id, entry in held.table.items()
    }
    fresh: dict[str, Any] = {"linked": False, "linked_at": None, "ok": False, "good_since": None}
    fresh |= {
        "handshakes": {},
        "banned": {},
        "failover": "",
        "lags": False,
        "paused_until": 0.0,
        "jobs": [],
        "keys": set(held.keys),
    }
    return replace(held, table=table, **(fresh | changes))


def answered(value: str) -> str:
    """As CONFIG GET spells it."""
    number, unit = value[:-2], value[-2:].lower()
    if unit in _UNITS and number.isdecimal():
        return str(int(number) * _UNITS[unit])
    return "" if value == '""' else value


_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def _peer(node_id: NodeId, entry: Entry) -> Peer:
    flags = {"master" if entry.primary_id is None else "slave"}
    if entry.failed_at is not None:
        flags.add("fail")
    elif entry.suspected:
        flags.add("fail?")
    role = frozenset(flags)
    return Peer(node_id, entry.ip, role, entry.primary_id, entry.epoch, entry.connected, entry.slots)


def slot_of(key: str) -> int:
    """Keys are named after their slots."""
    return int(key.partition("/")[0])


def within(span: Ranges, key: str) -> bool:
    slot = slot_of(key)
    return any(start <= slot <= end for start, end in span)


def minus(whole: Ranges, part: Iterable[slots.Range]) -> Ranges:
    """The slots of `whole` that are not in `part`."""
    return slots.complement([*slots.complement(whole), *part])
