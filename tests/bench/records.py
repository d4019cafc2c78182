"""What became of each write, and the figures that follow from it. Pure: times in, figures out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WINDOW_S = 0.1
"""Availability and the series count in windows of this length."""


class Outcome(StrEnum):
    """What a client knows of a write at its end."""

    ACKNOWLEDGED = "acknowledged"
    """The server said OK: it must be there for ever."""
    FAILED = "failed"
    """Refused, or never sent, until the patience was over: it is not there."""
    UNKNOWN = "unknown"
    """Sent, and not answered: it may be there or not, and is not tried again."""


class Write(NamedTuple):
    """One write.

    Attributes:
        shard: whose slots it is for, as they were divided at the start.
        writer: who wrote it.
        number: of this writer's writes.
        start: when it was first tried. Had it to wait for the one before, then when it was due, so that a
            stall counts for all writes that it delayed and not for one of them only.
        end: when its outcome was known. Both in seconds of one monotonic clock.
        outcome: what became of it.
    """

    shard: int
    writer: int
    number: int
    start: float
    end: float
    outcome: Outcome


class Mark(NamedTuple):
    """Something that happened, in seconds since the start."""

    at_s: float
    says: str


class Window(NamedTuple):
    """What happened in 0.1 s: writes acknowledged; the longest gap of any shard that touches it, in ms."""

    acknowledged: int
    gap_ms: float


@dataclass(frozen=True)
class Span:
    """From when the writers began to when they were told to end."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start

    @property
    def windows(self) -> int:
        """Whole windows in it; what is left over at the end is in none."""
        return math.floor(self.seconds / WINDOW_S + 1e-9)

    def touched(self, start: float, end: float) -> range:
        """Numbers of the windows that have a moment of this time in them."""
        first = math.floor((start - self.start) / WINDOW_S)
        last = math.floor((end - self.start) / WINDOW_S)
        return range(max(0, first), min(self.windows, last + 1))


@dataclass(frozen=True)
class Result:
    """What the traffic saw.

    Attributes:
        seconds: how long writes were begun.
        acknowledged: writes that the server said OK to.
        failed: writes that were refused, or could not be sent, for as long as the patience.
        unknown: writes that were sent and not answered; neither acknowledged nor lost.
        availability: of all windows of 100 ms of each shard in which a write was under way at some moment,
            the share in which at least one was acknowledged. From 0 to 1; 0 when nothing was tried.
        p50_ms: half of the acknowledged writes took no longer, from when they were due.
        p99_ms: 99 of 100 took no longer.
        max_ms: the longest.
        gaps_ms: of each shard the longest time between the ends of two acknowledged writes that follow each
            other, or from the start to the first, or from the last to the end. At one write each 25 ms a
            shard that always answers has a gap of 25 ms.
        errors: refusals and failures by kind: MOVED, ASK, CLUSTERDOWN, ..., `connection`, `timeout`.
        stalled_ms: the longest time that this process itself came too late to its own timer; a gap of that
            length says nothing of the servers.
        series: the windows in order, over all shards.
        lost: keys of acknowledged writes that are not there or hold something else.
        marks: what the caller marked.
    """

    seconds: float
    acknowledged: int
    failed: int
    unknown: int
    availability: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    gaps_ms: tuple[float, ...]
    errors: Mapping[str, int]
    stalled_ms: float
    series: tuple[Window, ...]
    lost: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = field(default=())

    @property
    def longest_gap_ms(self) -> float:
        """Of all shards."""
        return max(self.gaps_ms, default=0.0)

    def table(self) -> str:
        """For people, on a terminal."""
        errors = ", ".join(f"{kind} {number}" for kind, number in sorted(self.errors.items()))
        lines = {
            "seconds": f"{self.seconds:.1f}",
            "acknowledged": f"{self.acknowledged}",
            "failed": f"{self.failed}",
            "unknown": f"{self.unknown}",
            "lost": f"{len(self.lost)}{''.join(f' {key}' for key in self.lost[:5])}",
            "availability": f"{100 * self.availability:.2f} %",
            "latency p50, p99, max": f"{self.p50_ms:.1f}, {self.p99_ms:.1f}, {self.max_ms:.1f} ms",
            "longest gap of each shard": ", ".join(f"{gap:.1f}" for gap in self.gaps_ms) + " ms",
            "own longest stall": f"{self.stalled_ms:.1f} ms",
            "errors": errors or "none",
        }
        return "\n".join(f"{name:<27}{value}" for name, value in lines.items())


def summarise(
    writes: Sequence[Write],
    span: Span,
    shards: int,
    *,
    errors: Mapping[str, int] | None = None,
    stalled_ms: float = 0.0,
) -> Result:
    """The figures of all writes. What is lost and what was marked is for the caller to add."""
    taken_ms = sorted(1000 * (one.end - one.start) for one in writes if one.outcome is Outcome.ACKNOWLEDGED)
    outcomes = Counter(one.outcome for one in writes)
    acknowledged = [acknowledged_at(writes, shard) for shard in range(shards)]
    return Result(
        seconds=span.seconds,
        acknowledged=outcomes[Outcome.ACKNOWLEDGED],
        failed=outcomes[Outcome.FAILED],
        unknown=outcomes[Outcome.UNKNOWN],
        availability=availability(writes, span, shards),
        p50_ms=percentile(taken_ms, 50),
        p99_ms=percentile(taken_ms, 99),
        max_ms=percentile(taken_ms, 100),
        gaps_ms=tuple(1000 * max(end - start for start, end in gaps(times, span)) for times in acknowledged),
        errors=dict(errors or {}),
        stalled_ms=stalled_ms,
        series=series(acknowledged, span),
    )


def acknowledged_at(writes: Iterable[Write], shard: int) -> list[float]:
    """When each acknowledged write of the shard ended, in order."""
    return sorted(one.end for one in writes if one.shard == shard and one.outcome is Outcome.ACKNOWLEDGED)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank); 0 of none."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def gaps(acknowledged: Sequence[float], span: Span) -> list[tuple[float, float]]:
    """The times without an acknowledgement: start to first, between two, last to end."""
    # A write under way when the writers were told to end is waited for and may end after that.
    end = max(span.end, acknowledged[-1]) if acknowledged else span.end
    return list(pairwise((span.start, *acknowledged, end)))


def availability(writes: Sequence[Write], span: Span, shards: int) -> float:
    """See `Result.availability`."""
    tried = answered = 0
    for shard in range(shards):
        mine = [one for one in writes if one.shard == shard]
        attempted = {window for one in mine for window in span.touched(one.start, one.end)}
        served = {window for at in acknowledged_at(mine, shard) for window in span.touched(at, at)}
        tried += len(attempted)
        answered += len(attempted & served)
    return answered / tried if tried else 0.0


def series(acknowledged: Sequence[Sequence[float]], span: Span) -> tuple[Window, ...]:
    """All windows of the span, over all shards."""
    counts = Counter(window for times in acknowledged for at in times for window in span.touched(at, at))
    longest = [0.0] * span.windows
    for times in acknowledged:
        for start, end in gaps(times, span):
            for window in span.touched(start, end):
                longest[window] = max(longest[window], 1000 * (end - start))
    return tuple(Window(counts[window], gap) for window, gap in enumerate(longest))
