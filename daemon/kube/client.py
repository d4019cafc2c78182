"""The real `KubeApi`: lightkube's credentials and TLS, httpx2's connections, msgspec's JSON.

lightkube's own typed layer is left out: it builds an object per field, lets an idle watch hang, and hides an
HTTP 410 from the caller.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import httpx2
import msgspec
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from daemon.kube import errors
from daemon.kube.api import ALWAYS, Obj, Page, Precondition, Selection, WatchEvent
from daemon.kube.kinds import POD, Resource
from valkey_cluster import names

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_JSON = "application/json"
_APPLY_PATCH = "application/apply-patch+yaml"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_NO_ANSWER = (httpx2.HTTPError, ConfigError, OSError)
"""What a request raises when there is no answer; TimeoutError is an OSError, ConfigError a missing token."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the server may take, in seconds.

    Attributes:
        connect_s: to a connection with TLS.
        request_s: for a whole request; for a watch, until it is accepted.
        watch_idle_s: between two lines of a watch; API servers send a bookmark every 60 to 75 s.
    """

    connect_s: float = 3.0
    request_s: float = 10.0
    watch_idle_s: float = 100.0


class LightkubeApi:
    """An API server over HTTP. One per process: it keeps a pool of connections.

    Args:
        config: where the server is and who we are; tokens in files are read again when they were rotated.
        manager: field manager of creates and patches (an apply names its own).
        timeouts: limits for each request.
    """

    def __init__(
        self, config: SingleConfig, manager: str = names.FIELD_MANAGER, timeouts: Timeouts | None = None
    ) -> None:
        self._manager = manager
        self._timeouts = timeouts or Timeouts()
        limit = httpx2.Timeout(self._timeouts.request_s, connect=self._timeouts.connect_s)
        self._http = httpx2.AsyncClient(
            **ConnectionParams(timeout=limit).httpx_params(config),
            limits=httpx2.Limits(max_connections=200, max_keepalive_connections=20, keepalive_expiry=30),
            headers={"User-Agent": manager, "Accept": _JSON},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """See `KubeApi.get`."""
        return await self._send("GET", resource.path(namespace, name))

    async def list_pages(self, selection: Selection, *, limit: int = 500) -> AsyncIterator[Page]:
        """See `KubeApi.list_pages`."""
        resource = selection.resource
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        params = _selecting(selection) | {"limit": str(limit)}
        while True:
            answer = await self._send("GET", resource.path(selection.namespace), params)
            meta = answer["metadata"]
            yield Page([kind | item for item in answer.get("items") or ()], meta["resourceVersion"])
            if not meta.get("continue"):
                return
            params["continue"] = meta["continue"]

    @asynccontextmanager
    async def watch(
        self, selection: Selection, *, since: str, timeout_s: float
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """See `KubeApi.watch`."""
        params = _selecting(selection) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(max(1, round(timeout_s))),
        }
        path = selection.resource.path(selection.namespace)
        limit = httpx2.Timeout(self._timeouts.watch_idle_s, connect=self._timeouts.connect_s)
        request = self._http.build_request("GET", path, params=params, timeout=limit)
        response = await self._open(request)
        try:
            async with aclosing(_events(response)) as events:
                yield events
        finally:
            await response.aclose()

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        """See `KubeApi.create`."""
        path = resource.path(obj["metadata"].get("namespace"))
        return await self._send("POST", path, {"fieldManager": self._manager}, _typed(resource, obj))

    async def apply(self, resource: Resource, obj: Obj, *, manager: str, force: bool = False) -> Obj:
        """See `KubeApi.apply`."""
        meta = obj["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"])
        params = {"fieldManager": manager, "force": str(force).lower()}
        return await self._patch(path, _typed(resource, obj), _APPLY_PATCH, params)

    async def apply_status(self, resource: Resource, obj: Obj, *, manager: str) -> Obj:
        """See `KubeApi.apply_status`."""
        named = ("namespace", "name", "resourceVersion")
        meta = {field: obj["metadata"][field] for field in named if field in obj["metadata"]}
        body = _typed(resource, {"metadata": meta, "status": obj["status"]})
        path = resource.path(meta.get("namespace"), meta["name"], "status")
        return await self._patch(path, body, _APPLY_PATCH, {"fieldManager": manager, "force": "true"})

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Obj, only_if: Precondition = ALWAYS
    ) -> Obj:
        """See `KubeApi.merge_patch`."""
        return await self._patch(resource.path(namespace, name), _guarded(patch, only_if), _MERGE_PATCH)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        only_if: Precondition = ALWAYS,
        *,
        orphan: bool = False,
    ) -> None:
        """See `KubeApi.delete`."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": only_if.fields(),
            "propagationPolicy": "Orphan" if orphan else "Background",
        }
        await self._send("DELETE", resource.path(namespace, name), {}, body)

    async def evict(self, namespace: str, pod: str, *, uid: str) -> None:
        """See `KubeApi.evict`."""
        # Kubernetes 1.36 holds on to an eviction with another uid for 10 s before it refuses it.
        live = await self.get(POD, namespace, pod)
        if live["metadata"]["uid"] != uid:
            message = f"pod {namespace}/{pod} is another one now"
            raise errors.Conflict({"code": 409, "reason": "Conflict", "message": message})
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": pod},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        await self._send("POST", POD.path(namespace, pod, "eviction"), {}, body)

    async def resize(self, namespace: str, pod: str, patch: Obj, *, uid: str) -> Obj:
        """See `KubeApi.resize`."""
        body = _guarded(patch, Precondition(uid=uid))
        return await self._patch(POD.path(namespace, pod, "resize"), body, _STRATEGIC_PATCH)

    async def _patch(
        self, path: str, body: Obj, content_type: str, params: dict[str, str] | None = None
    ) -> Obj:
        params = params or {"fieldManager": self._manager}
        return await self._send("PATCH", path, params, body, content_type)

    async def _send(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = _JSON,
    ) -> Obj:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            async with asyncio.timeout(self._timeouts.request_s):
                response = await self._http.request(
                    method, path, params=params, content=content, headers=headers
                )
        except _NO_ANSWER as error:
            _raise_unreachable(method, path, error)
        if not response.is_success:
            raise _refused(response)
        return _decode(response.content, f"{method} {path}")

    async def _open(self, request: httpx2.Request) -> httpx2.Response:
        """Send a watch; return once the server has accepted it."""
        try:
            async with asyncio.timeout(self._timeouts.request_s):
                response = await self._http.send(request, stream=True)
                if not response.is_success:
                    await response.aread()
        except _NO_ANSWER as error:
            _raise_unreachable("WATCH", request.url.path, error)
        if not response.is_success:
            raise _refused(response)
        return response


def config_from_env() -> SingleConfig:
    """The API server to use: KUBECONFIG's if set, else the pod's ServiceAccount, else ~/.kube/config.

    Raises:
        Unreachable: none of them is there or usable.
    """
    try:
        path = os.environ.get("KUBECONFIG")
        config = (KubeConfig.from_file(path) if path else KubeConfig.from_env()).get()
    except (ConfigError, OSError, KeyError) as error:
        raise errors.Unreachable(f"no usable Kubernetes configuration: {error}") from error
    if config is None or config.user is None:
        raise errors.Unreachable("the Kubernetes configuration's current context names no user")
    return config


def _selecting(selection: Selection) -> dict[str, str]:
    return {"labelSelector": selection.labels} if selection.labels else {}


def _typed(resource: Resource, obj: Obj) -> Obj:
    return {"apiVersion": resource.api_version, "kind": resource.kind} | obj


def _guarded(patch: Obj, only_if: Precondition) -> Obj:
    fields = only_if.fields()
    return patch | {"metadata": patch.get("metadata", {}) | fields} if fields else patch


def _refused(response: httpx2.Response) -> errors.Refused:
    return errors.from_response(response.status_code, response.content, response.headers.get("Retry-After"))


def _raise_unreachable(method: str, path: str, error: Exception) -> NoReturn:
    raise errors.Unreachable(f"{method} {path}: {type(error).__name__} {error}".rstrip()) from error


def _decode(body: bytes, request: str) -> Obj:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise errors.Unreachable(f"{request}: the answer is not a JSON object: {error}") from error


async def _events(response: httpx2.Response) -> AsyncGenerator[WatchEvent, None]:
    async with aclosing(_lines(response)) as lines:
        async for line in lines:
            event = _decode(line, "WATCH")
            if event["type"] == "ERROR":
                raise errors.from_status(event["object"])
            yield WatchEvent(event["type"], event["object"])


async def _lines(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """Whole lines of a watch; a torn last one is dropped.

    Not httpx2's own: that also splits at U+0085 and others, which JSON may carry inside a string.
    """
    pieces: list[bytes] = []
    try:
        async for chunk in response.aiter_bytes():
            first, *others = chunk.split(b"\n")
            pieces.append(first)
            for piece in others:
                if line := b"".join(pieces):
                    yield line
                pieces = [piece]
    except _NO_ANSWER as error:
        _raise_unreachable("WATCH", response.url.path, error)
