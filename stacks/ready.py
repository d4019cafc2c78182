"""Waits, during `pulumi up`, until a declared ValkeyCluster is Ready, and says why when it is not."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pulumi
from lightkube import Client
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource

from valkey_cluster import names
from valkey_cluster.names import Condition, Phase

_LOOK_S = 0.5
_NOT_FOUND = 404
_SERVER_ERROR = 500

ValkeyClusterObject = create_namespaced_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)


def await_ready(namespace: str, name: str, timeout_s: float) -> str:
    """The cluster's endpoint, once the daemon reports the present spec as done.

    Raises:
        pulumi.RunError: it is refused, blocked, or not Ready in time; with the daemon's own sentence.
    """
    client = Client()
    deadline = time.monotonic() + timeout_s
    told = ""
    while True:
        seen = _read(client, namespace, name)
        status = seen.get("status", {})
        trouble = refusal(seen)
        if trouble:
            raise pulumi.RunError(f"{namespace}/{name} cannot become Ready: {trouble}")
        if status and is_done(seen):
            return str(status["endpoint"])
        message = status.get("message", "the daemon has not looked at it yet")
        if message != told:
            pulumi.log.info(f"{namespace}/{name}: {message}")
            told = message
        if time.monotonic() > deadline:
            raise pulumi.RunError(f"{namespace}/{name} is not Ready after {timeout_s:.0f} s: {message}")
        time.sleep(_LOOK_S)


def is_done(cluster: dict[str, Any]) -> bool:
    """Ready, running, and nothing of the present spec left to do."""
    status = cluster.get("status", {})
    held = _conditions(cluster)
    return bool(
        status.get("observedGeneration") == cluster["metadata"].get("generation")
        and status.get("phase") == Phase.RUNNING
        and held.get(Condition.READY, {}).get("status") == "True"
        and held.get(Condition.PROGRESSING, {}).get("status") == "False"
    )


def refusal(cluster: dict[str, Any]) -> str:
    """Why waiting is no use: the daemon is blocked or refuses the present spec; empty when it is of use."""
    status = cluster.get("status", {})
    if not status or status.get("observedGeneration") != cluster["metadata"].get("generation"):
        return ""
    held = _conditions(cluster)
    blocked = held.get(Condition.BLOCKED, {})
    return str(blocked.get("message", "")) if blocked.get("status") == "True" else ""


def _conditions(cluster: dict[str, Any]) -> dict[str, Any]:
    return {one["type"]: one for one in cluster.get("status", {}).get("conditions", [])}


def _read(client: Client, namespace: str, name: str) -> dict[str, Any]:
    """As plain data; empty when the API server cannot answer at this moment."""
    try:
        return dict(client.get(ValkeyClusterObject, name=name, namespace=namespace))
    except ApiError as error:
        if error.status.code == _NOT_FOUND:
            raise pulumi.RunError(f"{namespace}/{name} was deleted while it was waited for") from error
        if (error.status.code or 0) < _SERVER_ERROR:
            raise pulumi.RunError(f"{namespace}/{name} cannot be read: {error}") from error
    except httpx2.TransportError as error:
        pulumi.log.debug(f"{namespace}/{name}: {error}")
    return {"metadata": {}}
