"""Every name, label, annotation, port, path and reason of valkeeper, in one place.

Nothing here has behaviour beyond putting strings together. A name in this file is part of the
product's interface: changing one renames objects in users' clusters.
"""

from __future__ import annotations

from enum import StrEnum

GROUP = "valkeeper.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ValkeyCluster"
PLURAL = "valkeyclusters"
SHORT_NAME = "vkc"
UPGRADE_KIND = "ValkeyUpgrade"
UPGRADE_PLURAL = "valkeyupgrades"
UPGRADE_SHORT_NAME = "vku"

FIELD_MANAGER = "valkeeper"
"""Owner, in managedFields, of every object that a Pulumi update of ours applies."""
STATUS_MANAGER = "valkeeper-status"
"""Owner of the status of a ValkeyCluster."""
FINALIZER = f"{GROUP}/destroy"

ANNOTATION_PAUSE = f"{GROUP}/pause"
"""On a ValkeyUpgrade: go no further while it is there."""
ANNOTATION_APPROVE = f"{GROUP}/approve"
"""On a ValkeyUpgrade: what it waits for when spec.approval says so."""
ANNOTATION_ABORT = f"{GROUP}/abort"
"""On a ValkeyUpgrade: take back what was done and end."""
ANNOTATION_SET = "true"
"""The value with which each of these three counts."""

LABEL_CLUSTER = f"{GROUP}/cluster"
LABEL_SHARD = f"{GROUP}/shard"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
APP_NAME = "valkey"
MANAGED_BY = "valkeeper"
ANNOTATION_TEMPLATE = f"{GROUP}/template"
"""On each pod: which template it was made from, resources left out (those are changed in place)."""
ANNOTATION_LIMIT = f"{GROUP}/memory-limit"
"""On a ConfigMap: the memory limit, in bytes, that its maxmemory was worked out from."""
ANNOTATION_SURGE = f"{GROUP}/surge"
"""On a StatefulSet that has one pod more for as long as a shard without replicas is rolled."""
LABEL_ZONE = "topology.kubernetes.io/zone"
LABEL_HOST = "kubernetes.io/hostname"

PORT = 6379
BUS_PORT = 16379
CONTAINER = "valkey"
UID = 999
DATA_DIR = "/data"
CONFIG_DIR = "/etc/valkey"
CONFIG_FILE = f"{CONFIG_DIR}/valkey.conf"
DATA_VOLUME = "data"

CLUSTER_NAME_MAX = 40
"""A pod's label `controller-revision-hash` is `<cluster>-<shard>-<hash>` and may have 63 characters."""

DEFAULT_REPOSITORY = "docker.io/valkey/valkey"


def client_service(cluster: str) -> str:
    """Service that reaches any serving node of the cluster."""
    return cluster


def endpoint(namespace: str, cluster: str) -> str:
    """Host and port for clients within Kubernetes."""
    return f"{client_service(cluster)}.{namespace}.svc:{PORT}"


def headless_service(cluster: str) -> str:
    """Service that gives each pod its DNS name."""
    return f"{cluster}-headless"


def read_service(cluster: str) -> str:
    """Service for clients that only read."""
    return f"{cluster}-read"


def config_map(cluster: str, edition: str = "") -> str:
    """ConfigMap with one edition of valkey.conf."""
    return f"{cluster}-config-{edition}" if edition else f"{cluster}-config"


def service_account(cluster: str) -> str:
    """ServiceAccount, without a token, of the cluster's pods."""
    return f"{cluster}-valkey"


def disruption_budget(cluster: str) -> str:
    """PodDisruptionBudget over all pods of the cluster."""
    return cluster


def stateful_set(cluster: str, shard: int) -> str:
    """StatefulSet of one shard."""
    return f"{cluster}-{shard}"


def pod(cluster: str, shard: int, ordinal: int) -> str:
    """Pod of one shard's StatefulSet."""
    return f"{stateful_set(cluster, shard)}-{ordinal}"


def state_secret(cluster: str) -> str:
    """Secret beside the cluster with its stack's state and the stage last applied."""
    return f"{cluster}-valkeeper-state"


def stack(namespace: str, cluster: str) -> str:
    """Name of the cluster's Pulumi stack."""
    return f"{namespace}.{cluster}"


def cluster_labels(cluster: str) -> dict[str, str]:
    """Labels of every object of a cluster."""
    return {
        LABEL_NAME: APP_NAME,
        LABEL_INSTANCE: cluster,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_CLUSTER: cluster,
    }


def shard_labels(cluster: str, shard: int) -> dict[str, str]:
    """Labels of the objects and pods of one shard."""
    return {**cluster_labels(cluster), LABEL_COMPONENT: "shard", LABEL_SHARD: str(shard)}


def pod_selector(cluster: str) -> dict[str, str]:
    """What selects the cluster's pods and nothing else."""
    return {LABEL_CLUSTER: cluster, LABEL_COMPONENT: "shard"}


def shard_selector(cluster: str, shard: int) -> dict[str, str]:
    """What selects one shard's pods."""
    return {**pod_selector(cluster), LABEL_SHARD: str(shard)}


class Phase(StrEnum):
    """`status.phase`: where the cluster is in its life."""

    PENDING = "Pending"
    CREATING = "Creating"
    RUNNING = "Running"
    UPDATING = "Updating"
    DEGRADED = "Degraded"
    DELETING = "Deleting"


class UpgradePhase(StrEnum):
    """`status.phase` of a ValkeyUpgrade: where it is; the last four are ends."""

    PENDING = "Pending"
    CHECKING = "Checking"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    CANARY = "Canary"
    SOAKING = "Soaking"
    ROLLING = "Rolling"
    ROLLING_BACK = "RollingBack"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    REFUSED = "Refused"


class ShardPhase(StrEnum):
    """`status.shards[].phase` of a ValkeyUpgrade: where one shard is."""

    WAITING = "Waiting"
    ROLLING = "Rolling"
    DONE = "Done"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"


class Condition(StrEnum):
    """Types of `status.conditions`."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    CONFIGURATION_VALID = "ConfigurationValid"
    DRIFT_DETECTED = "DriftDetected"
    UPGRADING = "Upgrading"
    RESIZING = "Resizing"
    REBALANCING = "Rebalancing"
    BLOCKED = "Blocked"
    STALLED = "Stalled"
    """The same as Blocked, under the name that kstatus looks for."""
