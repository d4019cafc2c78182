"""Tells what is done and why: status, events and the log, each from the same Step, before it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from daemon import metrics
from daemon.decide.upgrade import follow
from daemon.kube.api import Key, KubeApi, Obj
from daemon.kube.errors import ApiError, Conflict, NotFound
from daemon.kube.events import EventRecorder, EventType
from daemon.kube.kinds import VALKEY_CLUSTER, VALKEY_UPGRADE
from daemon.plan import ahead, lines, rest_of
from daemon.status import after_failure, derive
from daemon.steps import Blocked, Provision, Refused, Steady, Step, Wait, kind
from valkey_cluster import names
from valkey_cluster.names import UpgradePhase

if TYPE_CHECKING:
    from daemon.kube.lease import Lease
    from daemon.topology import View
    from daemon.watch import Caches
    from valkey_cluster.status_model import ClusterStatus

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reporter:
    """Where it is told."""

    api: KubeApi
    caches: Caches
    lease: Lease
    events: EventRecorder
    _said: dict[Key, str] = field(default_factory=dict)

    async def announce(self, view: View, step: Step) -> bool:
        """Write status, event and log line, each only when it says something new; whether status did."""
        self._tell(view, step)
        if view.blind:
            return False
        upgraded = await self._write_upgrade(view)
        return await self._write(view, derive(view, step, _plan(view, step))) or upgraded

    async def failed(self, view: View, step: Step, error: Exception) -> None:
        """Say that the step failed, and how."""
        metrics.STEP_FAILURES.labels(kind(step)).inc()
        about = self._object(view)
        self.events.record(
            about, f"{kind(step)}Failed", str(error), action=kind(step), event_type=EventType.WARNING
        )
        try:
            status = derive(view, step, view.status.plan)
            await self._write(view, after_failure(status, str(error), view.now))
        except ApiError as unwritten:
            _log.warning("status not written", cluster=_name(view), error=str(unwritten))

    def _tell(self, view: View, step: Step) -> None:
        """Each change of the step once in the log; what matters to people as an event as well."""
        key = Key(view.identity.namespace, view.identity.name)
        metrics.PASSES.labels(kind(step)).inc()
        said = f"{kind(step)}: {step.because}"
        if self._said.get(key) == said and isinstance(step, Wait | Blocked | Refused | Steady):
            return
        self._said[key] = said
        _log.info(kind(step), cluster=_name(view), because=step.because)
        about = self._object(view)
        if view.drift and not view.deleting:
            note = "; ".join(drift.sentence() for drift in view.drift)
            self.events.record(about, "DriftDetected", note, action="Observe", event_type=EventType.WARNING)
        if isinstance(step, Blocked):
            note = f"{step.because}. What to do: {step.remedy}"
            self.events.record(about, step.reason, note, action="Blocked", event_type=EventType.WARNING)
        elif isinstance(step, Refused):
            self.events.record(
                about, "InvalidSpec", step.because, action="Refused", event_type=EventType.WARNING
            )
        elif not isinstance(step, Wait):
            self.events.record(about, kind(step), step.because, action=kind(step))

    async def _write(self, view: View, status: ClusterStatus) -> bool:
        raw = self._object(view)
        wanted = status.as_manifest()
        if raw.get("status") == wanted:
            return False
        self.lease.check()
        meta = {"namespace": view.identity.namespace, "name": view.identity.name}
        if view.deleting:
            # The name may be the next cluster's by now, and the API server does not compare the uid here.
            if "resourceVersion" not in raw["metadata"]:
                return False
            meta["resourceVersion"] = raw["metadata"]["resourceVersion"]
        obj = {"metadata": meta, "status": wanted}
        try:
            written = await self.api.apply_status(VALKEY_CLUSTER, obj, manager=names.STATUS_MANAGER)
        except NotFound:
            return False
        except Conflict:
            if view.deleting:
                return False
            raise
        self.caches.take(written)
        # An API server with an older CRD drops fields that it does not know: that is no news.
        return written.get("status") != raw.get("status")

    async def _write_upgrade(self, view: View) -> bool:
        """The ValkeyUpgrade's status; whether it said something new. A new phase is an event as well."""
        status, upgrade = follow(view), view.upgrade
        if status is None or upgrade is None or status == upgrade.status:
            return False
        self.lease.check()
        meta = {"namespace": view.identity.namespace, "name": upgrade.name}
        try:
            written = await self.api.apply_status(
                VALKEY_UPGRADE,
                {"metadata": meta, "status": status.as_manifest()},
                manager=names.STATUS_MANAGER,
            )
        except NotFound:
            return False
        self.caches.take(written)
        if status.phase is not upgrade.status.phase and status.phase is not None:
            note = f"ValkeyUpgrade {upgrade.name}: {status.message}"
            _log.info("Upgrade", cluster=_name(view), upgrade=upgrade.name, phase=status.phase, because=note)
            bad = status.phase in _BAD_PHASES
            type_ = EventType.WARNING if bad else EventType.NORMAL
            for about in (self._object(view), written):
                self.events.record(about, f"Upgrade{status.phase}", note, action="Upgrade", event_type=type_)
        return True

    def _object(self, view: View) -> Obj:
        """The object as it is known; enough to name it when it has just gone."""
        known = self.caches.cluster(Key(view.identity.namespace, view.identity.name))
        return known or {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "namespace": view.identity.namespace,
                "name": view.identity.name,
                "uid": view.identity.uid,
            },
        }


def _plan(view: View, step: Step) -> tuple[str, ...]:
    """What remains: run ahead when a change is begun or waits, else what was planned less what is done."""
    match step:
        case Provision(refresh=False) if view.shards:
            return lines(ahead(view))
        case Wait() if view.asked_hash or view.window_open is False:
            return view.status.plan or lines(ahead(view))
        case Steady() | Refused():
            return ()
        case _:
            return rest_of(view.status.plan, step)


_BAD_PHASES = (
    UpgradePhase.ROLLING_BACK,
    UpgradePhase.ROLLED_BACK,
    UpgradePhase.PAUSED,
    UpgradePhase.ABORTED,
    UpgradePhase.REFUSED,
)


def _name(view: View) -> str:
    return f"{view.identity.namespace}/{view.identity.name}"
