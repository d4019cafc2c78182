"""StatefulSet of one shard: its primary and its replicas, alike (docs/decisions/0001)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import names
from valkey_cluster.config import edition
from valkey_cluster.digest import digest
from valkey_cluster.resources.affinity import shard_apart
from valkey_cluster.resources.entrypoint import command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec

_STARTUP_FAILURES = 3600
"""Seconds that loading a large data set may take before the kubelet gives up on the container."""


def stateful_set(identity: Identity, spec: ValkeyClusterSpec, shard: int) -> Manifest:
    """OnDelete and Parallel: only the daemon restarts pods, and a whole shard starts at once.

    Kubernetes keeps every claim, also when somebody else scales or deletes this StatefulSet; the daemon
    deletes claims itself, by `spec.persistence.whenDeleted` and `whenScaled`, when that is what was asked.
    """
    labels = {**spec.labels, **names.shard_labels(identity.name, shard)}
    annotations = dict(spec.annotations)
    pod = _pod_spec(identity, spec, shard)
    marked = {**annotations, names.ANNOTATION_TEMPLATE: _fingerprint(labels, annotations, pod)}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": identity.metadata(names.stateful_set(identity.name, shard), labels, annotations),
        "spec": {
            "serviceName": names.headless_service(identity.name),
            "replicas": 1 + spec.replicas_per_shard,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": names.shard_selector(identity.name, shard)},
            "template": {"metadata": {"labels": labels, "annotations": marked}, "spec": pod},
            **({"volumeClaimTemplates": [_claim(spec)]} if spec.persistence.enabled else {}),
        },
    }


def _fingerprint(labels: Mapping[str, str], annotations: Mapping[str, str], pod: Manifest) -> str:
    """What of a template a pod has to restart for: all but the resources, which are changed in place."""
    containers = [
        {key: value for key, value in container.items() if key != "resources"}
        for container in pod["containers"]
    ]
    return digest([labels, annotations, {**pod, "containers": containers}])


def _pod_spec(identity: Identity, spec: ValkeyClusterSpec, shard: int) -> Manifest:
    pod: Manifest = {
        "serviceAccountName": names.service_account(identity.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Process 1 ignores SIGTERM until it has a handler, so a server that is just starting would be waited
        # for until it is killed. With the pause process as number 1, SIGTERM ends it at any moment.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.UID,
            "runAsGroup": names.UID,
            "fsGroup": names.UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(identity, spec)],
        "volumes": _volumes(identity, spec),
    }
    if spec.image.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in spec.image.pull_secrets]
    return pod | _scheduling(identity, spec, shard)


def _container(identity: Identity, spec: ValkeyClusterSpec) -> Manifest:
    return {
        "name": names.CONTAINER,
        "image": spec.image_reference,
        "imagePullPolicy": spec.image.pull_policy,
        "command": command(identity, spec),
        "env": [_field("POD_IP", "status.podIP"), _field("POD_NAME", "metadata.name")],
        "ports": [
            {"name": "valkey", "containerPort": names.PORT, "protocol": "TCP"},
            {"name": "bus", "containerPort": names.BUS_PORT, "protocol": "TCP"},
        ],
        "resources": {
            "requests": spec.resources.requests.model_dump(exclude_none=True),
            "limits": spec.resources.limits.model_dump(exclude_none=True),
        },
        "resizePolicy": [
            {"resourceName": "cpu", "restartPolicy": spec.resize_policy.cpu},
            {"resourceName": "memory", "restartPolicy": spec.resize_policy.memory},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": names.DATA_VOLUME, "mountPath": names.DATA_DIR},
            {"name": "config", "mountPath": names.CONFIG_DIR, "readOnly": True},
        ],
        **_probes(),
    }


def _probes() -> Manifest:
    """Alive is any answer, also LOADING or BUSY; ready is PONG. Neither asks for cluster_state.

    A probe on cluster_state kills, or hides from the others, the nodes of a cluster that is being put
    together or has lost its quorum: just when they must reach each other.
    """
    ping = ["valkey-cli", "-p", str(names.PORT), "ping"]
    alive = {"exec": {"command": ping}}
    ready = {"exec": {"command": ["valkey-cli", "-e", *ping[1:]]}}
    return {
        "startupProbe": {
            **ready,
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": _STARTUP_FAILURES,
        },
        "livenessProbe": {**alive, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 2},
    }


def _volumes(identity: Identity, spec: ValkeyClusterSpec) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "config", "configMap": {"name": names.config_map(identity.name, edition(spec))}}
    ]
    if not spec.persistence.enabled:
        volumes.append({"name": names.DATA_VOLUME, "emptyDir": {}})
    return volumes


def _claim(spec: ValkeyClusterSpec) -> Manifest:
    claim: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": spec.persistence.size}},
    }
    if spec.persistence.storage_class_name:
        claim["storageClassName"] = spec.persistence.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": names.DATA_VOLUME},
        "spec": claim,
    }


def _scheduling(identity: Identity, spec: ValkeyClusterSpec, shard: int) -> Manifest:
    wanted = spec.scheduling
    manifest: Manifest = {
        "topologySpreadConstraints": _even_spread(identity),
        "nodeSelector": dict(wanted.node_selector),
        "tolerations": [
            toleration.model_dump(by_alias=True, exclude_none=True) for toleration in wanted.tolerations
        ],
        "affinity": shard_apart(identity, spec, shard),
        "priorityClassName": wanted.priority_class_name,
        "runtimeClassName": wanted.runtime_class_name,
    }
    return {key: value for key, value in manifest.items() if value}


def _even_spread(identity: Identity) -> list[Manifest]:
    """The cluster's pods as evenly as possible, so that no node carries many of the primaries."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.pod_selector(identity.name)},
        }
        for topology in (names.LABEL_HOST, names.LABEL_ZONE)
    ]


def _field(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
