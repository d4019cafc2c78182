"""One plain connection to one Valkey server: what is asked is sent once, and nothing is repeated or hidden.

A client library reconnects, retries and rebuilds its map of the cluster behind the caller's back; a gap
measured through it is the library's as much as the server's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

PORT = 6379
ANSWER_S = 0.25
"""How long a server may take to answer, or to take a connection."""

Answer: TypeAlias = "str | bytes | int | list[Answer] | Refusal | None"
Command = tuple[str, ...]
_T = TypeVar("_T")
_LATE_TURNS = 5
"""Turns of the event loop that a connection, or an answer, needs to arrive once the kernel has it."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`host`, `host:port` or `[IPv6]:port`; a text of several colons without brackets is an IPv6 host."""
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
            return cls(text.strip("[]"), PORT)
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Redirect:
    """Another server answers for the slot: from now on (MOVED), or for this one command (ASK)."""

    slot: int
    address: Address
    asking: bool


@dataclass(frozen=True)
class Refusal:
    """An error that a server answered with: the command was not executed."""

    text: str

    @property
    def kind(self) -> str:
        """Its first word, such as MOVED or CLUSTERDOWN."""
        return self.text.partition(" ")[0]

    def redirect(self, by: Address) -> Redirect | None:
        """Where it sends us; None when it does not.

        Args:
            by: who said so. A redirect without a host, or to `?`, means another port of the same host.
        """
        words = self.text.split()
        if len(words) != 3 or words[0] not in {"MOVED", "ASK"}:
            return None
        host, _, port = words[2].rpartition(":")
        host = host.strip("[]")
        return Redirect(
            int(words[1]), Address(by.host if host in {"", "?"} else host, int(port)), words[0] == "ASK"
        )


class NoAnswer(Exception):
    """Nobody knows whether the command was executed. `kind` is `timeout` or `connection`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Connection:
    """Commands and their answers, one batch after the other; closed for good by the first failure."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams

    @classmethod
    async def open(cls, address: Address, limit_s: float = ANSWER_S) -> Connection:
        """A new connection.

        Raises:
            OSError: refused, unreachable, or not there in time (TimeoutError is an OSError).
        """
        return cls(await within(limit_s, asyncio.open_connection(address.host, address.port)))

    @property
    def alive(self) -> bool:
        """Whether nothing is known that would keep a command from being sent."""
        return not (self._reader.at_eof() or self._reader.exception() or self._writer.is_closing())

    def close(self) -> None:
        """Close it, without waiting for the other side."""
        self._writer.close()

    async def ask(self, *command: str, limit_s: float = ANSWER_S) -> Answer:
        """The answer to one command. Raises NoAnswer."""
        return (await self.ask_all([command], limit_s))[0]

    async def ask_all(self, commands: Sequence[Command], limit_s: float = ANSWER_S) -> list[Answer]:
        """Send all at once; their answers in order. Raises NoAnswer, then for all of them."""
        try:
            # At once: between `alive` and this the event loop must not learn that the server is gone.
            self._writer.write(b"".join(encode(command) for command in commands))
            return await within(limit_s, self._answers(len(commands)))
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise NoAnswer("timeout" if isinstance(error, TimeoutError) else "connection") from error
        except asyncio.CancelledError:
            self.close()
            raise

    async def _answers(self, count: int) -> list[Answer]:
        await self._writer.drain()
        return [await read(self._reader) for _ in range(count)]


async def within(limit_s: float, story: Coroutine[Any, Any, _T]) -> _T:
    """What the story gives.

    When this process was kept from running and comes late to its own timer, what has arrived meanwhile is
    taken first: our stall is not the server's silence.

    Raises:
        TimeoutError: it has not ended in time.
    """
    task = asyncio.ensure_future(story)
    try:
        await asyncio.wait({task}, timeout=limit_s)
        for _ in range(_LATE_TURNS):
            if task.done():
                break
            await asyncio.sleep(0)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()


def encode(command: Iterable[str]) -> bytes:
    """A command as servers read it."""
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


async def read(reader: asyncio.StreamReader) -> Answer:
    """One answer (RESP2).

    Raises:
        EOFError: the connection ended before it was whole.
        ValueError: it is none.
    """
    line = await reader.readuntil(b"\r\n")
    kind, rest = line[:1], line[1:-2]
    match kind:
        case b"+":
            return rest.decode()
        case b"-":
            return Refusal(rest.decode())
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else (await reader.readexactly(int(rest) + 2))[:-2]
        case b"*":
            return None if rest == b"-1" else [await read(reader) for _ in range(int(rest))]
    raise ValueError(f"no answer of a Valkey server: {line!r}")
