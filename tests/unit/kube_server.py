"""An API server over real HTTP, small enough to be made to misbehave.

It keeps objects of any kind with resourceVersions, lists in pages, watches with bookmarks, compacts, honours
uid and resourceVersion preconditions and generateName. Tests steer it by its attributes and methods.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from daemon.kube.client import LightkubeApi, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lightkube.config.kubeconfig import SingleConfig

Obj = dict[str, Any]


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    content_type: str

    @property
    def verb(self) -> str:
        return "WATCH" if "watch" in self.query else self.method


@dataclass
class Canned:
    """An answer given instead of the right one."""

    code: int
    body: Any = None
    headers: dict[str, str] | None = None


def status(code: int, reason: str = "", message: str = "", **more: Any) -> Obj:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, **more}


class KubeServer:
    def __init__(self) -> None:
        self.version = 100
        self.floor = 0
        self.objects: dict[tuple[str, str], Obj] = {}
        self.history: list[tuple[int, str, str, Obj]] = []
        self.seen: list[Seen] = []
        self.canned: dict[str, deque[Canned]] = {}
        self.hung: set[str] = set()
        self.close_watches = False
        self.gone_in_stream = False
        self.raw_watch: list[bytes] = []
        self.port = 0
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Tear all connections and refuse new ones."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def config(self) -> SingleConfig:
        cluster, user = Cluster(server=f"http://127.0.0.1:{self.port}"), User(username="t")
        config = KubeConfig.from_one(cluster=cluster, user=user).get()
        assert config is not None
        return config

    def count(self, verb: str) -> int:
        return sum(seen.verb == verb for seen in self.seen)

    def answer_next(
        self, verb: str, code: int, body: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        self.canned.setdefault(verb, deque()).append(Canned(code, body, headers))

    async def put(self, collection: str, name: str, **fields: Any) -> Obj:
        """Create or change an object, as some other client would."""
        old = self.objects.get((collection, name))
        meta = {"namespace": collection.rstrip("/").split("/")[-2], "name": name, "uid": str(uuid.uuid4())}
        obj = {**(old or {"metadata": meta}), **fields}
        return await self._store(collection, name, obj, "MODIFIED" if old else "ADDED")

    async def remove(self, collection: str, name: str) -> None:
        obj = self.objects[collection, name]
        await self._store(collection, name, obj, "DELETED")
        del self.objects[collection, name]

    async def bookmark(self, collection: str) -> None:
        """Send the current version to all watches, as servers do about each minute."""
        self.history.append(
            (self.version, collection, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
        )
        async with self._changed:
            self._changed.notify_all()

    def compact(self) -> None:
        """Forget all history: watches from before now get 410."""
        self.version += 1
        self.floor = self.version
        self.history.clear()

    async def _store(self, collection: str, name: str, obj: Obj, event_type: str) -> Obj:
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[collection, name] = obj
        self.history.append((self.version, collection, event_type, obj))
        async with self._changed:
            self._changed.notify_all()
        return obj

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(
            request.method,
            request.path,
            dict(request.query),
            json.loads(body) if body else None,
            request.content_type,
        )
        self.seen.append(seen)
        if seen.verb in self.hung:
            await asyncio.Event().wait()
        if queue := self.canned.get(seen.verb):
            canned = queue.popleft()
            text = canned.body if isinstance(canned.body, str) else json.dumps(canned.body)
            return web.Response(status=canned.code, text=text, headers=canned.headers)
        if seen.verb == "WATCH":
            return await self._watch(request, seen)
        code, answer = await self._perform(seen)
        return web.json_response(answer, status=code)

    async def _perform(self, seen: Seen) -> tuple[int, Obj]:
        collection, _, name = seen.path.rpartition("/")
        if seen.method == "POST":
            return await self._create(seen.path, seen.body)
        if (obj := self.objects.get((collection, name))) is None:
            if seen.method == "GET" and name.endswith("s"):
                return self._page(seen)
            return 404, status(404, "NotFound", f"{name} not found")
        if seen.method == "GET":
            return 200, obj
        if seen.method == "PATCH":
            return await self._patch(collection, name, obj, seen.body)
        await self.remove(collection, name)
        return 200, {"kind": "Status", "status": "Success"}

    async def _create(self, collection: str, body: Obj) -> tuple[int, Obj]:
        meta = dict(body["metadata"])
        if "generateName" in meta:
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[-a-z0-9])?", meta["generateName"]):
                return 422, status(422, "Invalid", "metadata.generateName: a lowercase RFC 1123 subdomain")
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        if (collection, meta["name"]) in self.objects:
            return 409, status(409, "AlreadyExists")
        meta["uid"] = str(uuid.uuid4())
        return 201, await self._store(collection, meta["name"], {**body, "metadata": meta}, "ADDED")

    async def _patch(self, collection: str, name: str, obj: Obj, patch: Obj) -> tuple[int, Obj]:
        wanted = patch.get("metadata", {})
        if wanted.get("uid", obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
            causes = [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]
            return 422, status(422, "Invalid", "field is immutable", details={"causes": causes})
        if (
            wanted.get("resourceVersion", obj["metadata"]["resourceVersion"])
            != obj["metadata"]["resourceVersion"]
        ):
            return 409, status(409, "Conflict", "the object has been modified")
        return 200, await self._store(collection, name, _merged(obj, patch), "MODIFIED")

    def _page(self, seen: Seen) -> tuple[int, Obj]:
        at, _, after = seen.query.get("continue", f"{self.version}:").partition(":")
        if int(at) < self.floor:
            return 410, status(410, "Expired", "the continue token is too old")
        names = sorted(name for collection, name in self.objects if collection == seen.path and name > after)
        page = names[: int(seen.query["limit"])]
        meta = {"resourceVersion": at}
        if len(page) < len(names):
            meta["continue"] = f"{at}:{page[-1]}"
        return 200, {
            "kind": "List",
            "metadata": meta,
            "items": [self.objects[seen.path, name] for name in page],
        }

    async def _watch(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        since = int(seen.query["resourceVersion"])
        expired = status(410, "Expired", "too old resource version")
        if since < self.floor and not self.gone_in_stream:
            return web.json_response(expired, status=410)
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in self.raw_watch:
            await response.write(chunk)
            await asyncio.sleep(0)
        if since < self.floor:
            await response.write(_line("ERROR", expired))
            return response
        sent = 0
        while not self.close_watches:
            for version, collection, event_type, obj in self.history[sent:]:
                if collection == seen.path and (version > since or event_type == "BOOKMARK"):
                    await response.write(_line(event_type, obj))
            sent = len(self.history)
            async with self._changed:
                await self._changed.wait()
        return response


def _line(event_type: str, obj: Obj) -> bytes:
    return json.dumps({"type": event_type, "object": obj}).encode() + b"\n"


def _merged(old: Obj, patch: Obj) -> Obj:
    """RFC 7386."""
    new = dict(old)
    for field, value in patch.items():
        if value is None:
            new.pop(field, None)
        elif isinstance(value, dict):
            new[field] = _merged(new[field] if isinstance(new.get(field), dict) else {}, value)
        else:
            new[field] = value
    return new


@asynccontextmanager
async def serving(timeouts: Timeouts | None = None) -> AsyncIterator[tuple[KubeServer, LightkubeApi]]:
    """A server and a client of it, for at most 20 s: a test that waits for what never comes must fail."""
    server = KubeServer()
    await server.start()
    api = LightkubeApi(server.config(), timeouts=timeouts)
    try:
        async with asyncio.timeout(20):
            yield server, api
    finally:
        await api.close()
        await server.stop()


@asynccontextmanager
async def running(*coroutines: Any) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run in the background; a failure there fails the test."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ended:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end


async def until(holds: Callable[[], bool], within_s: float = 5.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.002)


class Clock:
    """Time that passes only when somebody sleeps or the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
