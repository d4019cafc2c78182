"""What the API server says of a pod, in the few words that a View keeps. Pure."""

from __future__ import annotations

from typing import Any

from daemon.topology import PodName, PodView, shard_of
from valkey_cluster import names


def pod_view(pod: dict[str, Any], zone: str) -> PodView:
    """The pod without its server, which only the server itself can describe."""
    meta, status = pod["metadata"], pod.get("status", {})
    return PodView(
        name=PodName(meta["name"]),
        uid=meta["uid"],
        shard=shard_of(pod),
        ordinal=int(meta["name"].rpartition("-")[2]),
        ip=status.get("podIP", ""),
        node=pod["spec"].get("nodeName", ""),
        zone=zone,
        ready=_condition(status, "Ready").get("status") == "True",
        terminating="deletionTimestamp" in meta,
        trouble=_trouble(status),
        server=None,
    )


def is_running(pod: dict[str, Any]) -> bool:
    """The Valkey container runs, so its server can be asked."""
    return "running" in _container(pod.get("status", {})).get("state", {})


def _trouble(status: dict[str, Any]) -> str:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'NotScheduled')}: {scheduled.get('message', '')}".rstrip(": ")
    state = _container(status).get("state", {})
    if "terminated" in state:
        ended = state["terminated"]
        why = ended.get("reason", "no reason given")
        return f"container ended with exit code {ended.get('exitCode')} ({why})"
    waiting = state.get("waiting", {})
    if waiting.get("reason") in (None, "", "ContainerCreating", "PodInitializing"):
        return ""
    return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    return next((one for one in status.get("conditions", []) if one["type"] == type_), {})


def _container(status: dict[str, Any]) -> dict[str, Any]:
    found = (one for one in status.get("containerStatuses", []) if one["name"] == names.CONTAINER)
    return next(found, {})
