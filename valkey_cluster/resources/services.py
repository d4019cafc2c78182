"""Services: how pods find each other, and how clients find the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import names

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec

_CLIENT_PORT = {"name": "valkey", "port": names.PORT, "targetPort": names.PORT, "protocol": "TCP"}
_BUS_PORT = {"name": "bus", "port": names.BUS_PORT, "targetPort": names.BUS_PORT, "protocol": "TCP"}


def headless_service(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    """DNS names of the pods, ready or not: a node that is joining must be reachable by its name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(identity, spec, names.headless_service(identity.name)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.pod_selector(identity.name),
            "ports": [_CLIENT_PORT, _BUS_PORT],
        },
    }


def client_service(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    """First contact of a cluster client; from there it learns every node's own address."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(identity, spec, names.client_service(identity.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": names.pod_selector(identity.name),
            "ports": [_CLIENT_PORT],
        },
    }


def _metadata(identity: Identity, spec: ValkeyClusterSpec, name: str) -> Manifest:
    labels = {**spec.labels, **names.cluster_labels(identity.name)}
    return identity.metadata(name, labels, dict(spec.annotations))
