"""Who belongs to the cluster under test, which slots each primary owns, and keys for the slots one wants."""

from __future__ import annotations

import asyncio
import inspect
from binascii import crc_hqx
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tests.bench.resp import Address, Connection, NoAnswer
from valkey_cluster import slots

if TYPE_CHECKING:
    from valkey_cluster.slots import Range

Addresses = Iterable[str]
Source = Addresses | Callable[[], Addresses] | Callable[[], Awaitable[Addresses]]
"""`host` or `host:port` of some; or what tells those of now: a coroutine function, or one that may block."""

WHOLE_WITHIN_S = 10.0
_FIELDS = 8
_LOOK_S = 0.05


@dataclass(frozen=True)
class Node:
    """A line of CLUSTER NODES."""

    node_id: str
    address: Address
    flags: frozenset[str]
    slots: tuple[Range, ...]

    @property
    def usable(self) -> bool:
        """Whether it is a member with an address that the one who says so can reach."""
        return not self.flags & {"fail", "noaddr", "handshake"}


def slot_of(key: str) -> int:
    """The slot of a key: CRC16 of what stands between its first braces, else of all of it."""
    _, brace, rest = key.partition("{")
    tag, end, _ = rest.partition("}")
    hashed = tag if brace and end and tag else key
    return crc_hqx(hashed.encode(), 0) % slots.SLOTS


def parse(text: str, asked: Address) -> tuple[Node, ...]:
    """The members that the server at `asked` lists, with ports, which the daemon's parser leaves out."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < _FIELDS:
            continue
        flags = frozenset(fields[2].split(","))
        host, _, port = fields[1].partition(",")[0].partition("@")[0].rpartition(":")
        address = asked if "myself" in flags else Address(host, int(port or 0))
        owned = slots.normalise(_range(item) for item in fields[_FIELDS:] if not item.startswith("["))
        found.append(Node(fields[0], address, flags, owned))
    return tuple(found)


def _range(item: str) -> Range:
    start, _, end = item.partition("-")
    return int(start), int(end or start)


async def nodes(address: Address) -> tuple[Node, ...]:
    """What the server there says of the cluster; nothing when it does not answer."""
    try:
        connection = await Connection.open(address)
    except OSError:
        return ()
    try:
        return await nodes_by(connection, address)
    except NoAnswer:
        return ()
    finally:
        connection.close()


async def nodes_by(connection: Connection, address: Address) -> tuple[Node, ...]:
    """The same over a connection to that address; nothing when it refuses. Raises NoAnswer."""
    answer = await connection.ask("CLUSTER", "NODES")
    return parse(answer.decode(), address) if isinstance(answer, bytes) else ()


def owners(table: Iterable[Node]) -> tuple[Node, ...]:
    """The primaries with slots, by their lowest slot: what is called shard 0, 1, 2 ... here."""
    return tuple(sorted((node for node in table if node.slots and node.usable), key=lambda node: node.slots))


def is_whole(table: Iterable[Node]) -> bool:
    """Whether every slot has an owner."""
    return not slots.complement(span for node in owners(table) for span in node.slots)


def spread(owned: Iterable[Range], wanted: int) -> tuple[int, ...]:
    """`wanted` slots (or all, when there are fewer) at even distances over those of a shard."""
    every = [slot for start, end in owned for slot in range(start, end + 1)]
    number = min(wanted, len(every))
    return tuple(every[len(every) * index // number] for index in range(number))


def tags(wanted: Iterable[int]) -> dict[int, str]:
    """For each slot a text that hashes to it."""
    missing = set(wanted)
    found: dict[int, str] = {}
    for number in count():
        if not missing:
            return found
        if (slot := slot_of(str(number))) in missing:
            found[slot] = str(number)
            missing.discard(slot)
    raise AssertionError


class Members:
    """The addresses of now: those given, and those that members name.

    A server belongs to the cluster if it knows a member by its node ID. So a write never goes to another
    cluster's pod that has got a dead pod's address.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._turn = 0
        self.addresses: tuple[Address, ...] = ()
        self.ids: frozenset[str] = frozenset()

    async def find(self) -> tuple[Node, ...]:
        """The cluster as the first server that sees all slots owned describes it.

        Raises:
            TimeoutError: none does.
        """
        async with asyncio.timeout(WHOLE_WITHIN_S):
            while True:
                self.addresses = await self._given()
                for address in self.addresses:
                    table = await nodes(address)
                    if is_whole(table) and self.belongs(table):
                        self.take(table)
                        return table
                await asyncio.sleep(_LOOK_S)

    async def refresh(self) -> None:
        """Look again: ask the source, and one member after the other until one answers."""
        given = await self._given() or self.addresses
        candidates = tuple(dict.fromkeys((*given, *self.addresses)))
        for _ in candidates:
            self._turn += 1
            table = await nodes(candidates[self._turn % len(candidates)])
            if self.belongs(table):
                self.take(table, given)
                return
        self.addresses = candidates

    def belongs(self, table: Iterable[Node]) -> bool:
        """Whether a server with this table is a member, or the first one met."""
        known = {node.node_id for node in table}
        return bool(known) and (not self.ids or bool(known & self.ids))

    def take(self, table: Iterable[Node], given: Iterable[Address] = ()) -> None:
        """What a member says: these are the addresses now, and these IDs are members, too."""
        usable = [node for node in table if node.usable]
        self.ids |= {node.node_id for node in usable}
        self.addresses = tuple(dict.fromkeys((*given, *(node.address for node in usable))))

    async def _given(self) -> tuple[Address, ...]:
        source = self._source
        if inspect.iscoroutinefunction(source):
            found = await source()
        elif callable(source):
            found = await asyncio.to_thread(lambda: tuple(source()))  # type: ignore[arg-type]
        else:
            found = source
        return tuple(Address.parse(text) for text in found if text)
