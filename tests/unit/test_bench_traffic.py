"""Traffic against servers of this process that speak the protocol: redirects, refusals, silence, loss."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.bench import bulk
from tests.bench.members import Members, slot_of
from tests.bench.resp import read
from tests.bench.traffic import Traffic, running_traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HALF = 8192
SILENT = b""


@dataclass
class Server:
    """A member that answers SET and GET for the slots that its cluster gives it."""

    cluster: FakeCluster
    number: int
    data: dict[str, bytes] = field(default_factory=dict)
    odd: Callable[[str, str], bytes | None] = lambda *_: None
    """What it says instead to (command, key); None for nothing special, SILENT for no answer at all."""
    port: int = 0
    _listening: asyncio.Server | None = None
    _streams: list[asyncio.StreamWriter] = field(default_factory=list)

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def stop(self) -> None:
        assert self._listening
        self._listening.close()
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.append(writer)
        asking = False
        try:
            while True:
                asked = await read(reader)
                assert isinstance(asked, list)
                command, *words = [word.decode() for word in asked if isinstance(word, bytes)]
                writer.write(self._answer(command, words, asking=asking))
                asking = command == "ASKING"
        except (EOFError, OSError):
            writer.close()

    def _answer(self, command: str, words: list[str], *, asking: bool) -> bytes:
        key = words[0] if words else ""
        if (said := self.odd(command, key)) is not None:
            return said
        if command == "CLUSTER":
            return bulk_string(self.cluster.table(self.number).encode())
        if command == "ASKING":
            return b"+OK\r\n"
        owner = self.cluster.owner_of(key)
        if owner is not self and not asking:
            return f"-MOVED {slot_of(key)} 127.0.0.1:{owner.port}\r\n".encode()
        if command == "SET":
            self.data[key] = words[1].encode()
            return b"+OK\r\n"
        return bulk_string(self.data.get(key))


def bulk_string(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@dataclass
class FakeCluster:
    """Two shards: the lower and the upper half of the slots; three servers, of which two own them."""

    servers: list[Server] = field(default_factory=list)
    owners: list[int] = field(default_factory=lambda: [0, 1])

    def owner_of(self, key: str) -> Server:
        return self.servers[self.owners[slot_of(key) // HALF]]

    def table(self, myself: int) -> str:
        lines = []
        for server in self.servers:
            owned = [
                f"{half * HALF}-{(half + 1) * HALF - 1}"
                for half in (0, 1)
                if self.owners[half] == server.number
            ]
            me = "myself," if server.number == myself else ""
            address = f"127.0.0.1:{server.port}@1"
            lines.append(f"{server.number:040x} {address} {me}master - 0 0 1 connected {' '.join(owned)}")
        return "\n".join(lines)

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{server.port}" for server in self.servers]


@asynccontextmanager
async def a_cluster() -> AsyncIterator[FakeCluster]:
    cluster = FakeCluster()
    cluster.servers = [Server(cluster, number) for number in range(3)]
    for server in cluster.servers:
        await server.start()
    yield cluster
    for server in cluster.servers:
        server.stop()


async def flowed(traffic: Traffic, more: int = 10) -> None:
    """Until so many more writes are acknowledged."""
    wanted = traffic.acknowledged + more
    async with asyncio.timeout(5):
        while traffic.acknowledged < wanted:
            await asyncio.sleep(0.005)


async def test_every_write_of_a_healthy_cluster_is_acknowledged_and_there():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses[:1], shards=2, rate=200, size=100) as traffic:
            await flowed(traffic, 40)
        result = await traffic.stop()
        assert result.acknowledged >= 40
        assert (result.failed, result.unknown, result.lost, result.errors) == (0, 0, (), {})
        assert len(result.gaps_ms) == 2
        first, second, _ = (server.data for server in cluster.servers)
        assert len(first) + len(second) == result.acknowledged, "each is written once"
        assert {len(value) for value in (first | second).values()} == {100}
        assert len({slot_of(key) for key in first}) == len({slot_of(key) for key in second}) == 16


async def test_moved_and_ask_are_followed_and_counted():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, shards=2, rate=200) as traffic:
            cluster.owners[0] = 2
            cluster.servers[2].data |= cluster.servers[0].data
            await flowed(traffic, 60)
            assert 1 <= traffic.errors["MOVED"] <= 16, "once for each slot"

            def ask(command: str, key: str) -> bytes | None:
                there = cluster.servers[0].port
                return f"-ASK {slot_of(key)} :{there}\r\n".encode() if command == "SET" else None

            cluster.servers[2].odd = ask
            await flowed(traffic, 20)
        await traffic.end()
        cluster.servers[2].data |= cluster.servers[0].data
        cluster.servers[2].odd = lambda *_: None
        result = await traffic.stop()
    assert result.errors["ASK"] >= 5
    assert (result.failed, result.unknown, result.lost) == (0, 0, ())


@pytest.mark.parametrize("kind", ["CLUSTERDOWN", "LOADING", "READONLY", "TRYAGAIN", "OOM"])
async def test_a_refused_write_is_tried_again_and_counted_once(kind):
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, shards=2, rate=100) as traffic:
            for server in cluster.servers:
                server.odd = lambda command, _: f"-{kind} no\r\n".encode() if command == "SET" else None
            before = traffic.acknowledged
            while traffic.errors[kind] < 10:
                await asyncio.sleep(0.005)
            for server in cluster.servers:
                server.odd = lambda *_: None
            await flowed(traffic)
        result = await traffic.stop()
        written = sum(len(server.data) for server in cluster.servers)
    assert (result.failed, result.unknown, result.lost) == (0, 0, ())
    assert before < result.acknowledged == written


async def test_a_write_that_is_refused_too_long_has_failed():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, shards=2, rate=20) as traffic:
            cluster.servers[0].odd = lambda command, _: (
                b"-MISCONF cannot write\r\n" if command == "SET" else None
            )
            await asyncio.sleep(1.3)
            cluster.servers[0].odd = lambda *_: None
        result = await traffic.stop()
    assert result.failed >= 1
    assert result.gaps_ms[0] > 1200 > result.gaps_ms[1]
    assert result.lost == ()
    assert result.availability < 0.7


async def test_a_write_without_an_answer_is_unknown_and_not_sent_again():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, shards=2, rate=50) as traffic:
            asked: list[str] = []

            def swallow(command: str, key: str) -> bytes | None:
                if command == "SET":
                    asked.append(key)
                    return SILENT
                return None

            cluster.servers[0].odd = swallow
            while not traffic.errors["timeout"]:
                await asyncio.sleep(0.01)
            cluster.servers[0].odd = lambda *_: None
            await flowed(traffic)
        result = await traffic.stop()
    assert len(asked) == len(set(asked)) == result.unknown >= 1
    assert result.lost == (), "unknown is not lost"
    assert 240 < result.gaps_ms[0] < 900


async def test_another_member_takes_over_from_one_that_is_gone():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, shards=2, rate=100) as traffic:
            cluster.servers[2].data |= cluster.servers[0].data
            cluster.servers[0].stop()
            await asyncio.sleep(0.05)
            cluster.owners[0] = 2
            await flowed(traffic, 30)
            cluster.servers[2].data |= cluster.servers[0].data
        result = await traffic.stop()
    assert result.lost == ()
    assert result.unknown <= 1, "the one that was under way"
    assert result.errors["connection"] >= 1
    assert 40 < result.gaps_ms[0] < 1000


async def test_what_is_gone_or_changed_is_lost():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, shards=2, rate=100) as traffic:
            await flowed(traffic)
        await traffic.end()
        data = cluster.servers[1].data
        gone, changed, *_ = list(data)
        del data[gone]
        data[changed] = b"something else"
        assert (await traffic.stop()).lost == (gone, changed)


async def test_a_server_of_another_cluster_at_a_members_address_gets_no_write():
    async with a_cluster() as cluster, a_cluster() as other:
        for server in other.servers:
            server.number += 7
        async with Traffic(cluster.addresses, shards=2, rate=100) as traffic:
            cluster.servers[0].stop()
            other.servers[0].stop()
            other.servers[0].port = cluster.servers[0].port
            await other.servers[0].start()
            await asyncio.sleep(0.2)
        await traffic.end()
        assert not any(server.data for server in other.servers)


async def test_addresses_may_change_and_may_be_unknown_for_a_time():
    async with a_cluster() as cluster:
        told = iter([cluster.addresses[:1], AssertionError("the API is away")])

        def addresses() -> list[str]:
            answer = next(told, cluster.addresses[1:2])
            if isinstance(answer, AssertionError):
                raise answer
            return answer

        async with Traffic(addresses, rate=100) as traffic:
            async with asyncio.timeout(5):
                while str(traffic.members.addresses[0]) != cluster.addresses[1]:
                    await asyncio.sleep(0.01)
        assert (await traffic.stop()).lost == ()


async def test_the_number_of_shards_must_be_as_said():
    async with a_cluster() as cluster:
        with pytest.raises(ValueError, match="2 shards own slots, not 3"):
            async with Traffic(cluster.addresses, shards=3):
                pass


async def test_marks_are_kept_with_their_time():
    async with a_cluster() as cluster:
        async with Traffic(cluster.addresses, rate=100) as traffic:
            traffic.mark("begins")
            await asyncio.sleep(0.05)
            traffic.mark("ends")
        begins, ends = (await traffic.stop()).marks
    assert (begins.says, ends.says) == ("begins", "ends")
    assert ends.at_s - begins.at_s == pytest.approx(0.05, abs=0.04)


async def test_many_commands_reach_whoever_owns_their_slots():
    async with a_cluster() as cluster:
        members = Members(cluster.addresses[2:])
        await members.find()
        keys = {f"key:{number}": str(number) for number in range(1200)}
        stored = await bulk.run(members, {key: ("SET", key, value) for key, value in keys.items()})
        assert set(stored.values()) == {"OK"}
        found = await bulk.run(members, {key: ("GET", key) for key in keys})
        assert {key: str(value, "ascii") for key, value in found.items() if isinstance(value, bytes)} == keys
        assert all(server.data for server in cluster.servers[:2])


@pytest.fixture
def threaded() -> FakeCluster:
    """A cluster that runs in a thread, for a test that blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = a_cluster()
    yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
    asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_test_that_blocks_has_traffic_beside_it(threaded: FakeCluster):
    with running_traffic(lambda: threaded.addresses, shards=2, rate=100) as traffic:
        with pytest.raises(RuntimeError, match="no result"):
            _ = traffic.result
        traffic.mark("begins")
        wanted = traffic.acknowledged + 10
        while traffic.acknowledged < wanted:
            pass
    assert traffic.result.acknowledged >= wanted
    assert traffic.result.lost == ()
    assert traffic.result.marks[0].says == "begins"


def test_a_block_that_fails_ends_the_traffic(threaded: FakeCluster):
    with (
        pytest.raises(AssertionError, match="the operation failed"),
        running_traffic(lambda: threaded.addresses) as traffic,
    ):
        raise AssertionError("the operation failed")
    count = traffic.acknowledged
    assert count >= 2
    assert not any(thread.name == "traffic" for thread in threading.enumerate())
