"""Leader election: of several daemons, the one that holds the Lease writes.

    holder    ──renew each 2 s──> Lease <──read each 2 s── candidate
    is_leader() turns False 10 s after     takes over 15 s after it last *saw* the record
    the last renewal that succeeded        change, or at once when the holder released it

Each side uses its own monotonic clock only, so wrong wall clocks do no harm; the times in the record are for
people. The holder counts from before it sent a renewal and the candidate from after it saw it, so there are
5 s in which nobody leads. The same record and rules as client-go's, so kubectl and dashboards understand it.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from daemon.kube.api import Key, KubeApi, Obj, Precondition
from daemon.kube.errors import ApiError, NotFound, NotLeader, Unreachable
from daemon.kube.kinds import LEASE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Timing:
    """The election's clocks and durations, in seconds; tests pass their own.

    Attributes:
        duration_s: how long a candidate waits after the last change it saw.
        deadline_s: how long the holder leads after its last renewal; less than `duration_s`.
        retry_s: between two requests.
        monotonic: seconds that only grow; decides.
        wall: what people's clocks show; only written down.
        sleep: waits.
        rand: evenly spread over [0, 1).
    """

    duration_s: float = 15.0
    deadline_s: float = 10.0
    retry_s: float = 2.0
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = _now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rand: Callable[[], float] = random.random


class Lease:
    """One process' part in an election: `run` it in a task, ask `check` before each write.

    No other living process may use the same identity: a process that finds its own in the record leads at
    once. A pod's UID does for a container that never runs twice at a time; elsewhere add something random.

    Attributes:
        gained, lost: exactly one of them is set; wait on them to start and stop what only a leader does.
        holder: who holds the Lease, as last read; empty for nobody.
        transitions: how often it went to another holder, as last read.
    """

    def __init__(self, api: KubeApi, key: Key, identity: str, timing: Timing | None = None) -> None:
        self.gained = asyncio.Event()
        self.lost = asyncio.Event()
        self.lost.set()
        self.holder = ""
        self.transitions = 0
        self._api = api
        self._key = key
        self._identity = identity
        self._timing = timing or Timing()
        self._own: Obj | None = None
        self._spec: dict[str, Any] = {}
        self._changed_at = 0.0
        self._leads_until = float("-inf")
        self._error: ApiError | None = None
        self._log = structlog.get_logger(__name__).bind(lease=key.name, identity=identity)

    def is_leader(self) -> bool:
        """This process leads now. Asks nobody, and turns False by itself at the renew deadline."""
        return self._timing.monotonic() < self._leads_until

    def check(self) -> None:
        """Raise `NotLeader` unless this process leads now."""
        if not self.is_leader():
            raise NotLeader(f"{self._identity} does not hold lease {self._key.namespace}/{self._key.name}")

    async def run(self) -> None:
        """Campaign, renew, and campaign again when lost, until cancelled; then call `release`."""
        while True:
            try:
                async with asyncio.timeout(self._patience_s()):
                    await self._attempt()
                self._error = None
            except TimeoutError:
                self._failed(Unreachable("no answer in time"))
            except ApiError as error:
                self._failed(error)
            self._announce()
            await self._timing.sleep(self._pause_s())
            self._announce()

    async def release(self) -> None:
        """Stop leading and empty the Lease, so that another takes over at once; `run` must have ended.

        Raises:
            ApiError: it could not be emptied; it then expires by itself.
        """
        self._leads_until = float("-inf")
        self._announce()
        record = await self._api.get(LEASE, *self._key)
        if record["spec"].get("holderIdentity") == self._identity:
            await self._write(record, {"holderIdentity": "", "leaseDurationSeconds": 1})

    async def _attempt(self) -> None:
        """Take, renew or only look at the Lease.

        After any answer but success of our own last write, the record is read again: a write that seemed to
        fail may have been made.
        """
        record, self._own = self._own, None
        asked_at = self._timing.monotonic()
        if record is None:
            try:
                record = await self._api.get(LEASE, *self._key)
            except NotFound:
                meta = {"namespace": self._key.namespace, "name": self._key.name}
                self._hold(await self._api.create(LEASE, {"metadata": meta, "spec": self._claim()}), asked_at)
                return
            self._observe(record)
            if self._is_held_by_other():
                self._leads_until = float("-inf")
                return
            asked_at = self._timing.monotonic()
        self._hold(await self._write(record, self._claim()), asked_at)

    async def _write(self, record: Obj, spec: dict[str, Any]) -> Obj:
        """Change the Lease unless somebody else has since `record` was read."""
        only_if = Precondition(record["metadata"]["uid"], record["metadata"]["resourceVersion"])
        return await self._api.merge_patch(LEASE, *self._key, {"spec": spec}, only_if)

    def _claim(self) -> dict[str, Any]:
        now = self._timing.wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        claim = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._timing.duration_s)),
            "renewTime": now,
        }
        if self._spec and self.holder == self._identity:
            return claim
        return claim | {"acquireTime": now, "leaseTransitions": self.transitions + bool(self._spec)}

    def _hold(self, record: Obj, asked_at: float) -> None:
        self._observe(record)
        self._own = record
        self._leads_until = asked_at + self._timing.deadline_s

    def _observe(self, record: Obj) -> None:
        spec = record.get("spec") or {}
        if spec != self._spec:
            self._spec = spec
            self._changed_at = self._timing.monotonic()
        self.holder = spec.get("holderIdentity") or ""
        self.transitions = spec.get("leaseTransitions") or 0

    def _is_held_by_other(self) -> bool:
        return self.holder not in {"", self._identity} and self._expires_in_s() > 0

    def _expires_in_s(self) -> float:
        duration_s = self._spec.get("leaseDurationSeconds") or self._timing.duration_s
        return float(self._changed_at + duration_s - self._timing.monotonic())

    def _patience_s(self) -> float:
        """How long one attempt may take: a hung one leaves time for another before the deadline."""
        patience_s = self._timing.deadline_s / 2
        left_s = self._leads_until - self._timing.monotonic()
        return min(patience_s, left_s) if left_s > 0 else patience_s

    def _pause_s(self) -> float:
        """Until the next attempt, or the moment at which leading ends or may begin if that is sooner."""
        retry_s = self._timing.retry_s * (1 + self._timing.rand() / 5)
        if self.is_leader():
            return min(retry_s, self._leads_until - self._timing.monotonic())
        expires_in_s = self._expires_in_s()
        return min(retry_s, expires_in_s) if expires_in_s > 0 else retry_s

    def _announce(self) -> None:
        """Bring the events in line with `is_leader`."""
        if self.is_leader() and self.lost.is_set():
            self.lost.clear()
            self.gained.set()
            self._log.info("leading", transitions=self.transitions)
        elif not self.is_leader() and self.gained.is_set():
            self.gained.clear()
            self.lost.set()
            self._log.warning("no longer leading", holder=self.holder)

    def _failed(self, error: ApiError) -> None:
        if type(error) is not type(self._error):
            self._log.warning("lease request failed", error=str(error), kind=type(error).__name__)
        self._error = error
