"""An event loop whose clock jumps: waiting takes no time, and durations come out exactly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")


class _Loop(asyncio.SelectorEventLoop):
    """When nothing can run, it is the time of the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if due and not self._ready:  # type: ignore[attr-defined]
            self._now = max(self._now, min(due))
        super()._run_once()  # type: ignore[misc]


def now() -> float:
    """Seconds of virtual time since the loop began."""
    return asyncio.get_running_loop().time()


def virtually(story: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop of its own, in virtual time; not for anything that talks to a network."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(story)
