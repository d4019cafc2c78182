"""Many commands to a whole cluster at once: for reading everything back, and for filling it before.

Only for commands that may be sent twice: whatever has no answer is sent again until it has one.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.members import nodes, owners, slot_of
from tests.bench.resp import Address, Connection, NoAnswer, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.bench.members import Members
    from tests.bench.resp import Answer, Command

BATCH = 500
BATCH_S = 5.0
DONE_WITHIN_S = 30.0
_PAUSE_S = 0.05

_Place = tuple[Address, bool]
"""A server, and whether to say ASKING first."""


async def run(members: Members, commands: Mapping[str, Command]) -> dict[str, Answer]:
    """The answer to each command, by its key.

    Raises:
        TimeoutError: some have none after 30 s; with what a server said last.
    """
    work = _Work(commands)
    deadline = time.monotonic() + DONE_WITHIN_S
    while left := work.left():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} of {len(commands)} commands have no answer: {work.told}")
        owner = await _owner_of_slots(members)
        await asyncio.gather(*(work.send(place, keys) for place, keys in work.groups(left, owner).items()))
        if work.left() and not work.redirected:
            await asyncio.sleep(_PAUSE_S)
            await members.refresh()
    return work.answers


async def _owner_of_slots(members: Members) -> dict[int, Address]:
    """By the first member that answers and sees owners."""
    for address in members.addresses:
        table = await nodes(address)
        if members.belongs(table) and (found := owners(table)):
            return {
                slot: node.address
                for node in found
                for start, end in node.slots
                for slot in range(start, end + 1)
            }
    return {}


@dataclass
class _Work:
    """What is done, and where a server has sent us with the rest."""

    commands: Mapping[str, Command]
    answers: dict[str, Answer] = field(default_factory=dict)
    redirected: dict[str, _Place] = field(default_factory=dict)
    told: str = "no server sees an owner of their slots"

    def left(self) -> list[str]:
        """Keys without an answer."""
        return [key for key in self.commands if key not in self.answers]

    def groups(self, keys: Iterable[str], owner: Mapping[int, Address]) -> dict[_Place, list[str]]:
        """Keys by where to send them: by the last redirect, which holds once, else to the slot's owner."""
        found: dict[_Place, list[str]] = defaultdict(list)
        for key in keys:
            slot = slot_of(key)
            if key in self.redirected:
                found[self.redirected.pop(key)].append(key)
            elif slot in owner:
                found[owner[slot], False].append(key)
        return found

    async def send(self, place: _Place, keys: list[str]) -> None:
        """Send to one server in batches, until it fails."""
        address, asking = place
        try:
            connection = await Connection.open(address)
        except OSError as error:
            self.told = f"{address}: {error or type(error).__name__}"
            return
        try:
            for start in range(0, len(keys), BATCH):
                batch = keys[start : start + BATCH]
                asked = [one for key in batch for one in _with(asking, self.commands[key])]
                answers = await connection.ask_all(asked, BATCH_S)
                self._take(address, batch, answers[1::2] if asking else answers)
        except NoAnswer as error:
            self.told = f"{address}: {error}"
        finally:
            connection.close()

    def _take(self, by: Address, keys: list[str], answers: list[Answer]) -> None:
        for key, answer in zip(keys, answers, strict=True):
            if not isinstance(answer, Refusal):
                self.answers[key] = answer
                continue
            self.told = f"{by}: {answer.text}"
            if redirect := answer.redirect(by):
                self.redirected[key] = redirect.address, redirect.asking


def _with(asking: bool, command: Command) -> tuple[Command, ...]:
    return (("ASKING",), command) if asking else (command,)
