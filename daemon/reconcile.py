"""The whole story of one pass.

dirty key -> observe -> decide -> announce (status, event: before anything is done) -> act -> again
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.decide import decide
from daemon.errors import StepError
from daemon.kube.errors import ApiError
from daemon.steps import Blocked, Refused, ReleaseFinalizer, Steady, Step, Wait

if TYPE_CHECKING:
    from daemon.act import Actor
    from daemon.kube.api import Key
    from daemon.observe import Observer
    from daemon.report import Reporter

BLOCKED_LOOK_S = 10.0
"""A blocked cluster is looked at this often besides its events: Valkey servers send none."""


async def reconcile(key: Key, observer: Observer, actor: Actor, reporter: Reporter) -> float | None:
    """One pass over one cluster; seconds until the next is due without an event, None for no date.

    Raises:
        StepError, ApiError: the pass failed; if it was in its step, status and event say so.
    """
    view = await observer.observe(key)
    if view is None:
        return None
    step = decide(view)
    news = await reporter.announce(view, step)
    try:
        await actor.act(view, step)
    except (StepError, ApiError) as error:
        await reporter.failed(view, step, error)
        raise
    return due_in_s(step, news=news)


def due_in_s(step: Step, *, news: bool) -> float | None:
    """When to look again if nothing happens.

    At once after a change, or after a status that was new: the phase moves one hop at a time.
    """
    match step:
        case Wait():
            return step.seconds
        case Blocked() if not news:
            return BLOCKED_LOOK_S
        case Refused() | Steady() if not news:
            return None
        case ReleaseFinalizer():
            return 1.0  # the watch brings the end sooner
        case _:
            return 0.0
