"""What the daemon may do: explicit verbs, nothing that it does not use.

Pods are read-only. Secrets can be read and written but not listed: each is known by its name. Status is a
right of its own.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

_READ = ("list", "watch")
_APPLY = ("get", "create", "patch", "delete")


def _rule(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> Rule:
    return {"apiGroups": [group], "resources": list(resources), "verbs": sorted(set(verbs))}


NAMESPACED: tuple[Rule, ...] = (
    _rule("valkeeper.io", ("valkeyclusters",), ("get", "patch", *_READ)),
    _rule("valkeeper.io", ("valkeyclusters/status",), ("patch",)),
    _rule("valkeeper.io", ("valkeyupgrades",), ("create", *_READ)),
    _rule("valkeeper.io", ("valkeyupgrades/status",), ("patch",)),
    _rule("", ("configmaps", "serviceaccounts", "services"), (*_APPLY, *_READ)),
    _rule("apps", ("statefulsets",), (*_APPLY, *_READ)),
    _rule("policy", ("poddisruptionbudgets",), (*_APPLY, *_READ)),
    _rule("", ("pods",), ("get", *_READ)),
    _rule("", ("pods/eviction",), ("create",)),
    _rule("", ("pods/resize",), ("patch",)),
    _rule("", ("persistentvolumeclaims",), ("list", "delete")),
    _rule("", ("secrets",), _APPLY),
    _rule("events.k8s.io", ("events",), ("create", "patch")),
    # Pulumi's provider reads events while it waits for a deletion, to say what holds it up.
    _rule("", ("events",), _READ),
)
"""In each watched namespace."""

CLUSTER_WIDE: tuple[Rule, ...] = (_rule("", ("nodes",), _READ),)
"""Zones of nodes, wherever the daemon's clusters are."""

OWN: tuple[Rule, ...] = (_rule("coordination.k8s.io", ("leases",), ("get", "create", "patch")),)
"""In the daemon's own namespace."""
