"""The seam between the daemon and Kubernetes: what can be asked of an API server.

`observe`, `act`, the list-watch, the Lease and the event recorder know this Protocol only. The real one is
`client.LightkubeApi`; a fake needs a dict and these methods. All methods raise `errors.ApiError` and nothing
else for what the world does to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from daemon.kube.kinds import Resource

Obj = dict[str, Any]
"""A Kubernetes object as parsed JSON. Not to be changed in place."""


class Key(NamedTuple):
    """Where an object is among those of its kind; namespace is empty for kinds without one."""

    namespace: str
    name: str


def key_of(obj: Obj) -> Key:
    """The object's place among those of its kind."""
    meta = obj["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


def resource_version(obj: Obj) -> int:
    """The object's version; comparable between objects of one kind from Kubernetes 1.35 on (KEP-5504)."""
    return int(obj["metadata"]["resourceVersion"])


class Page(NamedTuple):
    """One page of a list; all pages of a list carry the resourceVersion of its first moment."""

    items: list[Obj]
    resource_version: str


class WatchEvent(NamedTuple):
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK. An ERROR is raised instead."""

    type: str
    object: Obj


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind: those of one namespace (None: of all) whose labels match `labels`."""

    resource: Resource
    namespace: str | None = None
    labels: str = ""


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must still hold for a write to be made; otherwise it raises `Conflict`.

    Attributes:
        uid: the object is the one that was seen, not a later one of the same name.
        resource_version: it has not changed since.
    """

    uid: str | None = None
    resource_version: str | None = None

    def fields(self) -> dict[str, str]:
        """The precondition as fields of `metadata` or of DeleteOptions' `preconditions`."""
        pairs = {"uid": self.uid, "resourceVersion": self.resource_version}
        return {field: value for field, value in pairs.items() if value is not None}


ALWAYS = Precondition()
"""No precondition: only for writes that are right whatever the object looks like."""


class KubeApi(Protocol):
    """An API server. Answers are whole objects, with apiVersion and kind also in lists."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """Read one object, live."""

    def list_pages(self, selection: Selection, *, limit: int = 500) -> AsyncIterator[Page]:
        """Read all selected objects as of one moment, at most `limit` in memory twice.

        Raises `Gone` when that moment was compacted away between two pages.
        """

    def watch(
        self, selection: Selection, *, since: str, timeout_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Stream changes after resourceVersion `since`, with bookmarks.

        Entering returns when the server has accepted the watch. The stream ends when the server closes it, at
        the latest `timeout_s` seconds later; it raises `Gone` when `since` is too old (on entering or inside
        the stream) and `Unreachable` when it is torn or silent for longer than a bookmark may take.
        """

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        """Create an object; `AlreadyExists` when there is one of that name."""

    async def apply(self, resource: Resource, obj: Obj, *, manager: str, force: bool = False) -> Obj:
        """Server-side apply: `manager` owns exactly the fields in `obj`; those it stops sending go away.

        A `metadata.uid` or `metadata.resourceVersion` in `obj` is a precondition. `Conflict` when other
        managers own fields with other values, unless `force`.
        """

    async def apply_status(self, resource: Resource, obj: Obj, *, manager: str) -> Obj:
        """Server-side apply of `obj`'s `status`, taking fields from whoever else wrote them.

        Conditions are keyed by type: one that is no longer sent is deleted. `obj` is cut down to its name,
        its resourceVersion and `status`, so a changed copy of what was read can be passed. The
        resourceVersion, when there, is a precondition; a uid would not be (the server ignores it here).
        """

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Obj, only_if: Precondition
    ) -> Obj:
        """JSON merge patch: lists are replaced, null deletes."""

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        only_if: Precondition,
        *,
        orphan: bool = False,
    ) -> None:
        """Ask for deletion; returns before it is done. `orphan` leaves what the object owns."""

    async def evict(self, namespace: str, pod: str, *, uid: str) -> None:
        """Evict a pod through its budget: `TooManyRequests` with cause DisruptionBudget when that says no.

        `Conflict` when the pod of that name is another one.
        """

    async def resize(self, namespace: str, pod: str, patch: Obj, *, uid: str) -> Obj:
        """Strategic merge patch of a pod's container resources in place (KEP-1287)."""
