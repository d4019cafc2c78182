"""Rules that restart pods: a shard's pods follow its template, one at a time, the primary last.

Which template a shard has is for change.py; from the moment it is applied, its pods follow. So the rule is
the same for an edit, an upgrade, a rollback, and for a roll that a daemon found half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.decide.memory import asked_by
from daemon.safety import best_replica, safe_to_remove, safe_to_take_over
from daemon.steps import DeleteClaims, Evict, Failover, Provision, Step, Wait
from valkey_cluster.spec.versions import data_format
from valkey_cluster.stage import is_surged, surged, template_of, unsurged, with_set

if TYPE_CHECKING:
    from daemon.topology import Claim, PodView, View

_REMEDY = "see what it waits for; docs/runbooks/roll-waits.md"


def behind(view: View, shard: int) -> tuple[PodView, ...]:
    """The shard's pods that were made from another template than the one applied."""
    wanted = template_of(view.sets[shard])
    return tuple(pod for pod in view.pods if pod.shard == shard and pod.template != wanted)


def replace_broken(view: View) -> Step | None:
    """A pod that does not run and would not be made like this again: its successor may do better.

    Before the rules that wait for every member, because waiting for this one would be for ever.
    """
    for shard in view.sets:
        for pod in _outdated(view, shard):
            if not is_broken(pod) or pod.terminating:
                continue
            if safe_to_remove(view, pod) and not _is_void(view, shard):
                continue
            stale = _unreadable(view, pod)
            if stale:
                return DeleteClaims(
                    stale, f"{pod.name} is taken back and could not read its volume: it copies anew"
                )
            because = f"{pod.name} does not serve, and its shard has another template by now: it is made anew"
            return Evict(pod.name, pod.uid, because)
    return None


def _outdated(view: View, shard: int) -> tuple[PodView, ...]:
    """Pods that would be made differently now, be it only in resources that keep them from starting."""
    wanted = asked_by(view.sets[shard])
    unplaced = (pod for pod in view.pods if pod.shard == shard and pod.cannot_start)
    return (*behind(view, shard), *(pod for pod in unplaced if pod.resources.asked != wanted))


def _is_void(view: View, shard: int) -> bool:
    """No pod of the shard can start, by the kubelet's word: its data lie in its claims, which stay."""
    return all(pod.cannot_start for pod in view.pods if pod.shard == shard)


def follow_template(view: View) -> Step | None:
    """The next pod that is not as its shard's template: replicas first, the old primary last."""
    for shard in sorted(view.sets):
        pods = behind(view, shard)
        if pods:
            return _next(view, shard, pods)
    return None


def _next(view: View, shard: int, pods: tuple[PodView, ...]) -> Step | None:
    primary = view.primary(shard)
    replicas = [pod for pod in pods if primary is None or pod.name != primary.name]
    if replicas:
        return evict(view, replicas[0], f"rolling shard {shard}")
    if len(view.of_shard(shard)) == 1:
        return _surge(view, shard)
    return hand_over(view, shard, f"rolling shard {shard}", exclude=pods)


def _surge(view: View, shard: int) -> Step | None:
    """A shard without replicas gets one for as long as its only member is replaced."""
    if view.applied is None:
        return None
    stage = with_set(view.applied.stage, surged(view.sets[shard]))
    because = f"rolling shard {shard}: it has no replica, so one is added until its pod has been replaced"
    return Provision(stage, view.applied.spec, refresh=False, because=because, goal=view.applied.goal)


def end_surge(view: View) -> Step | None:
    """The pod that was added goes, when the role is back and nobody needs it: first its claim, then itself.

    A claim that a pod uses stays until the pod is gone (Kubernetes' protection), so there is no moment in
    which an old member could come back from it.
    """
    for shard, manifest in sorted(view.sets.items()):
        if not is_surged(manifest) or view.applied is None:
            continue
        why = f"shard {shard} is rolled: the replica that was added for it goes"
        last = max(view.of_shard(shard), key=lambda pod: pod.ordinal)
        if last.server and last.server.me.slots:
            return hand_over(view, shard, why)
        reason = safe_to_remove(view, last)
        if reason:
            return Wait(0.1, f"{why} ({reason})", _REMEDY)
        claims = tuple(one for one in view.claims if one.name.endswith(f"-{last.name}"))
        if claims:
            return DeleteClaims(claims, f"{why}, and its volume with it")
        stage = with_set(view.applied.stage, unsurged(manifest))
        return Provision(stage, view.applied.spec, refresh=False, because=why, goal=view.applied.goal)
    return None


def evict(view: View, pod: PodView, why: str) -> Step:
    """The pod is taken away when it is safe to."""
    reason = "it is terminating" if pod.terminating else safe_to_remove(view, pod)
    if not reason and pod.ready and view.disruptions_allowed < 1:
        reason = "the PodDisruptionBudget allows none to be evicted"
    if reason:
        return Wait(0.1, f"{why}: {pod.name} is next ({reason})", _REMEDY)
    stale = _unreadable(view, pod)
    if stale:
        return DeleteClaims(stale, f"{why}: {pod.name} could not read its volume: it copies anew")
    return Evict(pod.name, pod.uid, f"{why}: {pod.name} restarts on the new template")


def hand_over(view: View, shard: int, why: str, exclude: tuple[PodView, ...] = ()) -> Step:
    """The role goes to the best replica that is not among `exclude`."""
    shunned = {pod.name for pod in exclude}
    candidates = tuple(
        pod
        for pod in view.of_shard(shard)
        if pod.server and pod.name not in shunned and not pod.server.me.slots
    )
    ready = tuple(pod for pod in candidates if not safe_to_take_over(view, pod))
    best = best_replica(ready)
    if best is not None:
        return Failover(best.name, force=False, because=f"{why}: {best.name} takes over as primary")
    reasons = "; ".join(safe_to_take_over(view, pod) for pod in candidates) or "there is no replica"
    return Wait(0.05, f"{why}: its primary is next ({reasons})", _REMEDY)


def _unreadable(view: View, pod: PodView) -> tuple[Claim, ...]:
    """The claim of a pod that may have written, in an upgrade taken back, what the older version cannot read.

    Data files of 9.0 and newer are unreadable to 8; a replica copies them anew from its primary. The claim
    is deleted first and goes when the pod has gone.
    """
    upgrade, goal = view.upgrade, view.goal
    if upgrade is None or upgrade.spec is None or goal is None or not goal.persistence.enabled:
        return ()
    ran = pod.server is not None or bool(pod.ended)
    if not ran or data_format(upgrade.spec.version_tuple) <= data_format(goal.version_tuple):
        return ()
    return tuple(one for one in view.claims if one.name.endswith(f"-{pod.name}"))


def is_broken(pod: PodView) -> bool:
    """It does not run, by the kubelet's word, or runs as a replica without its primary's data."""
    if pod.server is None:
        return not pod.runs
    return not pod.server.link_up
