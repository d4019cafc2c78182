"""The whole story of one pass.

dirty key -> observe -> decide -> announce (status, event: before anything is done) -> act -> again
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.decide import decide
from daemon.errors import StepError
from daemon.kube.errors import ApiError
from daemon.status import since
from daemon.steps import Blocked, Refused, ReleaseFinalizer, Steady, Step, Wait

if TYPE_CHECKING:
    from daemon.act import Actor
    from daemon.kube.api import Key
    from daemon.observe import Observer
    from daemon.report import Reporter

PATIENCE_SHARE = 0.02
"""Part of the time already waited until the next look: 0.1 s after 5 s, 1 s after 50 s."""
WAIT_LOOK_MAX_S = 5.0
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
    return due_in_s(step, news=news, waited_s=view.now - unix(since(view, step)))


def due_in_s(step: Step, *, news: bool, waited_s: float = 0.0) -> float | None:
    """When to look again if nothing happens.

    At once after a change, or after a status that was new: the phase moves one hop at a time. A wait that
    lasts is looked at less and less often: what it waits for comes with an event, or is slow anyway.
    """
    match step:
        case Wait():
            return max(step.seconds, min(waited_s * PATIENCE_SHARE, WAIT_LOOK_MAX_S))
        case Blocked() if not news:
            return BLOCKED_LOOK_S
        case Refused() | Steady() if not news:
            return None
        case ReleaseFinalizer():
            return 1.0  # the watch brings the end sooner
        case _:
            return 0.0
