"""Tells the story of each object as events.k8s.io/v1 Events, for `kubectl describe` and `kubectl events`.

    pass ──record()──> queue ──run()──> create, or patch the count of a series

An Event is never state: nobody waits for one, a failure to write one is logged and counted and that is all,
and an object that says too much is cut short. Needs create and patch on events, and reads nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from daemon.kube.api import ALWAYS, KubeApi, Obj
from daemon.kube.errors import ApiError, NotFound
from daemon.kube.kinds import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable

_K = TypeVar("_K")
_V = TypeVar("_V")

NOTE_MAX_BYTES: Final = 1024
"""The API server refuses longer notes."""
_QUEUE_MAX: Final = 1000
_REMEMBERED_MAX: Final = 4096


class EventType(StrEnum):
    """Whether a person should look."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one object may say.

    Attributes:
        burst: Events written at once about one object.
        refill_s: seconds after which it may write one more.
        repeat_s: shortest time between two writes of the same series' count.
        series_s: a series that was silent for so long is over: the next is a new Event.
    """

    burst: int = 25
    refill_s: float = 10.0
    repeat_s: float = 10.0
    series_s: float = 360.0


class _Notice(NamedTuple):
    """One thing said about one object; equal ones make a series."""

    uid: str
    type: EventType
    reason: str
    action: str
    note: str


@dataclass(slots=True)
class _Series:
    """An Event that stands in the API, how often it happened, and when that was last said."""

    name: str
    last_at: float
    count: int = 1
    said_at: float = float("-inf")


@dataclass(slots=True)
class _Bucket:
    """What an object may still say."""

    tokens: float
    filled_at: float


class EventRecorder:
    """Writes Events in the background: `run` it in a task.

    Args:
        api: where to write.
        controller: `reportingController`, such as `valkeeper.io/daemon`.
        instance: `reportingInstance`: the pod's name.
        limits: against floods.
        monotonic: seconds that only grow.

    Attributes:
        written, failed, dropped: how many requests succeeded and failed, and how many Events were cut, for
            metrics.
    """

    def __init__(
        self,
        api: KubeApi,
        controller: str,
        instance: str,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.written = self.failed = self.dropped = 0
        self._api = api
        self._reporter = {"reportingController": controller, "reportingInstance": instance[:128]}
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._queue: asyncio.Queue[tuple[_Notice, Obj]] = asyncio.Queue(_QUEUE_MAX)
        self._series: OrderedDict[_Notice, _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._log = structlog.get_logger(__name__)

    def record(
        self, about: Obj, reason: str, note: str, *, action: str, event_type: EventType = EventType.NORMAL
    ) -> None:
        """Say something about an object. Never waits, never raises; may be cut (counted in `dropped`).

        Args:
            about: the object; its apiVersion, kind, namespace, name and uid are used.
            reason: CamelCase, for machines.
            note: one sentence, cut to NOTE_MAX_BYTES.
            action: CamelCase, what was done or tried.
            event_type: Warning when a person should look.
        """
        notice = _Notice(about["metadata"]["uid"], event_type, reason, action, _cut(note))
        try:
            self._queue.put_nowait((notice, _reference(about)))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write what was recorded, in order, until cancelled."""
        while True:
            notice, regarding = await self._queue.get()
            try:
                await self._write(notice, regarding)
            except ApiError as error:
                self.failed += 1
                about = f"{regarding['kind']} {regarding['name']}"
                self._log.warning("event not written", about=about, reason=notice.reason, error=str(error))
            finally:
                self._queue.task_done()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all that was recorded is written, at most `timeout_s`; for a graceful stop."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._queue.join()
        except TimeoutError:
            self.dropped += self._queue.qsize()
            self._log.warning("events left unwritten", count=self._queue.qsize())

    async def _write(self, notice: _Notice, regarding: Obj) -> None:
        """Go on with the notice's series, or start one."""
        now = self._monotonic()
        series = self._series.pop(notice, None)
        if series is not None and now - series.last_at <= self._limits.series_s:
            series.count += 1
            series.last_at = now
            _remember(self._series, notice, series)
            if await self._say_count(series, regarding):
                return
        if not self._may_say(notice.uid):
            self.dropped += 1
            return
        event = await self._api.create(EVENT, self._event(notice, regarding))
        self.written += 1
        _remember(self._series, notice, _Series(event["metadata"]["name"], now))

    async def _say_count(self, series: _Series, regarding: Obj) -> bool:
        """Write the series' count, at once for the second time and then now and then.

        Returns:
            False when the Event is no longer there: the API server keeps them for an hour.
        """
        if series.last_at - series.said_at < self._limits.repeat_s:
            return True
        series.said_at = series.last_at
        patch = {"series": {"count": series.count, "lastObservedTime": _micro_time()}}
        try:
            await self._api.merge_patch(EVENT, _namespace(regarding), series.name, patch, ALWAYS)
        except NotFound:
            return False
        self.written += 1
        return True

    def _may_say(self, uid: str) -> bool:
        """Take a token from the object's bucket, if there is one."""
        now = self._monotonic()
        bucket = self._buckets.pop(uid, None) or _Bucket(self._limits.burst, now)
        refilled = (now - bucket.filled_at) / self._limits.refill_s
        bucket.tokens = min(self._limits.burst, bucket.tokens + refilled)
        bucket.filled_at = now
        _remember(self._buckets, uid, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _event(self, notice: _Notice, regarding: Obj) -> Obj:
        return {
            "metadata": {"namespace": _namespace(regarding), "generateName": f"{regarding['name']}-"},
            "eventTime": _micro_time(),
            "type": notice.type.value,
            "reason": notice.reason,
            "action": notice.action,
            "note": notice.note,
            "regarding": regarding,
            **self._reporter,
        }


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    """Keep as the newest, and let go of the oldest when there are too many."""
    memory[key] = value
    if len(memory) > _REMEMBERED_MAX:
        memory.popitem(last=False)


def _reference(about: Obj) -> Obj:
    meta = about["metadata"]
    fields = {"apiVersion": about["apiVersion"], "kind": about["kind"]}
    return fields | {field: meta[field] for field in ("namespace", "name", "uid") if field in meta}


def _namespace(regarding: Obj) -> str:
    """Where an Event must stand: beside its object, or in `default` for objects without a namespace."""
    return str(regarding.get("namespace", "default"))


def _cut(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= NOTE_MAX_BYTES:
        return note
    return encoded[: NOTE_MAX_BYTES - 3].decode(errors="ignore") + "\u2026"


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
