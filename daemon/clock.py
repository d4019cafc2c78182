"""Times as Kubernetes writes them. Pure: nobody here asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(unix_s: float) -> str:
    """Unix seconds as `2026-11-23T13:17:00Z`."""
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat().replace("+00:00", "Z")


def unix(text: str) -> float:
    """The inverse of `rfc3339`. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
