"""One ValkeyCluster's stack: the program of every update that the daemon runs for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s

from valkey_cluster.component import ValkeyCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from valkey_cluster.stage import Stage

PROJECT = "valkeeper"


def program(cluster: str, stage: Stage) -> Callable[[], None]:
    """The inline program that makes the stage's manifests true."""

    def declare() -> None:
        provider = k8s.Provider(
            "kubernetes",
            # A provider's other inputs (such as a kubeconfig) must never replace all its objects.
            cluster_identifier=PROJECT,
            enable_server_side_apply=True,
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            suppress_deprecation_warnings=True,
        )
        ValkeyCluster(cluster, stage, pulumi.ResourceOptions(provider=provider))

    return declare
