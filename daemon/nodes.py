"""The Valkey seam: one plain client per pod, short time-outs, nothing repeated behind our back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import valkey.exceptions
from valkey.asyncio import Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import BusyLoadingError, ResponseError, ValkeyError

from daemon.cluster_nodes import parse
from daemon.topology import PodName, Server
from valkey_cluster import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONNECT_S = 1.0
COMMAND_S = 3.0
"""A server that takes longer is treated as unreachable: asked again at the next pass."""

Command = tuple[str | int, ...]

_QUESTIONS: tuple[Command, ...] = (
    ("CLUSTER", "NODES"),  # in two words: the library's parser of the one-word form loses members
    ("CLUSTER INFO",),
    ("INFO",),
    ("CONFIG", "GET", "cluster-node-timeout"),
    ("DBSIZE",),
)


class Address(NamedTuple):
    """Where a pod's server listens; another pod of the same name or address is another server."""

    pod: PodName
    uid: str
    ip: str


class NodeSilent(Exception):
    """The server did not answer; its text says why."""


class NodeError(Exception):
    """The server answered with an error; its text is the server's."""


class ValkeyNodes(Protocol):
    """Every Valkey server that the daemon talks to."""

    async def look(self, address: Address) -> Server:
        """What the server says of itself and the others. Raises NodeSilent."""

    async def send(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order until one fails; never repeats one. Raises NodeSilent or NodeError."""

    async def keep(self, addresses: Iterable[Address]) -> None:
        """Close the connections to all servers but these."""


class RealNodes:
    """Connections kept between passes, one per server."""

    def __init__(self) -> None:
        self._clients: dict[Address, Valkey] = {}

    async def look(self, address: Address) -> Server:
        """One round trip with everything that a View needs."""
        pipeline = self._client(address).pipeline(transaction=False)
        for command in _QUESTIONS:
            pipeline.execute_command(*command)
        try:
            async with asyncio.timeout(CONNECT_S + COMMAND_S):
                answers = await pipeline.execute()
        except BusyLoadingError as error:
            raise NodeSilent("loading its data") from error
        except (ValkeyError, OSError, TimeoutError) as error:
            await self._drop(address)
            raise NodeSilent(_told(error)) from error
        try:
            return _server(address, answers)
        except ValueError as error:
            raise NodeSilent(f"its answer is not understood: {error}") from error

    async def send(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        """Each command is sent once; after a torn connection nobody knows, so the next pass looks."""
        client = self._client(address)
        answers = []
        try:
            async with asyncio.timeout(CONNECT_S + COMMAND_S):
                for command in commands:
                    answer = await client.execute_command(*command)  # type: ignore[no-untyped-call]
                    answers.append(answer)
        except ResponseError as error:
            raise NodeError(str(error)) from error
        except (ValkeyError, OSError, TimeoutError) as error:
            await self._drop(address)
            raise NodeSilent(_told(error)) from error
        return answers

    async def keep(self, addresses: Iterable[Address]) -> None:
        """Addresses of pods that are gone are never dialled again: another pod may have them."""
        wanted = set(addresses)
        for address in [known for known in self._clients if known not in wanted]:
            await self._drop(address)

    def _client(self, address: Address) -> Valkey:
        client = self._clients.get(address)
        if client is None:
            client = Valkey(
                host=address.ip,
                port=names.PORT,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=COMMAND_S,
                retry=Retry(NoBackoff(), 0),
                client_name="valkeeper",
                single_connection_client=False,
                max_connections=2,
            )
            self._clients[address] = client
        return client

    async def _drop(self, address: Address) -> None:
        client = self._clients.pop(address, None)
        if client is not None:
            await client.aclose()


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError | valkey.exceptions.TimeoutError):
        return "does not answer in time"
    if isinstance(error.__cause__ or error.__context__, ConnectionRefusedError):
        return "does not listen yet"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _server(address: Address, answers: list[Any]) -> Server:
    table, cluster, info, timeout, keys = answers
    me, peers = parse(_text(table))
    return Server(
        # What the server thinks its address is can be old; where we reached it is its present one.
        me=replace(me, ip=address.ip),
        peers=peers,
        state_ok=cluster["cluster_state"] == "ok",
        link_up=info["role"] == "master" or _synced(info),
        offset=int(info["master_repl_offset"] if info["role"] == "master" else info["slave_repl_offset"]),
        keys=int(keys),
        node_timeout_ms=int(_text(timeout[1])),
        version=str(info.get("valkey_version", info["redis_version"])),
    )


def _synced(info: dict[str, Any]) -> bool:
    return info["master_link_status"] == "up" and not info["master_sync_in_progress"]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
