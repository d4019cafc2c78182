"""What a usable cluster has beside Kubernetes itself: a default storage class and a certificate issuer.

A hash of everything applied is kept in the cluster, written last: when it is there and the same, nothing is
applied again; when a start broke off half-way, everything is.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import yaml

from local import kube
from local.control_plane import CERT_MANAGER_NAMESPACE
from local.errors import LocalError
from local.processes import wait_until
from local.volumes import PROVISIONER, STORAGE_CLASS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CA_ISSUER = "valkeeper-local-ca"
"""ClusterIssuer that signs with the local certificate authority."""
SELF_SIGNED_ISSUER = "valkeeper-local-self-signed"
_MARKER = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "valkeeper-local", "namespace": "kube-system"},
}
_TIMEOUT_S = 60.0


def storage() -> list[dict[str, Any]]:
    """The default StorageClass, whose volumes `volumes` makes; they can grow while in use."""
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        },
    ]


def node_reads() -> list[dict[str, Any]]:
    """What lets kubelets read what their pods refer to, beside the Node authorizer.

    That one's picture of which pod is on which node lags behind on a machine of few cores: in 3 of 7
    creations of six claims one was refused to its own kubelet, which then came back only after 10 to 15 s.
    """
    group = "rbac.authorization.k8s.io"
    name = "valkeeper-local-node-reads"
    resources = ["pods", "persistentvolumeclaims", "configmaps", "secrets"]
    rules = [
        {"apiGroups": [""], "resources": resources, "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get"]},
    ]
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:nodes"}],
        },
    ]


def certificate_kinds(share: Path) -> list[dict[str, Any]]:
    """cert-manager's CustomResourceDefinitions, without the lines that only its Helm chart understands."""
    found = []
    for file in _kind_files(share):
        lines = [line for line in file.read_text().splitlines() if "{{" not in line]
        found.append(yaml.load("\n".join(lines), Loader=yaml.CSafeLoader))
    return found


def issuers() -> list[dict[str, Any]]:
    """A certificate authority of this cluster's own, and the issuer that signs with it."""
    secret = "valkeeper-local-ca"
    authority = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": CA_ISSUER, "namespace": CERT_MANAGER_NAMESPACE},
        "spec": {
            "isCA": True,
            "commonName": "valkeeper local CA",
            "secretName": secret,
            "duration": "87600h",
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"name": SELF_SIGNED_ISSUER, "kind": "ClusterIssuer"},
        },
    }
    return [
        _issuer(SELF_SIGNED_ISSUER, {"selfSigned": {}}),
        authority,
        _issuer(CA_ISSUER, {"ca": {"secretName": secret}}),
    ]


def before_programs(parts: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What the add-ons' programs need to find when they start."""
    return [
        *storage(),
        *node_reads(),
        *certificate_kinds(parts["cert-manager"] / "share"),
        _namespace(CERT_MANAGER_NAMESPACE),
    ]


def is_applied(parts: Mapping[str, Path]) -> bool:
    """Whether exactly these objects were all applied and became ready."""
    marker = kube.get(kube.path(_MARKER))
    return marker is not None and marker.get("data", {}).get("applied") == _hash(parts)


def apply_before_programs(parts: Mapping[str, Path]) -> None:
    """Apply what the add-ons' programs need, and wait until the API serves the new kinds."""
    manifests = before_programs(parts)
    kube.apply(manifests)
    for kind in (one for one in manifests if one["kind"] == "CustomResourceDefinition"):
        _wait(kind, "Established")


def apply_issuers(parts: Mapping[str, Path]) -> None:
    """Apply the issuers, wait until they can sign, and note that everything is there."""
    for manifest in issuers():
        kube.apply([manifest])
        _wait(manifest, "Ready")
    kube.apply([{**_MARKER, "data": {"applied": _hash(parts)}}])


def _hash(parts: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(json.dumps([*storage(), *node_reads(), *issuers()]).encode())
    for file in _kind_files(parts["cert-manager"] / "share"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _kind_files(share: Path) -> list[Path]:
    return sorted(share.glob("crd-*.yaml"))


def _wait(manifest: dict[str, Any], condition: str) -> None:
    if not wait_until(lambda: kube.has_condition(manifest, condition), _TIMEOUT_S):
        raise LocalError(
            f"{kube.path(manifest)} is not {condition} after {_TIMEOUT_S:.0f} s. "
            f"Look at it with kubectl, and at the logs that `python -m local status` names."
        )


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _issuer(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": name},
        "spec": spec,
    }
