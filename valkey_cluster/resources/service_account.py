"""ServiceAccount of the Valkey pods: an identity without rights and without a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import names

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec


def service_account(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    """Valkey never talks to the API server."""
    labels = {**spec.labels, **names.cluster_labels(identity.name)}
    name = names.service_account(identity.name)
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": identity.metadata(name, labels, dict(spec.annotations)),
        "automountServiceAccountToken": False,
    }
