"""The daemon's Deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s

from valkey_cluster import names

if TYPE_CHECKING:
    from stacks.config import DaemonConfig

_NAME = "valkeeper"
_PORT = 8080
_WORK = "/work"
_UID = 65532
_PATIENCE = pulumi.CustomTimeouts(create="3m", update="5m")
_GRACE_S = 180
"""A running update may end before the daemon does; the longest seen takes a few seconds."""


def deployment(config: DaemonConfig, opts: pulumi.ResourceOptions) -> k8s.apps.v1.Deployment:
    """Ready when the daemon has read all that it watches."""
    labels = {names.LABEL_NAME: _NAME, names.LABEL_MANAGED_BY: "pulumi"}
    template = {"metadata": {"labels": labels}, "spec": _pod(config, labels)}
    return k8s.apps.v1.Deployment(
        _NAME,
        metadata={"name": _NAME, "namespace": config.namespace, "labels": labels},
        spec={"replicas": config.replicas, "selector": {"matchLabels": labels}, "template": template},
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(custom_timeouts=_PATIENCE)),
    )


def _pod(config: DaemonConfig, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "serviceAccountName": _NAME,
        "terminationGracePeriodSeconds": _GRACE_S,
        # A Service named valkeeper would put VALKEEPER_* variables into the daemon's environment.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": names.LABEL_HOST,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "containers": [_container(config)],
        "volumes": [{"name": "work", "emptyDir": {}}],
    }


def _container(config: DaemonConfig) -> dict[str, Any]:
    return {
        "name": "daemon",
        "image": config.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(config),
        "ports": [{"name": "http", "containerPort": _PORT}],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2},
        # The daemon itself stays below 150 MB; each running update adds its CLI and provider.
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1536Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "work", "mountPath": _WORK}],
    }


def _environment(config: DaemonConfig) -> list[dict[str, Any]]:
    fixed = {
        "HOME": _WORK,
        "TMPDIR": _WORK,
        "USER": _NAME,
        "VALKEEPER_WORK_DIR": f"{_WORK}/stacks",
        "VALKEEPER_LEASE_NAMESPACE": config.namespace,
        "VALKEEPER_PORT": str(_PORT),
        "VALKEEPER_NAMESPACES": ",".join(config.watch),
    }
    identity = {"name": "VALKEEPER_IDENTITY", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [identity, *({"name": name, "value": value} for name, value in fixed.items())]
