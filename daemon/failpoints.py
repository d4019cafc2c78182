"""Places where a test can kill the daemon: before or after each kind of step, and inside an update.

VALKEEPER_FAILPOINT names one place, such as `before:Meet` or `after:Provision`; there the process gets
SIGKILL, as if the node had lost power. Not set, nothing here does anything.
"""

from __future__ import annotations

import os
import signal


def reach(place: str) -> None:
    """Die here if this is the place."""
    if os.environ.get("VALKEEPER_FAILPOINT") == place:
        os.kill(os.getpid(), signal.SIGKILL)
