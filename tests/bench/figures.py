"""Runs of an operation as a table: minimum, median and maximum of each figure. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.bench.records import Result


@dataclass(frozen=True)
class Run:
    """One run of an operation under traffic.

    Attributes:
        effect_s: seconds until what was asked for, or done to the cluster, had its effect on every pod.
        seconds: until the status said done besides, and every server that all is well.
        restarts: containers started again in pods that stayed.
        replaced: pods that are other ones now.
        lost: keys that were there before, or were acknowledged meanwhile, and are gone.
        result: what the traffic saw.
    """

    effect_s: float
    seconds: float
    restarts: int
    replaced: int
    lost: int
    result: Result


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    says: str
    of: Callable[[Run], float]
    digits: int = 0


FIGURES = (
    Figure("in effect on every pod after, s", lambda run: run.effect_s, 1),
    Figure("done by its status after, s", lambda run: run.seconds, 1),
    Figure("longest gap of a shard, ms", lambda run: run.result.longest_gap_ms),
    Figure("p99 of a write, ms", lambda run: run.result.p99_ms, 1),
    Figure("availability, %", lambda run: 100 * run.result.availability, 2),
    Figure("writes acknowledged", lambda run: run.result.acknowledged),
    Figure("writes refused for 1 s", lambda run: run.result.failed),
    Figure("writes without an answer", lambda run: run.result.unknown),
    Figure("**acknowledged writes lost**", lambda run: run.lost),
    Figure("pods replaced", lambda run: run.replaced),
    Figure("containers restarted", lambda run: run.restarts),
    Figure("longest stall of the measuring process, ms", lambda run: run.result.stalled_ms),
)


def table(runs: Sequence[Run], figures: Iterable[Figure] = FIGURES) -> str:
    """All figures of the runs, as Markdown; a column for each of minimum, median and maximum."""
    lines = [f"| {len(runs)} runs | min | median | max |", "|---|---|---|---|"]
    lines += [row(figure.says, [figure.of(run) for run in runs], figure.digits) for figure in figures]
    return "\n".join(lines)


def row(says: str, values: Sequence[float], digits: int = 0) -> str:
    """One figure's minimum, median and maximum."""
    cells = (min(values), statistics.median(values), max(values))
    return f"| {says} | " + " | ".join(f"{cell:.{digits}f}" for cell in cells) + " |"


def worst(runs: Sequence[Run]) -> Run:
    """The run with the longest gap: the one to draw."""
    return max(runs, key=lambda run: run.result.longest_gap_ms)
