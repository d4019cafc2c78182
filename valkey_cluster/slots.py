"""Slot arithmetic: integers in, integers out.

A set of slots is a tuple of inclusive ranges, sorted, disjoint and not adjacent, the form in which
CLUSTER NODES prints it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def text(ranges: Ranges) -> str:
    """For people: `0-5460, 5462`."""
    return ", ".join(str(start) if start == end else f"{start}-{end}" for start, end in ranges)
