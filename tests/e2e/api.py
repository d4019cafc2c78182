"""The API server as a test's person at a terminal uses it: as administrator, synchronously."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from daemon.kube.kinds import Resource

Obj = dict[str, Any]

PERSON = "kubectl-somebody"
"""Field manager of what tests change by hand."""

_NOT_FOUND = 404


@dataclass(frozen=True)
class Api:
    """Requests by kind, namespace and name; an answer that is no success fails the test with its text."""

    http: httpx2.Client

    @classmethod
    def connect(cls, kubeconfig: Path) -> Api:
        """With the kubeconfig's credentials; `http.close()` ends it."""
        config = KubeConfig.from_file(kubeconfig).get()
        assert config is not None
        return cls(Client(config, ConnectionParams()))

    def get(self, kind: Resource, namespace: str | None, name: str) -> Obj | None:
        """The object; None when there is none."""
        answer = self.http.get(kind.path(namespace, name))
        return None if answer.status_code == _NOT_FOUND else _body(answer)

    def items(self, kind: Resource, namespace: str | None, labels: str = "") -> list[Obj]:
        """All objects of the kind that carry the labels, by name."""
        answer = self.http.get(kind.path(namespace), params={"labelSelector": labels} if labels else {})
        found: list[Obj] = _body(answer)["items"]
        return sorted(found, key=lambda one: str(one["metadata"]["name"]))

    def create(self, kind: Resource, obj: Obj) -> Obj:
        """A new object."""
        typed = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        path = kind.path(obj["metadata"].get("namespace"))
        return _body(self.http.post(path, json=typed, params={"fieldValidation": "Strict"}))

    def patch(
        self, kind: Resource, namespace: str | None, name: str, change: Obj, *, manager: str = PERSON
    ) -> Obj:
        """JSON merge patch."""
        return self._patched(kind.path(namespace, name), change, "application/merge-patch+json", manager)

    def json_patch(self, path: str, operations: list[Obj]) -> Obj:
        """JSON patch of whatever is at the path, as PERSON."""
        return self._patched(path, operations, "application/json-patch+json")

    def delete(self, kind: Resource, namespace: str | None, name: str, *, now: bool = False) -> None:
        """Ask for deletion, without a grace period if `now`; it may be gone already."""
        answer = self.http.delete(
            kind.path(namespace, name), params={"gracePeriodSeconds": "0"} if now else {}
        )
        if answer.status_code != _NOT_FOUND:
            _body(answer)

    def log(self, namespace: str, pod: str, lines: int = 40) -> str:
        """The end of what the pod's only container has written."""
        answer = self.http.get(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", params={"tailLines": lines})
        return answer.text

    def _patched(self, path: str, change: Any, content_type: str, manager: str = PERSON) -> Obj:
        headers = {"Content-Type": content_type}
        query = {"fieldManager": manager}
        return _body(self.http.patch(path, content=json.dumps(change), headers=headers, params=query))


def _body(answer: httpx2.Response) -> Obj:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    found: Obj = answer.json()
    return found
