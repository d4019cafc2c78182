"""What the API server says of a pod, in the few words that a View keeps. Pure."""

from __future__ import annotations

from typing import Any

from daemon.topology import PodName, PodView, Resources
from valkey_cluster import names
from valkey_cluster.stage import shard_of


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
        runs=is_running(pod),
        ended=_ended(status),
        restarts=_container(status).get("restartCount", 0),
        template=meta.get("annotations", {}).get(names.ANNOTATION_TEMPLATE, ""),
        config_map=pod["spec"].get("configMap", ""),
        resources=_resources(pod),
    )


def is_running(pod: dict[str, Any]) -> bool:
    """The Valkey container runs, so its server can be asked."""
    return "running" in _container(pod.get("status", {})).get("state", {})


def _ended(status: dict[str, Any]) -> str:
    """When the container's last run ended, as far as the kubelet has told."""
    container = _container(status)
    for told in (container.get("state", {}), container.get("lastState", {})):
        if "terminated" in told:
            return str(told["terminated"].get("finishedAt") or "unknown")
    return ""


def _resources(pod: dict[str, Any]) -> Resources:
    """KEP-1287: asked -> allocated -> actual; conditions tell what stands between them."""
    status = pod.get("status", {})
    container = _container(status)
    pending, progress = _condition(status, "PodResizePending"), _condition(status, "PodResizeInProgress")
    seen = status.get("observedGeneration", 0) >= pod["metadata"].get("generation", 0)
    # Until the kubelet has seen the last change, its conditions speak of the one before.
    is_pending, in_progress = (seen and one.get("status") == "True" for one in (pending, progress))
    return Resources(
        asked=pod["spec"].get("resources", {}),
        actual=container.get("resources", {}),
        allocated=container.get("allocatedResources", {}),
        pending=pending.get("reason", "") if is_pending else "",
        error=progress.get("reason", "") if in_progress else "",
        told=(pending if is_pending else progress).get("message", ""),
        under_way=in_progress or not seen,
    )


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
