"""ConfigMap with the cluster's valkey.conf."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from valkey_cluster import names
from valkey_cluster.config import edition, valkey_conf

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec


def config_map(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    """Mounted into every pod of its edition; what runs is what a pod read at its own start."""
    name = names.config_map(identity.name, edition(spec))
    labels = {**spec.labels, **names.cluster_labels(identity.name)}
    annotations = {**spec.annotations, names.ANNOTATION_LIMIT: str(spec.resources.memory_limit_bytes)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(name, labels, annotations),
        "data": {_FILE: valkey_conf(spec)},
    }


def limit_of(manifest: Manifest) -> int:
    """The memory limit, in bytes, that the maxmemory in such a ConfigMap belongs to; 0: not known."""
    return int(manifest["metadata"].get("annotations", {}).get(names.ANNOTATION_LIMIT, "0"))


def conf_of(manifest: Manifest) -> str:
    """The valkey.conf in such a ConfigMap."""
    text: str = manifest["data"][_FILE]
    return text


_FILE = PurePosixPath(names.CONFIG_FILE).name
