"""What can go wrong between the daemon and the API server.

    ApiError
    ├── Unreachable           no usable answer; a write may or may not have been made
    ├── NotLeader             the Lease is not held, so the write was not sent
    └── Refused               the server answered with a Status
        ├── BadRequest        400
        ├── Unauthorized      401
        ├── Forbidden         403; also an in-place resize larger than its node (cause NodeCapacity)
        ├── NotFound          404
        ├── AlreadyExists     409, a create
        ├── Conflict          409, a precondition (uid, resourceVersion) or another field manager
        ├── Gone              410, the resourceVersion or continue token is too old: list again
        ├── Invalid           422
        ├── TooManyRequests   429; also an eviction that a budget forbids (cause DisruptionBudget)
        └── ServerError       5xx; after 504 a write may or may not have been made

Callers tell special cases apart by `causes`, which are part of the API, never by the message.
"""

from __future__ import annotations

from typing import Any

import msgspec

RETRY_AFTER_MAX_S = 300.0
"""A proxy's Retry-After of a day must not switch the daemon off for a day."""


class ApiError(Exception):
    """Anything the Kubernetes seam raises."""


class Unreachable(ApiError):
    """No usable answer came: no connection, a time-out, a torn stream, no credentials, not Kubernetes."""


class NotLeader(ApiError):
    """This process does not hold the Lease (any more) and must not write."""


class Refused(ApiError):
    """The server answered with a failure.

    Attributes:
        code: HTTP status, also for an error inside a watch stream.
        reason: the Status' CamelCase reason, empty when there is none.
        causes: reasons of the Status' causes, such as NodeCapacity, DisruptionBudget, FieldManagerConflict.
        retry_after_s: how long the server asks to be left alone, if it does (at most RETRY_AFTER_MAX_S).
    """

    def __init__(self, status: dict[str, Any], retry_after_s: float | None = None) -> None:
        details = status.get("details") or {}
        self.code: int = status.get("code") or 0
        self.reason: str = status.get("reason") or ""
        self.causes = frozenset(str(cause.get("reason", "")) for cause in details.get("causes") or ())
        if retry_after_s is None and details.get("retryAfterSeconds"):
            retry_after_s = float(details["retryAfterSeconds"])
        self.retry_after_s = None if retry_after_s is None else min(retry_after_s, RETRY_AFTER_MAX_S)
        super().__init__(status.get("message") or f"HTTP {self.code} {self.reason}".rstrip())


class BadRequest(Refused):
    """The request itself is malformed: a bug of ours or an API this server does not know."""


class Unauthorized(Refused):
    """The credentials are not accepted."""


class Forbidden(Refused):
    """RBAC or an admission plugin says no."""


class NotFound(Refused):
    """The object, or its whole kind, does not exist."""


class AlreadyExists(Refused):
    """A create met an object of the same name."""


class Conflict(Refused):
    """Not the object, or the version of it, that the writer had seen; or others own the fields."""


class Gone(Refused):
    """The history asked for has been compacted away: list again."""


class Invalid(Refused):
    """The object fails validation."""


class TooManyRequests(Refused):
    """The server, or a PodDisruptionBudget, asks to come back later."""


class ServerError(Refused):
    """The server, its storage or a webhook failed."""


_BY_CODE: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def from_status(status: dict[str, Any], retry_after_s: float | None = None) -> Refused:
    """The error for a Status object, from an answer's body or from a watch stream."""
    code = status.get("code") or 0
    if status.get("reason") == "AlreadyExists":
        return AlreadyExists(status, retry_after_s)
    causes = (status.get("details") or {}).get("causes") or ()
    if code == 422 and any(cause.get("field") == "metadata.uid" for cause in causes):  # noqa: PLR2004  HTTP's own numbers
        # A patch that names another uid than the object's is refused as an attempt to change it.
        return Conflict(status, retry_after_s)
    error = _BY_CODE.get(code, ServerError if code >= 500 else Refused)  # noqa: PLR2004  HTTP's own classes
    return error(status, retry_after_s)


def from_response(code: int, body: bytes, retry_after: str | None) -> Refused:
    """The error for an HTTP answer that is not a success, whoever wrote its body.

    Args:
        code: HTTP status.
        body: a Status in JSON, or whatever a proxy in between says.
        retry_after: the header of that name; only its form in whole seconds is understood.
    """
    retry_after_s = float(retry_after) if retry_after and retry_after.isdecimal() else None
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"message": body[:300].decode(errors="replace").strip()}
    return from_status({**status, "code": code}, retry_after_s)
