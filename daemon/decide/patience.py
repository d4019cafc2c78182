"""A wait that lasts too long says so: it turns into Blocked, and never into going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.steps import Blocked, Step, Wait, gist

if TYPE_CHECKING:
    from daemon.topology import View


def with_patience(view: View, step: Step) -> Step:
    """`step`, or Blocked when the status shows the same wait since more than its patience.

    The clock is the status' own `since`, so a restart of the daemon does not set it back; nor does a pod
    that fails each time in other words, for these stand in parentheses.
    """
    prior = view.status.step
    if not isinstance(step, Wait) or prior is None or gist(prior.because) != gist(step.because):
        return step
    if view.now - unix(prior.since) < step.patience_s:
        return step
    minutes = round(step.patience_s / 60)
    because = f"{step.because} (for more than {minutes} min)"
    return Blocked(reason="WaitedTooLong", because=because, remedy=step.remedy)
