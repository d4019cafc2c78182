"""The component resources: a stage as a tree in Pulumi's state. The only file here that imports pulumi.

    ValkeyCluster            valkeeper:index:ValkeyCluster
    ├── ServiceAccount, ConfigMap, Services, PodDisruptionBudget
    └── ValkeyShard          valkeeper:index:ValkeyShard, one per shard
        └── StatefulSet

Types, names and parents make up the URNs, and a URN that changes deletes the object it stood for and
all its pods: they are frozen, and a test pins them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
from pydantic.alias_generators import to_snake

from valkey_cluster import names

if TYPE_CHECKING:
    from valkey_cluster.resources import Manifest
    from valkey_cluster.stage import Stage

_ANNOTATIONS = {
    # Server-side apply under one stable name, which takes back fields that others changed.
    "pulumi.com/patchForce": "true",
    "pulumi.com/patchFieldManager": names.FIELD_MANAGER,
    # The daemon watches readiness itself; an update ends when the objects are written.
    "pulumi.com/skipAwait": "true",
}

_RESOURCES: dict[str, Any] = {
    "ServiceAccount": k8s.core.v1.ServiceAccount,
    "ConfigMap": k8s.core.v1.ConfigMap,
    "Service": k8s.core.v1.Service,
    "PodDisruptionBudget": k8s.policy.v1.PodDisruptionBudget,
    "StatefulSet": k8s.apps.v1.StatefulSet,
}


class ValkeyCluster(pulumi.ComponentResource):
    """All objects of one Valkey cluster, as its stage has them."""

    def __init__(self, name: str, stage: Stage, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("valkeeper:index:ValkeyCluster", name, {}, opts)
        for manifest in stage.manifests:
            if manifest["kind"] == "StatefulSet":
                ValkeyShard(manifest, pulumi.ResourceOptions(parent=self))
            else:
                _declare(manifest, pulumi.ResourceOptions(parent=self))
        self.stage_hash = pulumi.Output.from_input(stage.hash)
        self.register_outputs({"stageHash": self.stage_hash})


class ValkeyShard(pulumi.ComponentResource):
    """One shard: the StatefulSet of its primary and replicas, protected against replacement."""

    def __init__(self, stateful_set: Manifest, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("valkeeper:index:ValkeyShard", stateful_set["metadata"]["name"], {}, opts)
        _declare(stateful_set, pulumi.ResourceOptions(parent=self, protect=True))
        self.register_outputs({})


def shard_urn(stack: str, project: str, stateful_set: str) -> str:
    """Pulumi's name of a shard's StatefulSet in the state of a cluster's own stack."""
    types = "valkeeper:index:ValkeyCluster$valkeeper:index:ValkeyShard$kubernetes:apps/v1:StatefulSet"
    return f"urn:pulumi:{stack}::{project}::{types}::StatefulSet/{stateful_set}"


def _declare(manifest: Manifest, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    kind, metadata = manifest["kind"], manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), **_ANNOTATIONS}
    # Pulumi's classes take the manifest's own fields as Python keywords, and what is below them untouched.
    body = {to_snake(field): value for field, value in manifest.items()}
    body["metadata"] = {**metadata, "annotations": annotations}
    resource: pulumi.CustomResource = _RESOURCES[kind](f"{kind}/{metadata['name']}", opts=opts, **body)
    return resource
