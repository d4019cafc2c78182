"""The few calls of the Kubernetes API that setting up the cluster takes: read, apply, wait."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from local.control_plane import admin_context
from local.errors import LocalError
from local.pki import API_URL

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

_TIMEOUT_S = 10.0
_WATCH_S = 120.0
_MANAGER = "valkeeper-local"
_COLLECTIONS = {
    "Namespace": "api/v1/namespaces",
    "ConfigMap": "api/v1/namespaces/{namespace}/configmaps",
    "StorageClass": "apis/storage.k8s.io/v1/storageclasses",
    "CustomResourceDefinition": "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterIssuer": "apis/cert-manager.io/v1/clusterissuers",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Certificate": "apis/cert-manager.io/v1/namespaces/{namespace}/certificates",
}


def path(manifest: dict[str, Any]) -> str:
    """Where the API keeps the object."""
    metadata = manifest["metadata"]
    collection = _COLLECTIONS[manifest["kind"]].format(namespace=metadata.get("namespace"))
    return f"{collection}/{metadata['name']}"


def get(url_path: str) -> dict[str, Any] | None:
    """The object or list at that path; None when there is none."""
    return _call("GET", url_path, None)


def apply(manifests: Iterable[dict[str, Any]]) -> None:
    """Server-side apply, in the given order."""
    for manifest in manifests:
        if _call("PATCH", f"{path(manifest)}?fieldManager={_MANAGER}&force=true", manifest) is None:
            raise LocalError(f"The API server does not know the kind of {path(manifest)}")


def create(collection: str, manifest: dict[str, Any]) -> None:
    """Make the object unless there is one of that name."""
    _send("POST", collection, manifest, "application/json", settled=(http.client.CONFLICT,))


def merge(url_path: str, patch: dict[str, Any]) -> None:
    """Merge the patch into the object; does nothing when it is gone."""
    _send("PATCH", url_path, patch, "application/merge-patch+json", settled=(http.client.NOT_FOUND,))


def delete(url_path: str) -> None:
    """Delete the object; does nothing when it is gone."""
    _send("DELETE", url_path, None, "application/json", settled=(http.client.NOT_FOUND,))


def watch(collection: str, version: str) -> Iterator[dict[str, Any]]:
    """Each change of the collection after that version, until the API server ends the watch.

    Raises:
        LocalError: the API server does not answer, or went away.
    """
    query = f"watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_S:.0f}"
    try:
        with _open("GET", f"{collection}?{query}", None, "application/json", _WATCH_S + _TIMEOUT_S) as answer:
            for line in answer:
                yield json.loads(line)
    except OSError as gone:
        raise LocalError(f"The watch of {collection} broke: {gone}") from gone


def has_condition(manifest: dict[str, Any], condition: str) -> bool:
    """Whether that condition of the object is True now."""
    found = get(path(manifest))
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)


def ready_nodes() -> set[str]:
    """Names of the nodes that are Ready."""
    listed = get("api/v1/nodes") or {"items": []}
    return {
        node["metadata"]["name"]
        for node in listed["items"]
        for condition in node["status"].get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _call(method: str, url_path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
    return _send(method, url_path, body, "application/apply-patch+yaml", settled=(http.client.NOT_FOUND,))


def _send(
    method: str, url_path: str, body: dict[str, Any] | None, content_type: str, settled: Container[int]
) -> dict[str, Any] | None:
    """What the API server answers; None for an error of which the caller is content."""
    try:
        with _open(method, url_path, body, content_type, _TIMEOUT_S) as answer:
            content: dict[str, Any] = json.load(answer)
            return content
    except urllib.error.HTTPError as refused:
        if refused.code in settled:
            return None
        raise LocalError(f"{method} {url_path}: {refused.code} {refused.read().decode()}") from refused
    except OSError as unreachable:
        raise LocalError(
            f"The API server does not answer ({method} {url_path}: {unreachable})"
        ) from unreachable


def _open(
    method: str, url_path: str, body: dict[str, Any] | None, content_type: str, timeout_s: float
) -> http.client.HTTPResponse:
    request = urllib.request.Request(f"{API_URL}/{url_path}", method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", content_type)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=admin_context())
    )
    answer: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    return answer
