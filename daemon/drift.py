"""What of an object is not as it was applied, and who changed it. Pure.

Only what the stage declares counts: defaults, status and what others added beside it are not drift, just
as they are not for Pulumi's refresh, which puts it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daemon.topology import Drift
from valkey_cluster import names
from valkey_cluster.errors import QuantityError
from valkey_cluster.quantity import exact

if TYPE_CHECKING:
    from valkey_cluster.resources import Manifest
    from valkey_cluster.stage import Key, Stage

Path = tuple[str | int, ...]

_QUANTITIES = ("requests", "limits")

_OMITTED: tuple[Any, ...] = (None, "", {}, [])
"""Values that the API server may leave out of an object (Go's omitempty)."""


def find_drift(stage: Stage, live: Mapping[Key, Manifest]) -> tuple[Drift, ...]:
    """Objects of the stage that are gone or changed by somebody other than us.

    A field that differs but is owned by our own manager is an update of ours that has not come to its
    end; the next update deals with it.
    """
    found = []
    for key, manifest in stage.by_key.items():
        there = live.get(key)
        if there is None:
            found.append(Drift(*key, fields=(), managers=()))
            continue
        paths = tuple(differences(manifest, there))
        managers = tuple(sorted({name for path in paths for name in owners(there, path)}))
        if paths and managers != (names.FIELD_MANAGER,):
            shown = tuple(dict.fromkeys(spell(path) for path in paths))
            others = tuple(name for name in managers if name != names.FIELD_MANAGER)
            found.append(Drift(*key, fields=shown, managers=others))
    return tuple(found)


def differences(declared: Any, live: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of declared values that are missing or different in the live object."""
    if live is None and declared in _OMITTED:
        return
    if isinstance(declared, Mapping):
        if not isinstance(live, Mapping):
            yield path
            return
        for name, value in declared.items():
            yield from differences(value, live.get(name), (*path, name))
    elif isinstance(declared, Sequence) and not isinstance(declared, str):
        yield from _list_differences(declared, live, path)
    elif not _same(declared, live, path):
        yield path


def _list_differences(declared: Sequence[Any], live: Any, path: Path) -> Iterator[Path]:
    if not isinstance(live, Sequence) or isinstance(live, str):
        yield path
        return
    by_name = _by_name(live)
    if by_name is None or _by_name(declared) is None:
        if len(declared) > len(live):
            yield path
            return
        for index, value in enumerate(declared):
            yield from differences(value, live[index], (*path, index))
        return
    for value in declared:
        yield from differences(value, by_name.get(value["name"]), (*path, value["name"]))


def _by_name(items: Sequence[Any]) -> dict[str, Any] | None:
    """Lists of containers, ports and the like are maps keyed by name for the API server."""
    if not all(isinstance(item, Mapping) and "name" in item for item in items):
        return None
    return {item["name"]: item for item in items}


def _same(declared: Any, live: Any, path: Path) -> bool:
    if declared == live:
        return True
    if len(path) < 2 or path[-2] not in _QUANTITIES or live is None:  # noqa: PLR2004  <requests|limits>.<name>
        return False
    try:
        return exact(declared) == exact(live)
    except QuantityError:
        return False


def spell(path: Path) -> str:
    """`spec.ports.valkey.port`, as people write it."""
    return ".".join(str(part) for part in path)


def owners(live: Manifest, path: Path) -> tuple[str, ...]:
    """Managers that own the field by managedFields; that of the object's last foreign change if none does.

    A field that was taken away has no owner, and status is not ours to declare.
    """
    entries = [one for one in live["metadata"].get("managedFields", []) if one.get("subresource") != "status"]
    holding = {entry["manager"] for entry in entries if _holds(entry.get("fieldsV1"), live, path)}
    if holding:
        return tuple(sorted(holding))
    foreign = [entry for entry in entries if entry["manager"] != names.FIELD_MANAGER]
    last = max(foreign, key=lambda entry: str(entry.get("time", "")), default=None)
    return (last["manager"],) if last else ()


def _holds(fields: Mapping[str, Any] | None, live: Any, path: Path) -> bool:
    """Whether a FieldsV1 tree of `live` contains the path; one that ends above it owns all that is below."""
    if fields is None:
        return False
    if not path or not fields:
        return True
    part, rest = path[0], path[1:]
    if isinstance(live, Mapping):
        return _holds(fields.get(f"f:{part}"), live.get(part), rest)
    item = _item(live, part)
    trees = (tree for name, tree in fields.items() if name.startswith("k:") and _is_key_of(name, item))
    return _holds(next(trees, None), item, rest)


def _item(items: Any, part: str | int) -> Mapping[str, Any]:
    """The item of a live list at this index or of this name; empty when it is gone or a plain value."""
    if not isinstance(items, Sequence):
        return {}
    if isinstance(part, int):
        found = items[part : part + 1]
    else:
        found = [item for item in items if isinstance(item, Mapping) and item.get("name") == part]
    return found[0] if found and isinstance(found[0], Mapping) else {}


def _is_key_of(name: str, item: Mapping[str, Any]) -> bool:
    """Whether `k:{"port":6379,"protocol":"TCP"}` is what the API server knows this item by."""
    key: dict[str, Any] = json.loads(name.removeprefix("k:"))
    return key.items() <= item.items()
