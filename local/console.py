"""What a person sees while it runs: lines on stderr, and on a terminal a live line for what takes long.

stdout belongs to the answers of `kubeconfig`, `env` and `status`.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPORT_EVERY_S = 20.0

_console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def say(line: str) -> None:
    """One line for the person who waits."""
    _console.print(line)


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Announce `what`, give a function that reports how far it is, say at the end how long it took.

    On a terminal each report replaces the one before; elsewhere one is printed every 20 seconds.
    When the block raises, nothing more is printed: the error says it all.
    """
    started = time.monotonic()
    said = started
    say(f"{what} ...")

    def report(detail: str) -> None:
        nonlocal said
        now = time.monotonic()
        line = f"{what}: {now - started:.0f} s, {detail}"
        if _console.is_terminal:
            status.update(line)
        elif now - said >= REPORT_EVERY_S:
            said = now
            say(line)

    with _console.status(what) as status:
        yield report
    say(f"{what}: done in {time.monotonic() - started:.1f} s")
