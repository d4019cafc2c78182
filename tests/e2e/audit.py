"""What a component asked of the API server, from the server's own audit log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

_POD = "authentication.kubernetes.io/pod-name"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True)
class Request:
    """One request, once, however many stages the log has of it."""

    user: str
    verb: str
    group: str
    resource: str
    """With the subresource, as in a Role: `valkeyclusters/status`."""
    namespace: str
    name: str
    code: int
    at: str
    pod: str
    """The pod whose token was used; empty for other credentials."""

    @property
    def writes(self) -> bool:
        """It changes something."""
        return self.verb in WRITES


def now() -> str:
    """This moment, to be compared with `Request.at`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def account(namespace: str, name: str = "valkeeper") -> str:
    """A ServiceAccount's user name."""
    return f"system:serviceaccount:{namespace}:{name}"


def requests(user: str, since: str) -> list[Request]:
    """The user's requests that came in after `since`; those still running (watches) too."""
    seen: dict[str, Request] = {}
    for entry in _entries(f'"username":"{user}"', since):
        seen[entry["auditID"]] = _request(entry)  # the last stage has the final code
    return list(seen.values())


def _entries(containing: str, since: str) -> Iterator[dict[str, Any]]:
    for file in sorted(paths.LOGS.glob("audit*.log")):
        with file.open() as lines:
            for line in lines:
                if containing not in line or not line.endswith("}\n"):
                    continue
                entry = json.loads(line)
                if entry["requestReceivedTimestamp"] >= since:
                    yield entry


def _request(entry: dict[str, Any]) -> Request:
    about = entry.get("objectRef", {})
    sub = about.get("subresource")
    return Request(
        user=entry["user"]["username"],
        verb=entry["verb"],
        group=about.get("apiGroup", ""),
        resource=f"{about.get('resource', '')}/{sub}" if sub else about.get("resource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
        at=entry["requestReceivedTimestamp"],
        pod=entry["user"].get("extra", {}).get(_POD, [""])[0],
    )
