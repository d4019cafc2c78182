"""Waiting until the world is as asked, never for a time; what it was instead is told on failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_S = 0.1

_T = TypeVar("_T")


def until(
    holds: Callable[[], _T],
    what: str,
    within_s: float,
    explain: Callable[[], str] = str,
    look_s: float = _LOOK_S,
) -> _T:
    """The first true value of `holds`.

    Raises:
        AssertionError: there was none in time; with what `explain` says then.
    """
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:.0f} s: {what}\n{explain()}")
        time.sleep(look_s)
    return value


def timed(holds: Callable[[], object], what: str, within_s: float, explain: Callable[[], str] = str) -> float:
    """Seconds until `holds` was true, to 0.05 s."""
    started = time.monotonic()
    until(holds, what, within_s, explain, look_s=0.05)
    return time.monotonic() - started
