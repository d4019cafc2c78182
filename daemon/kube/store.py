"""What the daemon knows of one kind of objects: the list-watch fills it, observe reads it.

Each change is judged by resourceVersion, so it does not matter whether it comes from a watch, a list or the
answer to a write of our own, nor in which order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.kube.api import Key, Obj, key_of, resource_version

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


def everything(obj: Obj) -> Obj:
    """A trim that keeps the whole object."""
    return obj


def without_managed_fields(obj: Obj) -> Obj:
    """A trim for kinds whose field owners nobody reads: they can be half of an object."""
    meta = {field: value for field, value in obj["metadata"].items() if field != "managedFields"}
    return obj | {"metadata": meta}


def ungrouped(_: Obj) -> None:
    """A grouping for kinds that are looked up by name only."""


class Store:
    """Objects of one kind by namespace and name, and by group (such as their cluster).

    `on_change(old, new)` is called after each real change; None stands for absent. An object replaced by
    another of the same name is a deletion and then an addition. What `on_change` raises is a bug and is not
    caught here.

    Args:
        on_change: told of each change.
        trim: what to keep of an object; at least its name, namespace, uid and resourceVersion.
        group: which group an object belongs to, None for none.
    """

    def __init__(
        self,
        on_change: Callable[[Obj | None, Obj | None], None],
        *,
        trim: Callable[[Obj], Obj] = everything,
        group: Callable[[Obj], Hashable | None] = ungrouped,
    ) -> None:
        self.trim = trim
        self._on_change = on_change
        self._group = group
        self._objects: dict[Key, Obj] = {}
        self._groups: dict[Hashable, dict[Key, Obj]] = {}
        self._seen = 0

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, namespace: str, name: str) -> Obj | None:
        """The object, or None; namespace is empty for kinds without one."""
        return self._objects.get(Key(namespace, name))

    def all(self) -> list[Obj]:
        """Every object, in no promised order."""
        return list(self._objects.values())

    def of_group(self, group: Hashable) -> list[Obj]:
        """The objects of one group, by namespace and name."""
        members = self._groups.get(group, {})
        return [members[key] for key in sorted(members)]

    def put(self, obj: Obj) -> None:
        """Take the answer to a write of our own, so that it can be read before the watch brings it.

        Ignored when the watch is already past it: the object may have been deleted since.
        """
        if resource_version(obj) > self._seen:
            self._take(self.trim(obj))

    def take_event(self, event_type: str, obj: Obj) -> None:
        """Take an ADDED, MODIFIED, DELETED or BOOKMARK event of the watch."""
        version = resource_version(obj)
        self._seen = max(self._seen, version)
        if event_type == "DELETED":
            self._drop(key_of(obj), up_to=version)
        elif event_type != "BOOKMARK":
            self._take(self.trim(obj))

    def take_list(self, objects: dict[Key, Obj], version: int) -> None:
        """Take a complete list, trimmed, as of `version`: what is missing and not newer was deleted.

        A version older than one seen before means that the cluster's storage was restored from a backup. Then
        nothing that was known counts as newer, and every object is announced again.
        """
        restored = version < self._seen
        for key in list(self._objects):
            if restored or key not in objects:
                self._drop(key, up_to=None if restored else version)
        for obj in objects.values():
            self._take(obj)
        self._seen = version

    def _take(self, obj: Obj) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and resource_version(obj) <= resource_version(old):
            return
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            self._drop(key)
            old = None
        self._ungroup(key, old)
        self._objects[key] = obj
        if (group := self._group(obj)) is not None:
            self._groups.setdefault(group, {})[key] = obj
        self._on_change(old, obj)

    def _drop(self, key: Key, up_to: int | None = None) -> None:
        old = self._objects.get(key)
        if old is None or (up_to is not None and resource_version(old) > up_to):
            return
        del self._objects[key]
        self._ungroup(key, old)
        self._on_change(old, None)

    def _ungroup(self, key: Key, old: Obj | None) -> None:
        if old is None or (group := self._group(old)) is None:
            return
        members = self._groups[group]
        del members[key]
        if not members:
            del self._groups[group]
