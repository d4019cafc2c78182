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
from daemon.topology import Migration, NodeId, PodName, Server
from valkey_cluster import names, slots
from valkey_cluster.config import NODE_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

CONNECT_S = 1.0
COMMAND_S = 3.0
"""A server that takes longer is treated as unreachable: asked again at the next pass."""

Command = tuple[str | int, ...]

_QUESTIONS: tuple[Command, ...] = (
    ("CLUSTER", "NODES"),  # in two words: the library's parser of the one-word form loses members
    ("CLUSTER INFO",),
    ("INFO",),
    ("INFO", "commandstats", "errorstats"),
    ("DBSIZE",),
)
_MIGRATIONS: Command = ("CLUSTER", "GETSLOTMIGRATIONS")
_MIGRATIONS_SINCE = 9
"""Major version. Others are not asked: their error replies are counted, and we judge by those counts."""


class Address(NamedTuple):
    """Where a pod's server listens; another pod of the same name or address is another server."""

    pod: PodName
    uid: str
    ip: str


class NodeSilent(Exception):
    """The server did not answer; its text says why; `refused` when nothing listens there."""

    refused = False


class NodeError(Exception):
    """The server answered with an error; its text is the server's."""


class ValkeyNodes(Protocol):
    """Every Valkey server that the daemon talks to."""

    async def look(self, address: Address, directives: Collection[str] = ()) -> Server:
        """What the server says of itself and the others, and these of its directives. Raises NodeSilent."""

    async def send(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order until one fails; never repeats one. Raises NodeSilent or NodeError."""

    async def keep(self, addresses: Iterable[Address]) -> None:
        """Close the connections to all servers but these."""


class RealNodes:
    """Connections kept between passes, one per server."""

    def __init__(self) -> None:
        self._clients: dict[Address, Valkey] = {}
        self._migrating: set[Address] = set()
        """Servers that know slot migrations; what a pod runs does not change."""

    async def look(self, address: Address, directives: Collection[str] = ()) -> Server:
        """One round trip with everything that a View needs."""
        pipeline = self._client(address).pipeline(transaction=False)
        for command in _QUESTIONS:
            pipeline.execute_command(*command)
        pipeline.execute_command("CONFIG", "GET", *sorted({NODE_TIMEOUT, *directives}))
        if address in self._migrating:
            pipeline.execute_command(*_MIGRATIONS)
        try:
            async with asyncio.timeout(CONNECT_S + COMMAND_S):
                answers = await pipeline.execute()
                if len(answers) == len(_QUESTIONS) + 1:
                    answers.append(await self._migrations(address, answers))
        except BusyLoadingError as error:
            raise NodeSilent("loading its data") from error
        except (ValkeyError, OSError, TimeoutError) as error:
            await self._drop(address)
            raise _silent(error) from error
        try:
            return _server(address, answers)
        except ValueError as error:
            raise NodeSilent(f"its answer is not understood: {error}") from error

    async def _migrations(self, address: Address, answers: list[Any]) -> list[Any]:
        """What the first look at a server has yet to ask, now that its version is known."""
        if int(_version(answers[2]).split(".")[0]) < _MIGRATIONS_SINCE:
            return []
        self._migrating.add(address)
        told: list[Any] = await self._client(address).execute_command(*_MIGRATIONS)  # type: ignore[no-untyped-call]
        return told

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
            raise _silent(error) from error
        return answers

    async def keep(self, addresses: Iterable[Address]) -> None:
        """Addresses of pods that are gone are never dialled again: another pod may have them."""
        wanted = set(addresses)
        for address in [known for known in self._clients if known not in wanted]:
            await self._drop(address)
        self._migrating &= wanted

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


def _silent(error: BaseException) -> NodeSilent:
    silent = NodeSilent(_told(error))
    silent.refused = _is_refusal(error)
    return silent


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error.__cause__ or error.__context__, ConnectionRefusedError)


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError | valkey.exceptions.TimeoutError):
        return "does not answer in time"
    if _is_refusal(error):
        return "does not listen yet"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _server(address: Address, answers: list[Any]) -> Server:
    table, cluster, info, stats, keys, pairs, migrations = answers
    me, peers = parse(_text(table))
    words = [_text(word) for word in pairs]
    config = dict(zip(words[::2], words[1::2], strict=True))
    calls = [one for name, one in stats.items() if name.startswith("cmdstat_")]
    told = tuple(_migration(job, me.node_id) for job in migrations)
    return Server(
        # What the server thinks its address is can be old; where we reached it is its present one.
        me=replace(me, ip=address.ip),
        peers=peers,
        state_ok=cluster["cluster_state"] == "ok",
        link_up=info["role"] == "master" or _synced(info),
        offset=int(info["master_repl_offset"] if info["role"] == "master" else info["slave_repl_offset"]),
        keys=int(keys),
        node_timeout_ms=int(config[NODE_TIMEOUT]),
        version=_version(info),
        config=config,
        used_memory=int(info["used_memory"]),
        data_bytes=int(info["used_memory"]) - int(info["mem_not_counted_for_evict"]),
        dataset_bytes=int(info["used_memory_dataset"]),
        link_down_s=int(info.get("master_link_down_since_seconds", 0)),
        migrating=any(one.is_active for one in told),
        migrations=told,
        uptime_s=int(info["uptime_in_seconds"]),
        error_replies=sum(_error_counts(stats)),
        evicted_keys=int(info["evicted_keys"]),
        command_calls=sum(int(one["calls"]) for one in calls),
        command_usec=sum(int(one["usec"]) for one in calls),
    )


_REDIRECTIONS = ("errorstat_MOVED", "errorstat_ASK", "errorstat_TRYAGAIN")


def _error_counts(stats: dict[str, Any]) -> Iterator[int]:
    for name, one in stats.items():
        if name.startswith("errorstat_") and name not in _REDIRECTIONS:
            yield int(one["count"])


def _version(info: dict[str, Any]) -> str:
    return str(info.get("valkey_version", info["redis_version"]))


def _migration(job: list[Any], me: NodeId) -> Migration:
    """From one of the flat name-value lists of CLUSTER GETSLOTMIGRATIONS; what it does not say is unknown."""
    words = [_text(word) if isinstance(word, bytes | str) else str(word) for word in job]
    said = dict(zip(words[::2], words[1::2], strict=False))
    return Migration(
        exports=said.get("operation") == "EXPORT",
        state=said.get("state", "unknown"),
        slots=slots.parse(said.get("slot_ranges", "")),
        source=NodeId(said.get("source_node") or me),
        target=NodeId(said.get("target_node") or me),
        message=said.get("message", ""),
        updated=float(said.get("last_update_time") or 0),
    )


def _synced(info: dict[str, Any]) -> bool:
    return info["master_link_status"] == "up" and not info["master_sync_in_progress"]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
