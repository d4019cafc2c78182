"""ConfigMap with the cluster's valkey.conf."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from valkey_cluster import names
from valkey_cluster.config import valkey_conf

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec


def config_map(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    """Mounted into every pod; what runs is what a pod read at its own start."""
    labels = {**spec.labels, **names.cluster_labels(identity.name)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(names.config_map(identity.name), labels, dict(spec.annotations)),
        "data": {PurePosixPath(names.CONFIG_FILE).name: valkey_conf(spec)},
    }
