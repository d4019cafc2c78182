"""A stage: the full set of manifests that is to be true now.

`render` says what a spec asks for; `hold_back` says what of it may be applied to a cluster that runs:
a shard that has not been advanced keeps the template last applied to it, whatever the spec or a newer
valkeeper would render. A pod that crashes comes back as it was, and upgrading valkeeper restarts
nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from valkey_cluster.resources.config_map import config_map
from valkey_cluster.resources.disruption_budget import disruption_budget
from valkey_cluster.resources.service_account import service_account
from valkey_cluster.resources.services import client_service, headless_service
from valkey_cluster.resources.stateful_set import stateful_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec

Key = tuple[str, str]
"""Kind and name: what identifies a manifest within a stage."""


@dataclass(frozen=True)
class Stage:
    """Manifests in the order in which they are applied."""

    manifests: tuple[Manifest, ...]

    @cached_property
    def hash(self) -> str:
        """The same for the same manifests, on every machine and in every process."""
        return digest(self.manifests)

    @cached_property
    def by_key(self) -> Mapping[Key, Manifest]:
        """Each manifest under its kind and name."""
        return {key(manifest): manifest for manifest in self.manifests}


def key(manifest: Mapping[str, Any]) -> Key:
    """Kind and name of a manifest or of a live object."""
    return manifest["kind"], manifest["metadata"]["name"]


def digest(value: Any) -> str:
    """Short hash of plain JSON data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def template_hash(manifest: Mapping[str, Any]) -> str:
    """Hash of a StatefulSet's pod template: when it changes, pods have to restart to follow."""
    return digest(manifest["spec"]["template"])


def render(identity: Identity, spec: ValkeyClusterSpec) -> Stage:
    """Everything that the spec asks for, as this valkeeper writes it."""
    return Stage(
        (
            service_account(identity, spec),
            config_map(identity, spec),
            headless_service(identity, spec),
            client_service(identity, spec),
            *((disruption_budget(identity, spec),) if spec.pod_disruption_budget.enabled else ()),
            *(stateful_set(identity, spec, shard) for shard in range(spec.shards)),
        )
    )


def hold_back(applied: Stage, wanted: Stage) -> Stage:
    """The part of `wanted` that restarts no pod and moves no data, the rest as it was applied.

    StatefulSets and the ConfigMap stay as applied; no StatefulSet is added or taken away.
    """
    held = [manifest for manifest in applied.manifests if manifest["kind"] in _RESTARTS_PODS]
    free = [manifest for manifest in wanted.manifests if manifest["kind"] not in _RESTARTS_PODS]
    order = {"ServiceAccount": 0, "ConfigMap": 1, "StatefulSet": 3}
    return Stage(tuple(sorted([*free, *held], key=lambda manifest: order.get(manifest["kind"], 2))))


_RESTARTS_PODS = ("ConfigMap", "StatefulSet")
