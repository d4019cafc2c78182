"""PodDisruptionBudget over the whole cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import names

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec


def disruption_budget(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    """One pod at a time, whatever its role.

    Roles move, so a budget per role cannot be written down, and two budgets on one pod make the
    eviction API refuse every eviction. One pod down never takes a majority of three primaries or
    the last copy of a slot in a shard with a replica.
    """
    labels = {**spec.labels, **names.cluster_labels(identity.name)}
    name = names.disruption_budget(identity.name)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": identity.metadata(name, labels, dict(spec.annotations)),
        "spec": {
            "maxUnavailable": 1,
            # A pod that does not serve may go whatever the others do: it may be what a drain or a mended
            # template waits for, and its data lie in its claim or nowhere.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.pod_selector(identity.name)},
        },
    }
