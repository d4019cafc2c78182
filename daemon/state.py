"""What is remembered of a cluster between updates, and how it is kept in a Secret beside it.

The Secret holds Pulumi's checkpoint of the stack (with the embedded backend), the stage last applied with
the spec of its templates, and, while an update runs, the stage that it is going to. It is the only memory
there is: a daemon that starts reads it back. Nothing in it is secret material; it is a Secret because a
stage shows the whole configuration.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from daemon.errors import StateUnreadable
from daemon.kube.api import ALWAYS
from daemon.kube.errors import NotFound
from daemon.kube.kinds import SECRET
from daemon.topology import Applied
from valkey_cluster import names
from valkey_cluster.spec import ValkeyClusterSpec
from valkey_cluster.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.kube.api import KubeApi, Obj
    from valkey_cluster.resources import Identity

_MANAGER = "valkeeper-state"


@dataclass(frozen=True)
class Target:
    """A stage and the spec of its templates."""

    stage: Stage
    spec: ValkeyClusterSpec
    goal: ValkeyClusterSpec | None = None
    """The spec that the shards are being advanced to, one after the other; None when it is `spec`."""


@dataclass(frozen=True)
class Preview:
    """Pulumi's own diff of an edit that waits for a person."""

    hash: str
    """Of the stage that it leads to."""
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """The content of a cluster's state Secret."""

    checkpoint: bytes | None = None
    """Pulumi's state file; None before the first update, and with a backend of the user's own."""
    applied: Target | None = None
    unfinished: Target | None = None
    preview: Preview | None = None

    def as_applied(self) -> Applied | None:
        """As decide sees it; None when nothing was ever begun."""
        basis = self.applied or self.unfinished
        if basis is None:
            return None
        return Applied(
            stage=self.applied.stage if self.applied else Stage(()),
            spec=basis.spec,
            goal=basis.goal or basis.spec,
            unfinished=self.unfinished.stage if self.unfinished else None,
            unfinished_spec=self.unfinished.spec if self.unfinished else None,
            unfinished_goal=self.unfinished.goal if self.unfinished else None,
            previewed=self.preview.hash if self.preview else "",
            diff=self.preview.lines if self.preview else (),
        )


class StateStore:
    """Reads and writes the Secrets; remembers what it read as long as this daemon is the only writer.

    Args:
        api: where they are.
        check: raises before a write when this daemon may not write (any more).
    """

    def __init__(self, api: KubeApi, check: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._check = check
        self._known: dict[str, Record] = {}

    async def load(self, identity: Identity) -> Record:
        """The cluster's record, empty when there is none or it belongs to an earlier object of the name."""
        if identity.uid not in self._known:
            self._known[identity.uid] = await self._read(identity)
        return self._known[identity.uid]

    async def save(self, identity: Identity, record: Record) -> None:
        """Write the record; on an error what is known is forgotten and read again."""
        self._known.pop(identity.uid, None)
        self._check()
        await self._api.apply(SECRET, _secret(identity, record), manager=_MANAGER, force=True)
        self._known[identity.uid] = record

    async def begin(self, identity: Identity, target: Target) -> Record:
        """Note where the update that is about to start is going to."""
        record = replace(await self.load(identity), unfinished=target)
        await self.save(identity, record)
        return record

    async def drop(self, identity: Identity) -> None:
        """Delete the Secret, if it is there."""
        self._known.pop(identity.uid, None)
        self._check()
        try:
            name = names.state_secret(identity.name)
            await self._api.delete(SECRET, identity.namespace, name, ALWAYS)
        except NotFound:
            return

    def forget(self) -> None:
        """Trust nothing that was read: another daemon may have been the writer since."""
        self._known.clear()

    async def _read(self, identity: Identity) -> Record:
        try:
            secret = await self._api.get(SECRET, identity.namespace, names.state_secret(identity.name))
        except NotFound:
            return Record()
        owners = secret["metadata"].get("ownerReferences", [])
        if all(owner["uid"] != identity.uid for owner in owners):
            return Record()
        try:
            return _decode(secret.get("data", {}))
        except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
            raise StateUnreadable(" ".join(str(error).split())[:300]) from error


def _secret(identity: Identity, record: Record) -> Obj:
    metadata = identity.metadata(names.state_secret(identity.name), names.cluster_labels(identity.name), {})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": f"{names.GROUP}/state",
        "metadata": metadata,
        "data": _encode(record),
    }


def _encode(record: Record) -> dict[str, str]:
    parts = {
        "checkpoint": record.checkpoint,
        "applied": _target_bytes(record.applied),
        "unfinished": _target_bytes(record.unfinished),
        "preview": json.dumps(asdict(record.preview)).encode() if record.preview else None,
    }
    return {
        name: base64.b64encode(gzip.compress(content, mtime=0)).decode()
        for name, content in parts.items()
        if content is not None
    }


def _decode(data: dict[str, str]) -> Record:
    parts = {
        name: gzip.decompress(base64.b64decode(content, validate=True)) for name, content in data.items()
    }
    return Record(
        checkpoint=parts.get("checkpoint"),
        applied=_target(parts.get("applied")),
        unfinished=_target(parts.get("unfinished")),
        preview=_preview(parts.get("preview")),
    )


def _preview(content: bytes | None) -> Preview | None:
    if content is None:
        return None
    body = json.loads(content)
    return Preview(body["hash"], tuple(body["lines"]))


def _target_bytes(target: Target | None) -> bytes | None:
    if target is None:
        return None
    body: dict[str, Any] = {"manifests": target.stage.manifests, "spec": target.spec.as_manifest()}
    if target.goal is not None:
        body["goal"] = target.goal.as_manifest()
    return json.dumps(body, sort_keys=True).encode()


def _target(content: bytes | None) -> Target | None:
    if content is None:
        return None
    body = json.loads(content)
    goal = body.get("goal")
    return Target(
        Stage(tuple(body["manifests"])), _spec(body["spec"]), _spec(goal) if goal is not None else None
    )


def _spec(body: Any) -> ValkeyClusterSpec:
    return ValkeyClusterSpec.model_validate_json(json.dumps(body))
