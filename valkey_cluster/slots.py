"""Slot arithmetic: integers in, integers out.

A set of slots is a tuple of inclusive ranges, sorted, disjoint and not adjacent, the form in which
CLUSTER NODES prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SLOTS = 16384
"""Number of hash slots of every Valkey cluster (Valkey cluster specification)."""

Range = tuple[int, int]
Ranges = tuple[Range, ...]

ALL: Ranges = ((0, SLOTS - 1),)


def even_split(shards: int) -> tuple[Ranges, ...]:
    """Slots of each of `shards` shards: contiguous, complete, sizes differ by one at most."""
    bounds = [SLOTS * i // shards for i in range(shards + 1)]
    return tuple(((start, end - 1),) for start, end in pairwise(bounds))


def normalise(ranges: Iterable[Range]) -> Ranges:
    """Sort and join ranges that overlap or touch."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def count(ranges: Ranges) -> int:
    """Number of slots in `ranges`."""
    return sum(end - start + 1 for start, end in ranges)


def complement(ranges: Iterable[Range]) -> Ranges:
    """Slots that are in no range: what nobody owns."""
    free: list[Range] = []
    following = 0
    for start, end in normalise(ranges):
        if start > following:
            free.append((following, start - 1))
        following = end + 1
    if following < SLOTS:
        free.append((following, SLOTS - 1))
    return tuple(free)


def parse(words: str) -> Ranges:
    """From the servers' spelling: `0-9 20-29 31`."""
    bounds = (word.partition("-") for word in words.replace(",", " ").split())
    return normalise((int(start), int(end or start)) for start, _, end in bounds)


def text(ranges: Ranges) -> str:
    """For people: `0-5460, 5462`."""
    return ", ".join(str(start) if start == end else f"{start}-{end}" for start, end in ranges)


@dataclass(frozen=True)
class Move:
    """Slots that go from one shard to another."""

    source: int
    target: int
    slots: Ranges


def shares(owned: Mapping[int, int], weights: Mapping[int, int]) -> dict[int, int]:
    """How many slots each shard should own, by weight; of all fair divisions the one nearest to `owned`.

    Fair: each shard has its exact share, rounded down or up. A shard without weight gets nothing.

    Raises:
        ValueError: no shard has a weight.
    """
    total = sum(weights.values())
    if total <= 0:
        raise ValueError("no shard has a weight")
    fair = {shard: SLOTS * weight // total for shard, weight in weights.items()}
    open_shards = [shard for shard, weight in weights.items() if SLOTS * weight % total]
    # A slot more costs nothing where it already is.
    open_shards.sort(key=lambda shard: (owned.get(shard, 0) <= fair[shard], shard))
    for shard in open_shards[: SLOTS - sum(fair.values())]:
        fair[shard] += 1
    return fair


def moves(owned: Mapping[int, Ranges], weights: Mapping[int, int]) -> tuple[Move, ...]:
    """What has to move until every shard has its share: as few slots as possible, between few pairs.

    Args:
        owned: slots of each shard that has any; shards that are not in `weights` have none.
        weights: of each shard; 0 for one that is to be emptied.

    Raises:
        ValueError: no shard has a weight.
    """
    counts = {shard: count(owned.get(shard, ())) for shard in weights}
    wanted = shares(counts, weights)
    surplus = {shard: counts[shard] - wanted[shard] for shard in weights if counts[shard] > wanted[shard]}
    deficit = {shard: wanted[shard] - counts[shard] for shard in weights if counts[shard] < wanted[shard]}
    left = {shard: owned[shard] for shard in surplus}
    found = []
    while surplus and deficit:
        source = max(surplus, key=lambda shard: (surplus[shard], -shard))
        target = max(deficit, key=lambda shard: (deficit[shard] == surplus[source], deficit[shard], -shard))
        number = min(surplus[source], deficit[target])
        left[source], going = _split(left[source], count(left[source]) - number)
        found.append(Move(source, target, going))
        _reduce(surplus, source, number)
        _reduce(deficit, target, number)
    return tuple(found)


def first(ranges: Ranges, number: int) -> Ranges:
    """The first `number` slots."""
    return _split(ranges, number)[0]


def minus(ranges: Ranges, taken: Iterable[Range]) -> Ranges:
    """The slots of `ranges` that are not in `taken`."""
    return complement([*complement(ranges), *taken])


def _split(ranges: Ranges, number: int) -> tuple[Ranges, Ranges]:
    """The first `number` slots, and the others."""
    head: list[Range] = []
    tail: list[Range] = []
    for start, end in ranges:
        middle = min(end, start + number - 1)
        if middle >= start:
            head.append((start, middle))
            number -= middle - start + 1
        if end > middle:
            tail.append((max(start, middle + 1), end))
    return tuple(head), tuple(tail)


def _reduce(amounts: dict[int, int], shard: int, number: int) -> None:
    amounts[shard] -= number
    if not amounts[shard]:
        del amounts[shard]
