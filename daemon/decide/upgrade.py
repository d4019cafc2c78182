"""How a ValkeyUpgrade goes on: its next status, and what the cluster does for it. Pure.

    Pending -> Checking -> [WaitingForApproval] -> Canary -> Soaking -> [WaitingForApproval] -> Rolling
        -> Succeeded;   on failure or abort: RollingBack -> RolledBack | Aborted;   on pause: Paused

The phase is written before anything is done by it, so a daemon that starts finds where it was. What the
phase means for templates is `View.goal` and `allowed_shards`; pods follow templates (roll.py) as ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from daemon.clock import rfc3339, unix
from daemon.decide import gates, roll
from daemon.health import assess
from daemon.steps import Blocked, CreateUpgrade, Step, Wait, WriteVersion
from daemon.topology import UPGRADE_ENDS, Upgrade, View
from valkey_cluster import directives, names
from valkey_cluster.names import ShardPhase, UpgradePhase
from valkey_cluster.spec.versions import edge_problem
from valkey_cluster.stage import key, template_of
from valkey_cluster.upgrade_status import HISTORY_MAX, HistoryStatus, ShardUpgradeStatus, UpgradeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from daemon.topology import PodView
    from valkey_cluster.resources import Manifest
    from valkey_cluster.spec import ValkeyUpgradeSpec

_RESTARTS_MAX = 2
"""A container of the new version that ended more often than this dies by its own fault."""

_FAILED = "failed: "

Hop = tuple[UpgradePhase, str]


def allowed_shards(view: View) -> Collection[int]:
    """Shards whose templates may advance now."""
    upgrade = view.upgrade
    if upgrade is None or upgrade.spec is None or not upgrade.changes_version:
        return view.sets
    if upgrade.status.phase is UpgradePhase.CANARY:
        return _canary(view, upgrade.spec)
    return view.sets if upgrade.status.phase is UpgradePhase.ROLLING else ()


def is_taken_back(view: View) -> bool:
    """The upgrade has failed or was aborted, and its pods are on their way back."""
    return view.upgrade is not None and view.upgrade.status.phase is UpgradePhase.ROLLING_BACK


def begin(view: View) -> Step | None:
    """A version that was edited becomes a ValkeyUpgrade; one that has failed before is not tried again."""
    if view.upgrade is not None or view.applied is None or view.permitted is None:
        return None
    target = view.permitted.version
    if target == view.applied.spec.version:
        return None
    failed = [one for one in view.ended_upgrades if _is_for(one, target) and _is_bad(one)]
    if failed:
        last = failed[-1]
        return Blocked(
            reason="UpgradeFailed",
            because=f"the upgrade to {target} ended as {last.status.phase}: {last.status.message}",
            remedy=f"set spec.version back to {view.applied.spec.version}, "
            f"or delete ValkeyUpgrade {last.name} to try again",
        )
    name = f"{view.identity.name}-{re.sub('[^0-9]', '-', target)}"
    taken = {one.name for one in view.ended_upgrades}
    free = next(one for one in (name, *(f"{name}-{count}" for count in range(2, 100))) if one not in taken)
    return CreateUpgrade(free, target, f"spec.version became {target}: ValkeyUpgrade {free} brings it about")


def hold(view: View) -> Step | None:
    """What the cluster does while its upgrade is at a phase in which no template advances."""
    upgrade = view.upgrade
    if upgrade is None or upgrade.spec is None or view.applied is None:
        return None
    if upgrade.status.phase is UpgradePhase.ROLLING and _is_done(view, view.sets) and view.spec is not None:
        if not upgrade.by_edit and view.spec.version == upgrade.status.from_version:
            image = upgrade.spec.image
            tag, digest = (image.tag, image.digest) if image else (None, None)
            because = f"all shards run {upgrade.spec.version}: the ValkeyCluster says so too"
            return WriteVersion(upgrade.spec.version, tag, digest, because)
        return None
    if upgrade.status.phase in (UpgradePhase.PAUSED, UpgradePhase.WAITING_FOR_APPROVAL):
        because = f"ValkeyUpgrade {upgrade.name} is {upgrade.status.phase} ({upgrade.status.message})"
        return Wait(5.0, because, "approve it, let it go on, or abort it, by annotation", 10.0**9)
    phase = upgrade.status.phase or UpgradePhase.PENDING
    return Wait(0.2, f"ValkeyUpgrade {upgrade.name} is {phase}", "see its status", 10.0**9)


def follow(view: View) -> UpgradeStatus | None:
    """The upgrade's status at this moment; None when there is no upgrade."""
    upgrade = view.upgrade
    if upgrade is None:
        return None
    phase, message = _hop(view, upgrade)
    status, now = upgrade.status, rfc3339(view.now)
    applied = view.applied.spec if view.applied else None
    changed = phase is not status.phase
    update: dict[str, object] = {
        "phase": phase,
        "message": message,
        "observed_generation": upgrade.generation,
        "shards": _shards(view, upgrade, now),
    }
    if status.started_at is None:
        update["started_at"] = now
    if status.from_version is None and applied is not None:
        update["from_version"] = applied.version
    if status.phase is None and applied is not None:
        update["baseline"] = gates.baseline(view)
    if changed and phase is UpgradePhase.SOAKING and upgrade.spec is not None:
        update["soak_until"] = rfc3339(view.now + upgrade.spec.soak_seconds)
    if changed and phase in UPGRADE_ENDS:
        update["finished_at"] = now
    if changed:
        entry = HistoryStatus(at=now, phase=phase, message=message)
        update["history"] = (*status.history, entry)[-HISTORY_MAX:]
    return status.model_copy(update=update)


def _hop(view: View, upgrade: Upgrade) -> Hop:
    """The phase that follows the present one, or the same, and why."""
    phase = upgrade.status.phase
    if upgrade.spec is None:
        return UpgradePhase.REFUSED, upgrade.spec_error
    if phase is None:
        return UpgradePhase.PENDING, "it was seen"
    told = _by_annotation(view, upgrade, phase)
    return told or _NEXT[phase](view, upgrade, upgrade.spec)


def _by_annotation(view: View, upgrade: Upgrade, phase: UpgradePhase) -> Hop | None:
    """What a person asked for; a way back is gone to its end."""
    if phase is UpgradePhase.ROLLING_BACK:
        return None
    if upgrade.abort and _touched(view):
        return UpgradePhase.ROLLING_BACK, "it was aborted: what was rolled is taken back"
    if upgrade.abort:
        return UpgradePhase.ABORTED, "it was aborted before anything was changed"
    if upgrade.pause:
        return UpgradePhase.PAUSED, f"the annotation {names.ANNOTATION_PAUSE} is set"
    return None


def _approval(_view: View, upgrade: Upgrade, spec: ValkeyUpgradeSpec) -> Hop:
    if not upgrade.approve:
        return UpgradePhase.WAITING_FOR_APPROVAL, f"waiting for the annotation {names.ANNOTATION_APPROVE}"
    return (UpgradePhase.ROLLING, "approved") if upgrade.status.soak_until else _first(spec)


def _paused(_view: View, upgrade: Upgrade, _spec: ValkeyUpgradeSpec) -> Hop:
    if (upgrade.status.message or "").startswith(_FAILED):
        return UpgradePhase.PAUSED, upgrade.status.message or _FAILED
    return UpgradePhase.CHECKING, f"the annotation {names.ANNOTATION_PAUSE} is gone"


def _checked(view: View, upgrade: Upgrade, spec: ValkeyUpgradeSpec) -> Hop:
    """Nothing is touched before all of this holds."""
    if view.applied is None:
        return UpgradePhase.CHECKING, "the cluster does not exist yet"
    before, target = view.applied.spec, spec.version_tuple
    if not _touched(view):
        problem = edge_problem(before.version_tuple, target, before.persistence.enabled)
        if problem:
            return UpgradePhase.REFUSED, problem
        unfit = directives.problems(before.config, target)
        if unfit:
            return UpgradePhase.REFUSED, "; ".join(str(one) for one in unfit)
        unsettled = _unsettled(view)
        if unsettled:
            return UpgradePhase.CHECKING, f"it begins when the cluster is whole and at rest ({unsettled})"
    if spec.approval == "BeforeStart" and not upgrade.approve:
        return _approval(view, upgrade, spec)
    return _first(spec)


def _first(spec: ValkeyUpgradeSpec) -> Hop:
    if spec.canary.shards:
        return UpgradePhase.CANARY, f"{spec.canary.shards} shard(s) go to {spec.version} first"
    return UpgradePhase.ROLLING, f"all shards go to {spec.version}"


def _rolled(view: View, upgrade: Upgrade, spec: ValkeyUpgradeSpec) -> Hop:
    canary = upgrade.status.phase is UpgradePhase.CANARY
    phase = UpgradePhase.CANARY if canary else UpgradePhase.ROLLING
    failure = _failure(view, upgrade, spec)
    if failure:
        return _failed(spec, failure)
    if not _is_done(view, _canary(view, spec) if canary else view.sets):
        return phase, f"{len(_at_target(view))} of {view.shards} shards have the template of {spec.version}"
    if canary:
        return UpgradePhase.SOAKING, f"the canary runs for {spec.soak_seconds} s before it is judged"
    told = upgrade.by_edit or view.spec is None or view.spec.version != upgrade.status.from_version
    if told and view.applied is not None and view.applied.spec.version == spec.version:
        return UpgradePhase.SUCCEEDED, f"all shards run {spec.version}"
    return phase, "all shards are there; the ValkeyCluster is told so"


def _soaked(view: View, upgrade: Upgrade, spec: ValkeyUpgradeSpec) -> Hop:
    failure = _failure(view, upgrade, spec)
    if failure:
        return _failed(spec, failure)
    until = upgrade.status.soak_until
    if until is not None and view.now < unix(until):
        return UpgradePhase.SOAKING, f"the canary runs until {until}"
    problem = gates.problem(view, upgrade, _canary(view, spec))
    if problem:
        return _failed(spec, f"the canary did not pass: {problem}")
    if spec.approval == "AfterCanary" and not upgrade.approve:
        return UpgradePhase.WAITING_FOR_APPROVAL, "the canary passed; waiting for a person"
    return UpgradePhase.ROLLING, "the canary passed"


def _rolled_back(view: View, upgrade: Upgrade, _spec: ValkeyUpgradeSpec) -> Hop:
    if _touched(view) or not _is_done(view, view.sets):
        return UpgradePhase.ROLLING_BACK, upgrade.status.message or "what was rolled is taken back"
    end = UpgradePhase.ABORTED if upgrade.abort else UpgradePhase.ROLLED_BACK
    return end, upgrade.status.message or "taken back"


def _failed(spec: ValkeyUpgradeSpec, why: str) -> Hop:
    if spec.on_failure == "Pause":
        return UpgradePhase.PAUSED, f"{_FAILED}{why}"
    return UpgradePhase.ROLLING_BACK, why


_NEXT: Mapping[UpgradePhase, Callable[[View, Upgrade, ValkeyUpgradeSpec], Hop]] = {
    UpgradePhase.PENDING: _checked,
    UpgradePhase.CHECKING: _checked,
    UpgradePhase.WAITING_FOR_APPROVAL: _approval,
    UpgradePhase.CANARY: _rolled,
    UpgradePhase.SOAKING: _soaked,
    UpgradePhase.ROLLING: _rolled,
    UpgradePhase.ROLLING_BACK: _rolled_back,
    UpgradePhase.PAUSED: _paused,
}


def _failure(view: View, upgrade: Upgrade, spec: ValkeyUpgradeSpec) -> str:
    """Why the new version cannot be gone on with; empty while it can."""
    for pod in _new_pods(view):
        if pod.cannot_start:
            return f"{pod.name} does not start ({pod.trouble})"
        if pod.restarts > _RESTARTS_MAX and (pod.server is None or not pod.ready):
            return f"{pod.name} ended {pod.restarts} times"
    for shard in upgrade.status.shards:
        if shard.phase is ShardPhase.ROLLING:
            took_s = view.now - unix(shard.since)
            if took_s > spec.shard_timeout_seconds:
                return f"shard {shard.shard} took longer than {spec.shard_timeout_seconds} s"
    return ""


def _new_pods(view: View) -> Iterable[PodView]:
    """Pods of the templates that differ from those of the spec before."""
    at_target = _at_target(view)
    for shard in at_target:
        old = {pod.name for pod in roll.behind(view, shard)}
        yield from (pod for pod in view.pods if pod.shard == shard and pod.name not in old)


def _canary(view: View, spec: ValkeyUpgradeSpec) -> Collection[int]:
    return sorted(view.sets)[: spec.canary.shards]


def _at_target(view: View) -> Collection[int]:
    """Shards whose applied template is of another version than the spec that was applied before."""
    before = view.applied.spec.image_reference if view.applied else ""
    return [shard for shard, one in sorted(view.sets.items()) if _image(one) != before]


def _image(manifest: Manifest) -> str:
    image: str = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def _touched(view: View) -> bool:
    """Some shard has a template of the new version."""
    return bool(_at_target(view))


def _is_done(view: View, shards: Collection[int]) -> bool:
    """The shards have the wanted templates, all their pods follow them, and the cluster is whole."""
    for shard in shards:
        new = view.wanted.by_key.get(key(view.sets[shard]))
        if new is None or template_of(new) != template_of(view.sets[shard]) or roll.behind(view, shard):
            return False
    return assess(view).whole and not _unsettled(view)


def _unsettled(view: View) -> str:
    """What is not as it should be, or still on its way."""
    health = assess(view)
    if not health.whole:
        return health.sentence
    behind = [pod.name for shard in view.sets for pod in roll.behind(view, shard)]
    if behind:
        return f"{', '.join(behind)} have to be rolled first"
    unready = [pod.name for pod in view.pods if not pod.ready or pod.terminating]
    return f"{', '.join(unready)} are not ready" if unready else ""


def _shards(view: View, upgrade: Upgrade, now: str) -> tuple[ShardUpgradeStatus, ...]:
    known = {one.shard: one for one in upgrade.status.shards}
    at_target = set(_at_target(view))
    told = []
    for shard in sorted(view.sets):
        phase = _shard_phase(view, upgrade, shard, reached=shard in at_target)
        versions = {pod.server.version for pod in view.of_shard(shard) if pod.server}
        before = known.get(shard)
        if (
            before is not None
            and before.phase is ShardPhase.DONE
            and upgrade.status.phase is UpgradePhase.SUCCEEDED
        ):
            phase = ShardPhase.DONE
        told.append(
            ShardUpgradeStatus(
                shard=shard,
                phase=phase,
                version=versions.pop() if len(versions) == 1 else None,
                since=before.since if before is not None and before.phase is phase else now,
            )
        )
    return tuple(told)


def _shard_phase(view: View, upgrade: Upgrade, shard: int, *, reached: bool) -> ShardPhase:
    applied = view.applied.spec.version if view.applied else ""
    whole = upgrade.spec is not None and applied == upgrade.spec.version
    rolling = bool(roll.behind(view, shard))
    if upgrade.status.phase is UpgradePhase.ROLLING_BACK:
        if reached or rolling:
            return ShardPhase.ROLLING_BACK
        known = next((one.phase for one in upgrade.status.shards if one.shard == shard), ShardPhase.WAITING)
        return ShardPhase.WAITING if known is ShardPhase.WAITING else ShardPhase.ROLLED_BACK
    if not reached and not whole:
        return ShardPhase.WAITING
    return ShardPhase.ROLLING if rolling else ShardPhase.DONE


def _is_for(upgrade: Upgrade, version: str) -> bool:
    return upgrade.spec is not None and upgrade.spec.version == version


def _is_bad(upgrade: Upgrade) -> bool:
    return upgrade.status.phase in UPGRADE_ENDS and upgrade.status.phase is not UpgradePhase.SUCCEEDED
