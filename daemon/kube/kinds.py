"""The kinds of Kubernetes objects that the daemon reads or writes, and where each lives in the API."""

from __future__ import annotations

from dataclasses import dataclass

from valkey_cluster import names


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, as the REST API names it.

    Attributes:
        group: API group; empty for the core group.
        version: such as `v1`.
        plural: the name in URLs and RBAC rules.
        kind: the name in objects.
        namespaced: False for kinds such as Node.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What objects of this kind carry as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """URL path of a collection, an object or its subresource.

        `namespace` None means all namespaces and is only right for collections, or for kinds without one.
        """
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [self.plural, name, subresource]
        return "/".join(part for part in parts if part)


VALKEY_CLUSTER = Resource(names.GROUP, names.VERSION, names.PLURAL, names.KIND)
VALKEY_UPGRADE = Resource(names.GROUP, names.VERSION, names.UPGRADE_PLURAL, names.UPGRADE_KIND)
POD = Resource("", "v1", "pods", "Pod")
SERVICE = Resource("", "v1", "services", "Service")
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
SECRET = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount")
PERSISTENT_VOLUME_CLAIM = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NODE = Resource("", "v1", "nodes", "Node", namespaced=False)
STATEFUL_SET = Resource("apps", "v1", "statefulsets", "StatefulSet")
POD_DISRUPTION_BUDGET = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENT = Resource("events.k8s.io", "v1", "events", "Event")
