"""Namespaces of the tests: a clean one at the start, nothing of it at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.kube.kinds import VALKEY_CLUSTER, Resource
from tests.e2e.waiting import until

if TYPE_CHECKING:
    from tests.e2e.api import Api

NAMESPACE = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CLUSTER_ROLE = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDING = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)

_GONE_WITHIN_S = 120.0


def let_go(api: Api, namespace: str, *, definition_there: bool = True) -> None:
    """Ask for its end; all in it goes too, also clusters whose daemon was killed and cannot let them go."""
    if definition_there:
        for found in api.items(VALKEY_CLUSTER, namespace):
            change = {"metadata": {"finalizers": None}}
            api.patch(VALKEY_CLUSTER, namespace, found["metadata"]["name"], change)
    api.delete(NAMESPACE, None, namespace)


def wait_gone(api: Api, namespace: str) -> None:
    """Until there is no such namespace."""
    until(lambda: api.get(NAMESPACE, None, namespace) is None, f"{namespace} removed", _GONE_WITHIN_S)
