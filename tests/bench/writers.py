"""One writer: numbered keys into one shard's slots at a set rate, one write after the other.

    due ──> to the slot's owner ──> OK                  acknowledged
                 │      └──────────> no answer           unknown: never sent again
                 ├─ MOVED, ASK ────> there, at once
                 └─ other refusal,   5 ms later, and by   failed, when the patience is over
                    no connection    another member

A write that was refused, or never sent, was not executed: it alone is tried again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.members import nodes_by
from tests.bench.records import Outcome, Write
from tests.bench.resp import Connection, NoAnswer, Refusal

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from tests.bench.members import Members
    from tests.bench.resp import Address, Answer

PAUSE_S = 0.005
"""Between two tries of a write that was refused or has nowhere to go."""
PATIENCE_S = 1.0
"""A write that is still refused so long after it was due has failed."""
_HOPS = 3
"""So many redirects in a row are followed at once; members that send us in circles are asked less often."""
_ANYWHERE = frozenset({"CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"})
"""Refusals of a server that another member may not share."""


@dataclass(frozen=True)
class Load:
    """What each writer does.

    Attributes:
        rate: writes per second.
        size: bytes of a value, at least as many as make it unique.
        patience_s: see PATIENCE_S.
    """

    rate: float = 40.0
    size: int = 64
    patience_s: float = PATIENCE_S


class Links:
    """A writer's own connections, at most one per server, dialled beside the writes."""

    def __init__(self, members: Members, errors: Counter[str]) -> None:
        self._members = members
        self._errors = errors
        self._held: dict[Address, Connection] = {}
        self._dials: dict[Address, asyncio.Task[None]] = {}

    def warm(self) -> list[asyncio.Task[None]]:
        """Start a connection to every member that there is none to; what to wait for until they are there."""
        return [self._dial(address) for address in self._members.addresses if not self._live(address)]

    async def get(self, address: Address) -> Connection | None:
        """The connection; None, 5 ms later, when there is none."""
        if live := self._live(address):
            return live
        again = time.monotonic() + PAUSE_S
        dial = self._dial(address)
        await asyncio.wait({dial}, timeout=PAUSE_S)
        if live := self._live(address):
            return live
        if dial.done():
            self._errors["connection"] += 1
        await asyncio.sleep(again - time.monotonic())
        return None

    def close(self) -> None:
        """Close all."""
        for dial in self._dials.values():
            dial.cancel()
        for connection in self._held.values():
            connection.close()

    def _live(self, address: Address) -> Connection | None:
        held = self._held.get(address)
        if held and not held.alive:
            held.close()
            del self._held[address]
            return None
        return held

    def _dial(self, address: Address) -> asyncio.Task[None]:
        if address not in self._dials:
            self._dials[address] = asyncio.create_task(self._connect(address))
        return self._dials[address]

    async def _connect(self, address: Address) -> None:
        try:
            connection = await Connection.open(address)
            try:
                self._held[address] = await self._ours(connection, address)
            except BaseException:
                connection.close()
                raise
        except (OSError, NoAnswer):
            return
        finally:
            del self._dials[address]

    async def _ours(self, connection: Connection, address: Address) -> Connection:
        """The connection, if the server at its end is a member."""
        if not self._members.belongs(await nodes_by(connection, address)):
            raise NoAnswer("connection")
        return connection


@dataclass
class _Try:
    """Where a write goes next."""

    target: Address
    asking: bool = False
    hops: int = 0


@dataclass
class Writer:
    """Writes into `tags`' slots, which were all its shard's at the start, one after the other in turn."""

    shard: int
    index: int
    tags: Mapping[int, str]
    members: Members
    run: str
    load: Load
    errors: Counter[str]
    writes: list[Write] = field(default_factory=list)
    ending: bool = False

    def __post_init__(self) -> None:
        self.links = Links(self.members, self.errors)
        self._owners: dict[int, Address] = {}
        self._slots = tuple(self.tags)
        self._last: Address | None = None
        self._turn = self.index

    def owned_by(self, address: Address) -> None:
        """Where to begin."""
        self._owners = dict.fromkeys(self._slots, address)

    def key(self, number: int) -> str:
        """The key of one write."""
        tag = self.tags[self._slots[number % len(self._slots)]]
        return f"bench:{self.run}:{self.index}:{number}{{{tag}}}"

    def value(self, number: int) -> str:
        """Its value: no two writes of a writer have the same."""
        return f"{self.run}.{self.index}.{number}.".ljust(self.load.size, "x")

    async def work(self, first: float) -> None:
        """Write until told to end; the first write is due at `first`, in monotonic time."""
        number = 0
        while not self.ending:
            due = first + number / self.load.rate
            early = due - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
                continue  # told to end meanwhile, or now due
            # Timers have a grain of a millisecond: a write that waited for nothing else begins now.
            behind = bool(self.writes) and self.writes[-1].end > due
            start = due if behind else time.monotonic()
            outcome = await self._write(number, due + self.load.patience_s)
            self.writes.append(Write(self.shard, self.index, number, start, time.monotonic(), outcome))
            number += 1

    async def _write(self, number: int, deadline: float) -> Outcome:
        slot = self._slots[number % len(self._slots)]
        attempt = _Try(self._owners.get(slot) or self._last or self._another(None))
        while True:
            connection = await self.links.get(attempt.target)
            if connection is None:
                self._forget(attempt.target)
                attempt = _Try(self._another(attempt.target))
            else:
                try:
                    answer = await self._set(connection, number, asking=attempt.asking)
                except NoAnswer as error:
                    self.errors[error.kind] += 1
                    self._forget(attempt.target)
                    return Outcome.UNKNOWN
                if not isinstance(answer, Refusal):
                    self._owned(slot, attempt)
                    return Outcome.ACKNOWLEDGED
                attempt = await self._after(slot, answer, attempt)
            if time.monotonic() > deadline:
                return Outcome.FAILED

    async def _set(self, connection: Connection, number: int, *, asking: bool) -> Answer:
        command = ("SET", self.key(number), self.value(number))
        return (await connection.ask_all([("ASKING",), command] if asking else [command]))[-1]

    async def _after(self, slot: int, refusal: Refusal, attempt: _Try) -> _Try:
        """Where to go with a refused write: at once when told where, else after a pause."""
        self.errors[refusal.kind] += 1
        redirect = refusal.redirect(attempt.target)
        if redirect:
            if not redirect.asking:
                self._owners[slot] = redirect.address
            if attempt.hops < _HOPS:
                return _Try(redirect.address, redirect.asking, attempt.hops + 1)
            await asyncio.sleep(PAUSE_S)
            return _Try(redirect.address, redirect.asking)
        await asyncio.sleep(PAUSE_S)
        if refusal.kind in _ANYWHERE:
            self._forget(attempt.target)
            return _Try(self._another(attempt.target))
        return _Try(attempt.target, attempt.asking)

    def _owned(self, slot: int, attempt: _Try) -> None:
        if not attempt.asking:
            self._owners[slot] = self._last = attempt.target

    def _forget(self, address: Address) -> None:
        """It does not serve now: no write begins there until another member sends us back."""
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner != address}
        if self._last == address:
            self._last = None

    def _another(self, than: Address | None) -> Address:
        """The members in turn."""
        known = self.members.addresses
        others = [address for address in known if address != than] or list(known)
        self._turn += 1
        return others[self._turn % len(others)]
