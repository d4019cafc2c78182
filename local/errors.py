"""What can go wrong here, each with a message that a person can act on.

LocalError
├── MissingFeaturesError  this machine cannot hold the local Kubernetes (exit code 3)
├── PartError             a part could not be built
├── ImageError            a container image could not be made or loaded
├── ProcessError          a part did not start or did not become healthy
└── NotRunningError       the local Kubernetes is not there
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TAIL_LINES = 15


class LocalError(Exception):
    """Something a person has to see; the command ends with `exit_code`."""

    exit_code = 1


class MissingFeaturesError(LocalError):
    """The machine lacks something that the local Kubernetes cannot do without."""

    exit_code = 3

    def __init__(self, missing: Sequence[str]) -> None:
        lines = "\n".join(f"  - {one}" for one in missing)
        super().__init__(
            f"This machine cannot run the local Kubernetes:\n{lines}\n"
            "Use a cluster of your own instead: set KUBECONFIG to its kubeconfig and run the same command."
        )


class PartError(LocalError):
    """A part could not be built."""


class ImageError(LocalError):
    """A container image could not be made or loaded."""


class ProcessError(LocalError):
    """A part did not start, or started and did not become healthy."""


class NotRunningError(LocalError):
    """The local Kubernetes is not running."""


def tail(log: Path) -> str:
    """Last lines of a log, indented; says so when there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except FileNotFoundError:
        return "  (it wrote no log)"
    return "\n".join(f"  {line}" for line in lines) or "  (its log is empty)"


def explain(what: str, log: Path, hint: str) -> str:
    """One message in the form every failure here has: what, the last lines, the log, what to try."""
    return f"{what}. The last lines of its log:\n{tail(log)}\nThe whole log: {log}\nWhat to try: {hint}"
