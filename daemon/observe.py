"""Makes the View of one cluster: the caches, the state's record, and a question to every server."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from daemon.clock import unix
from daemon.drift import find_drift
from daemon.errors import StateUnreadable
from daemon.kube.api import Key, KubeApi, Obj, Selection
from daemon.kube.errors import NotFound
from daemon.kube.kinds import PERSISTENT_VOLUME_CLAIM, POD_DISRUPTION_BUDGET
from daemon.nodes import Address, NodeSilent, ValkeyNodes
from daemon.pods import is_running, pod_view
from daemon.topology import UPGRADE_ENDS, Applied, Claim, Drift, PodName, PodView, Upgrade, View
from daemon.watch import CHILDREN, Caches
from valkey_cluster import directives, names
from valkey_cluster.config import directives_of
from valkey_cluster.errors import SpecError
from valkey_cluster.names import UpgradePhase
from valkey_cluster.resources import Identity
from valkey_cluster.resources.config_map import conf_of
from valkey_cluster.spec import ValkeyClusterSpec, parse, parse_upgrade
from valkey_cluster.stage import Stage, is_surged, key, render, unsurged
from valkey_cluster.status_model import ClusterStatus
from valkey_cluster.upgrade_status import UpgradeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.state import StateStore
    from valkey_cluster.spec.later import MaintenanceWindowSpec

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Observer:
    """Everything that can be looked at."""

    api: KubeApi
    caches: Caches
    nodes: ValkeyNodes
    state: StateStore
    in_window: Callable[[Sequence[MaintenanceWindowSpec], float], bool | None] = lambda _windows, _now: None
    clock: Callable[[], float] = time.time
    _unverified: set[Key] = field(default_factory=set)
    _specs: dict[str, tuple[int, ValkeyClusterSpec | None, str]] = field(default_factory=dict)

    def verify(self, of: Key) -> None:
        """At the next look, compare the objects with what the API server has, not with what it told."""
        self._unverified.add(of)

    async def observe(self, of: Key) -> View | None:
        """The cluster as it is now; None when there is no such object (any more)."""
        raw = self.caches.cluster(of)
        if raw is None:
            return None
        meta = raw["metadata"]
        identity = Identity(of.namespace, of.name, meta["uid"])
        deleting = "deletionTimestamp" in meta
        spec, spec_error = self._spec(raw)
        applied, state_error = await self._applied(identity)
        upgrade, ended = _upgrades(self.caches.upgrades(of), meta["creationTimestamp"])
        stray, drift = await self._drift(of, identity, spec, applied.stage if applied else None)
        return View(
            identity=identity,
            generation=meta["generation"],
            deleting=deleting,
            finalizer=names.FINALIZER in meta.get("finalizers", []),
            spec=spec,
            spec_error=spec_error,
            status=_status(raw),
            applied=applied,
            stray=stray,
            drift=drift,
            pods=await self._pods(of, _directives(applied, spec)),
            claims=await self._claims(of) if _needs_claims(applied, spec, upgrade, deleting=deleting) else (),
            blind=self.caches.blind(of.namespace),
            now=self.clock(),
            disruptions_allowed=_disruptions_allowed(self.caches.children(of)),
            window_open=self.in_window(spec.update_policy.maintenance_windows, self.clock())
            if spec
            else None,
            approved=meta.get("annotations", {}).get(names.ANNOTATION_APPROVE, ""),
            upgrade=upgrade,
            ended_upgrades=ended,
            allocatable=self.caches.allocatable(),
            state_error=state_error,
        )

    async def _applied(self, identity: Identity) -> tuple[Applied | None, str]:
        try:
            record = await self.state.load(identity)
        except StateUnreadable as error:
            return None, str(error)
        return record.as_applied(), ""

    def _spec(self, raw: Obj) -> tuple[ValkeyClusterSpec | None, str]:
        """Parsed once per generation."""
        uid, generation = raw["metadata"]["uid"], raw["metadata"]["generation"]
        known = self._specs.get(uid)
        if known is None or known[0] != generation:
            try:
                known = generation, _checked(parse(raw.get("spec"), raw["metadata"]["name"])), ""
            except SpecError as error:
                known = generation, None, str(error)
            self._specs[uid] = known
        return known[1], known[2]

    async def _pods(self, of: Key, directives: frozenset[str]) -> tuple[PodView, ...]:
        known = self.caches.pods(of)
        views = await asyncio.gather(*(self._pod(pod, directives) for pod in known))
        return tuple(sorted(views, key=lambda pod: (pod.shard, pod.ordinal)))

    async def _pod(self, pod: Obj, directives: frozenset[str]) -> PodView:
        view = pod_view(pod, self.caches.zone(pod["spec"]["nodeName"]))
        if not view.ip or not is_running(pod):
            return view
        try:
            server = await self.nodes.look(address(pod), directives)
        except NodeSilent as error:
            return replace(view, unreachable=str(error), refused=error.refused)
        return replace(view, server=server)

    async def _drift(
        self, of: Key, identity: Identity, spec: ValkeyClusterSpec | None, applied: Stage | None
    ) -> tuple[tuple[Drift, ...], tuple[Drift, ...]]:
        """Strays and drift; what the caches make suspect is looked at live before it is believed."""
        live = {key(obj): obj for obj in self.caches.children(of)}
        if applied is None:
            if spec is None or not live:
                return (), ()
            strays = find_drift(render(identity, spec), live)
            return tuple(stray for stray in strays if stray.fields), ()
        suspects = {(drift.kind, drift.name) for drift in find_drift(applied, live)}
        if of in self._unverified:
            self._unverified.discard(of)
            suspects = set(applied.by_key)
        for suspect in suspects:
            found = await self._live(of.namespace, *suspect)
            if found is None:
                live.pop(suspect, None)
            else:
                live[suspect] = found
        return (), find_drift(applied, live) if suspects else ()

    async def _live(self, namespace: str, kind: str, name: str) -> Obj | None:
        resource = next(resource for resource in CHILDREN if resource.kind == kind)
        try:
            return await self.api.get(resource, namespace, name)
        except NotFound:
            return None

    async def _claims(self, of: Key) -> tuple[Claim, ...]:
        selection = Selection(PERSISTENT_VOLUME_CLAIM, of.namespace, f"{names.LABEL_CLUSTER}={of.name}")
        claims = [claim async for page in self.api.list_pages(selection) for claim in page.items]
        alive = [claim["metadata"] for claim in claims if "deletionTimestamp" not in claim["metadata"]]
        return tuple(Claim(meta["name"], meta["uid"]) for meta in alive)


def _checked(spec: ValkeyClusterSpec) -> ValkeyClusterSpec:
    """The spec, if every directive in it is one of its version's. Raises SpecError."""
    problems = directives.problems(spec.config, spec.version_tuple)
    if problems:
        raise SpecError(problems)
    return spec


def _disruptions_allowed(children: list[Obj]) -> int:
    budgets = [one for one in children if one["kind"] == POD_DISRUPTION_BUDGET.kind]
    return min((one.get("status", {}).get("disruptionsAllowed", 0) for one in budgets), default=1)


def _upgrades(found: list[Obj], since: str) -> tuple[Upgrade | None, tuple[Upgrade, ...]]:
    """The one that is on, and those that have ended; oldest first.

    What one says of an earlier cluster of the name, which ended before `since`, does not count.
    """
    told = [_upgrade(one) for one in found if "deletionTimestamp" not in one["metadata"]]
    told = [one for one in told if not one.status.finished_at or unix(one.status.finished_at) >= unix(since)]
    told = [
        replace(one, status=UpgradeStatus())
        if one.status.started_at and unix(one.status.started_at) < unix(since)
        else one
        for one in told
    ]
    on = [one for one in told if one.status.phase not in UPGRADE_ENDS]
    return on[0] if on else None, tuple(one for one in told if one.status.phase in UPGRADE_ENDS)


def _upgrade(raw: Obj) -> Upgrade:
    meta = raw["metadata"]
    try:
        spec, error = parse_upgrade(raw.get("spec"), meta["name"]), ""
    except SpecError as problem:
        spec, error = None, str(problem)
    try:
        status = UpgradeStatus.model_validate_json(json.dumps(raw.get("status") or {}))
    except ValidationError as problem:
        _log.warning(
            "status not understood", upgrade=f"{meta['namespace']}/{meta['name']}", error=str(problem)
        )
        status = UpgradeStatus()
    said = {name for name, value in meta.get("annotations", {}).items() if value == names.ANNOTATION_SET}
    return Upgrade(
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        spec=spec,
        spec_error=error,
        status=status,
        pause=names.ANNOTATION_PAUSE in said,
        approve=names.ANNOTATION_APPROVE in said,
        abort=names.ANNOTATION_ABORT in said,
        by_edit=bool(meta.get("ownerReferences")),
    )


def _needs_claims(
    applied: Applied | None, spec: ValkeyClusterSpec | None, upgrade: Upgrade | None, *, deleting: bool
) -> bool:
    """Claims are asked for only when some may have to go."""
    if applied is None:
        return deleting
    if upgrade is not None and upgrade.status.phase is UpgradePhase.ROLLING_BACK:
        return True
    sets = [one for one in applied.stage.manifests if one["kind"] == "StatefulSet"]
    pods = sum(unsurged(one)["spec"]["replicas"] for one in sets)
    return any(map(is_surged, sets)) or (spec is not None and spec.members < pods)


def _directives(applied: Applied | None, spec: ValkeyClusterSpec | None) -> frozenset[str]:
    """Names of all directives that an applied ConfigMap sets, or the spec does by now."""
    configs = (one for one in applied.stage.manifests if one["kind"] == "ConfigMap") if applied else ()
    edited = spec.config if spec else ()
    return frozenset(name for one in configs for name in directives_of(conf_of(one))).union(edited)


def address(pod: Obj) -> Address:
    """Where the pod's server listens."""
    meta = pod["metadata"]
    return Address(PodName(meta["name"]), meta["uid"], pod["status"].get("podIP", ""))


def _status(raw: Obj) -> ClusterStatus:
    """The status that is there; one that somebody else has written into nonsense counts as none."""
    status: Any = raw.get("status") or {}
    try:
        return ClusterStatus.model_validate_json(json.dumps(status))
    except ValidationError as error:
        meta = raw["metadata"]
        _log.warning("status not understood", cluster=f"{meta['namespace']}/{meta['name']}", error=str(error))
        return ClusterStatus()
