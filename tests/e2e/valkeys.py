"""Valkey servers as a client and as a person with valkey-cli sees them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valkey import Valkey
from valkey.exceptions import ValkeyError

from daemon.cluster_nodes import parse
from valkey_cluster import names, slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.topology import Peer

_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Member:
    """What one server says of itself and of the others."""

    me: Peer
    others: tuple[Peer, ...]
    state_ok: bool
    link_up: bool
    node_timeout_ms: int
    version: str

    @property
    def all_known(self) -> tuple[Peer, ...]:
        """Every line of its CLUSTER NODES."""
        return (self.me, *self.others)


def connect(ip: str) -> Valkey:
    """A connection of its own to one server."""
    return Valkey(host=ip, port=names.PORT, socket_timeout=3, socket_connect_timeout=2, decode_responses=True)


def ask(ip: str) -> Member | None:
    """The server's answer; None when it gives none now."""
    client = connect(ip)
    try:
        table: Any = client.execute_command("CLUSTER", "NODES")
        info: Any = client.info()
        state: Any = client.execute_command("CLUSTER INFO")
        timeout: Any = client.config_get("cluster-node-timeout")
    except (ValkeyError, OSError):
        return None
    finally:
        client.close()
    me, others = parse(table)
    return Member(
        me=me,
        others=others,
        state_ok=state["cluster_state"] == "ok",
        link_up=info["role"] == "master" or info["master_link_status"] == "up",
        node_timeout_ms=int(timeout["cluster-node-timeout"]),
        version=str(info["valkey_version"]),
    )


def slots_owned_once(members: Iterable[Member]) -> bool:
    """Each of the 16384 slots has one owner, by the owners' own word and by what each believes of all."""
    members = list(members)
    own_words = [span for member in members for span in member.me.slots]
    views = [own_words, *([span for peer in member.all_known for span in peer.slots] for member in members)]
    return all(_each_once(view) for view in views)


def _each_once(spans: list[slots.Range]) -> bool:
    owners = Counter(slot for start, end in spans for slot in range(start, end + 1))
    return len(owners) == slots.SLOTS and set(owners.values()) == {1}


class Client:
    """Writes and reads like a simple cluster client: asks anyone, follows MOVED, tries again.

    A write counts as acknowledged when its primary has said OK.
    """

    def __init__(self, ips: Iterable[str]) -> None:
        self._connections = {ip: connect(ip) for ip in ips}
        self._any = next(iter(self._connections))

    def write(self, count: int, prefix: str = "key") -> dict[str, str]:
        """Write `count` keys over all slots; what was acknowledged, which is all of them."""
        written = {f"{prefix}:{number}": f"value of {prefix}:{number}" for number in range(count)}
        for key, value in written.items():
            self._follow("SET", key, value)
        return written

    def missing(self, written: Mapping[str, str]) -> list[str]:
        """Keys that are not there any more, or hold something else."""
        return [key for key, value in written.items() if self._follow("GET", key) != value]

    def wait_for_replicas(self, count: int) -> None:
        """Until `count` replicas of each primary asked have all that this client wrote."""
        for ip, connection in self._connections.items():
            if connection.execute_command("ROLE")[0] == "master":
                acknowledged: Any = connection.execute_command("WAIT", count, 5000)
                assert acknowledged >= count, f"{ip}: {acknowledged} replicas have all writes"

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()

    def _follow(self, *command: str) -> Any:
        deadline = time.monotonic() + _PATIENCE_S
        ip = self._any
        while True:
            try:
                if ip not in self._connections:
                    self._connections[ip] = connect(ip)
                return self._connections[ip].execute_command(*command)
            except (ValkeyError, OSError) as error:
                if str(error).startswith("MOVED "):  # a plain connection makes no exception of its own of it
                    ip = str(error).rpartition(" ")[2].rpartition(":")[0]
                    continue
                if time.monotonic() > deadline:
                    raise AssertionError(f"{' '.join(command)} on {ip}: {error}") from error
                time.sleep(0.02)
                ip = self._next(ip)

    def _next(self, ip: str) -> str:
        known = list(self._connections)
        return known[(known.index(ip) + 1) % len(known)]
