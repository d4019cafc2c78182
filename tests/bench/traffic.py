"""Writes to a Valkey cluster while something is done to it: what was lost, and how long who did not answer.

    async with Traffic(addresses, shards=3) as traffic:
        ...                                     # the operation
    result = await traffic.stop()               # reads every acknowledged write back

    with running_traffic(addresses) as traffic: # the same in a thread, for tests that block
        ...
    assert traffic.result.lost == ()

From the command line: `python -m tests.bench.traffic --seconds 10 host:port ...`
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.bench import bulk, plot
from tests.bench.members import Members, owners, spread, tags
from tests.bench.records import Mark, Outcome, Span, summarise
from tests.bench.writers import Load, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.members import Node, Source
    from tests.bench.records import Result

SLOTS_OF_A_WRITER = 16
"""So that a writer still writes everywhere its shard's slots go when they move."""
FLOWS_WITHIN_S = 10.0
_REFRESH_S = 0.5
_BEAT_S = 0.005


class Traffic:
    """One writer (or more) for each shard, from entering until `stop`.

    Args:
        addresses: of some members, `host` or `host:port`; or a function, also a coroutine function, that
            tells those of now. It is asked twice a second, a plain function in a thread, and may fail.
        shards: how many there must be at the start; None for any number.
        rate: writes per second for each shard.
        size: bytes of a value.
        writers: for each shard; they share its rate, evenly spaced. With one, a server that takes a write
            and says nothing holds up the shard's next write for the 250 ms until that is unknown.
    """

    def __init__(
        self,
        addresses: Source,
        *,
        shards: int | None = None,
        rate: float = 40.0,
        size: int = 64,
        writers: int = 1,
    ) -> None:
        self.members = Members(addresses)
        self.errors: Counter[str] = Counter()
        self._shards = shards
        self._per_shard = writers
        self._load = Load(rate / writers, size)
        self._run = secrets.token_hex(4)
        self._writers: list[Writer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._beside: list[asyncio.Task[None]] = []
        self._marks: list[tuple[float, str]] = []
        self._stalled_s = 0.0
        self._began = self._ended = 0.0

    async def __aenter__(self) -> Self:
        """Once every shard has acknowledged a write.

        Raises:
            TimeoutError: a shard does not, or the members do not see all slots owned.
            ValueError: there are not as many shards as said.
        """
        primaries = owners(await self.members.find())
        if self._shards not in {None, len(primaries)}:
            raise ValueError(f"{len(primaries)} shards own slots, not {self._shards}")
        self._writers = [
            self._writer(shard, node, turn)
            for shard, node in enumerate(primaries)
            for turn in range(self._per_shard)
        ]
        await asyncio.gather(*(dial for writer in self._writers for dial in writer.links.warm()))
        self._began = time.monotonic()
        self._beside = [asyncio.create_task(self._look_around()), asyncio.create_task(self._beat())]
        for number, writer in enumerate(self._writers):
            phase = number / (len(self._writers) * writer.load.rate)
            self._tasks.append(asyncio.create_task(writer.work(self._began + phase)))
        try:
            async with asyncio.timeout(FLOWS_WITHIN_S):
                while not self._flows():
                    await asyncio.sleep(_BEAT_S)
        except BaseException:
            await self.end()
            raise
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Writing goes on after a block that ended well, until `stop`; it ends with one that raised."""
        if failure[0] is not None:
            await self.end()

    def mark(self, says: str) -> None:
        """Note that something happens now. Safe from another thread."""
        self._marks.append((time.monotonic(), says))

    @property
    def acknowledged(self) -> int:
        """Writes acknowledged so far. Safe from another thread."""
        return sum(
            one.outcome is Outcome.ACKNOWLEDGED for writer in self._writers for one in writer.writes[:]
        )

    async def stop(self) -> Result:
        """End the writers, read back what was acknowledged, and tell.

        Raises:
            TimeoutError: not everything can be read now.
        """
        await self.end()
        writes = [one for writer in self._writers for one in writer.writes]
        result = summarise(
            writes,
            Span(self._began, self._ended),
            len({writer.shard for writer in self._writers}),
            errors=self.errors,
            stalled_ms=1000 * self._stalled_s,
        )
        marks = tuple(Mark(at - self._began, says) for at, says in self._marks)
        return replace(result, marks=marks, lost=await self.verify())

    async def end(self) -> None:
        """End the writers after the write that each is at; close everything."""
        self._ended = self._ended or time.monotonic()
        for writer in self._writers:
            writer.ending = True
        if self._tasks:
            await asyncio.gather(*self._tasks)
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        for writer in self._writers:
            writer.links.close()

    async def verify(self) -> tuple[str, ...]:
        """Keys of acknowledged writes that are not there now, or hold something else.

        Raises:
            TimeoutError: not everything can be read within 30 s.
        """
        expected = {
            writer.key(one.number): writer.value(one.number).encode()
            for writer in self._writers
            for one in writer.writes
            if one.outcome is Outcome.ACKNOWLEDGED
        }
        found = await bulk.run(self.members, {key: ("GET", key) for key in expected})
        return tuple(key for key, value in expected.items() if found[key] != value)

    def _writer(self, shard: int, node: Node, turn: int) -> Writer:
        index = shard * self._per_shard + turn
        mine = tags(spread(node.slots, SLOTS_OF_A_WRITER))
        writer = Writer(shard, index, mine, self.members, self._run, self._load, self.errors)
        writer.owned_by(node.address)
        return writer

    def _flows(self) -> bool:
        served = {
            writer.shard
            for writer in self._writers
            if any(one.outcome is Outcome.ACKNOWLEDGED for one in writer.writes)
        }
        return served == {writer.shard for writer in self._writers}

    async def _look_around(self) -> None:
        """Keep the members' addresses, and a connection to each, for the moment when one is needed."""
        while True:
            # Whoever tells addresses may be away for a time: the API server of a test, for one.
            with suppress(Exception):
                await self.members.refresh()
            for writer in self._writers:
                writer.links.warm()
            await asyncio.sleep(_REFRESH_S)

    async def _beat(self) -> None:
        """How late this process is at most."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_BEAT_S)
            self._stalled_s = max(self._stalled_s, time.monotonic() - before - _BEAT_S)


class Running:
    """Traffic in a thread of its own."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self._result: Result | None = None

    @property
    def result(self) -> Result:
        """What the traffic saw; after the block.

        Raises:
            RuntimeError: it has not ended, or its block raised.
        """
        if self._result is None:
            raise RuntimeError("the traffic has no result before its block has ended well")
        return self._result

    @property
    def acknowledged(self) -> int:
        """Writes acknowledged so far."""
        return self.traffic.acknowledged

    def mark(self, says: str) -> None:
        """Note that something happens now."""
        self.traffic.mark(says)


@contextmanager
def running_traffic(addresses: Source, **settings: Any) -> Iterator[Running]:
    """Traffic beside the block, from when every shard has acknowledged a write.

    After the block everything acknowledged is read back, and `result` is there. When the block raises, the
    writers end and nothing is read.

    Args:
        addresses: see Traffic.
        settings: see Traffic.

    Raises:
        TimeoutError: the traffic does not flow, or not everything can be read at the end.
    """
    running = Running(Traffic(addresses, **settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="traffic", daemon=True)
    thread.start()

    def wait(story: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(story, loop).result()

    try:
        wait(running.traffic.__aenter__())
        try:
            yield running
        except BaseException:
            wait(running.traffic.end())
            raise
        running._result = wait(running.traffic.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _for_seconds(arguments: argparse.Namespace) -> Result:
    async with Traffic(arguments.addresses, rate=arguments.rate, size=arguments.size) as traffic:
        await asyncio.sleep(arguments.seconds)
    return await traffic.stop()


def main() -> None:
    """Write for some seconds, read back, print what was seen."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("addresses", nargs="+", metavar="host:port", help="of one member at least")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=40.0, help="writes per second for each shard")
    parser.add_argument("--size", type=int, default=64, help="bytes of a value")
    parser.add_argument("--svg", type=Path, help="draw the run into this file")
    arguments = parser.parse_args()
    result = asyncio.run(_for_seconds(arguments))
    print(result.table())
    if arguments.svg:
        arguments.svg.write_text(plot.svg(result, "traffic"))
    raise SystemExit(1 if result.lost else 0)


if __name__ == "__main__":
    main()
