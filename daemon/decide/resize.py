"""Rules that change the resources of running pods in place (KEP-1287), replicas first, one pod at a time.

The StatefulSets' templates ask already; OnDelete restarts nothing. Where the kubelet cannot, the pod is
restarted like in a roll, and its successor is made with the new resources, on a node that has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.decide import roll
from daemon.decide.memory import HEADROOM, asked_by, memory_limit
from daemon.safety import safe_to_remove
from daemon.steps import Blocked, Resize, Step, Wait, gist
from valkey_cluster.quantity import exact
from valkey_cluster.stage import key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemon.topology import Amounts, PodView, View

DEFERRED_S = 60.0
"""A resize for which the node has no room now is waited for this long before the pod goes elsewhere."""
CPU_ROUNDING = 10
"""Thousandths of a CPU: runtimes keep quotas in steps of this size."""
_REMEDY = (
    "look at the pod's conditions PodResizePending and PodResizeInProgress; docs/runbooks/resize-waits.md"
)


def refuse_unfit(view: View) -> Step | None:
    """Resources that no node has: nothing is touched, since a pod that crashed then could not come back."""
    if not view.allocatable:
        return None
    for name, manifest in view.wanted.by_key.items():
        if name[0] != "StatefulSet" or view.applied is None:
            continue
        before, after = view.applied.stage.by_key.get(name), asked_by(manifest)
        if (
            before is None
            or asked_by(before) == after
            or any(fits(view, node, after) for node in view.allocatable)
        ):
            continue
        asked = ", ".join(f"{name} {amount}" for name, amount in after["requests"].items())
        return Blocked(
            reason="NoNodeFits",
            because=f"no node has {asked} to give; nothing was touched",
            remedy="ask for less, or add larger nodes",
        )
    return None


def fits(view: View, node: str, wanted: Amounts) -> bool:
    """The node could ever grant this; a node that is not known can."""
    has: Mapping[str, str] = view.allocatable.get(node, {})
    return all(
        name not in has or exact(amount) <= exact(has[name]) for name, amount in wanted["requests"].items()
    )


def resize_pods(view: View) -> Step | None:
    """The next pod whose resources are not as its shard's template asks."""
    for pod in _replicas_first(view):
        if not _is_settled(view, pod.shard):
            continue
        step = _resize(view, pod, asked_by(view.sets[pod.shard]))
        if step is not None:
            return step
    return None


def _is_settled(view: View, shard: int) -> bool:
    """The resources that are applied are those that are wanted by now; else the template follows first."""
    applied = view.sets[shard]
    new = view.wanted.by_key.get(key(applied), applied)
    return asked_by(new) == asked_by(applied)


def _replicas_first(view: View) -> Iterator[PodView]:
    primaries = {primary.name for shard in view.sets if (primary := view.primary(shard)) is not None}
    mine = [pod for pod in view.pods if pod.shard in view.sets and pod.name in view.expected]
    yield from (pod for pod in mine if pod.name not in primaries)
    yield from (pod for pod in mine if pod.name in primaries)


def _resize(view: View, pod: PodView, wanted: Amounts) -> Step | None:
    why = f"resizing {pod.name}"
    told = pod.resources
    if not _same(told.asked, wanted):
        return _ask(view, pod, wanted, why)
    if told.pending == "Infeasible":
        return _restart(view, pod, f"{why}: its node cannot ({told.told})")
    if told.pending:
        return _wait_or_restart(view, pod, f"{why}: its node has no room now ({told.told})")
    if told.error:
        return Wait(1.0, f"{why}: the kubelet tries again ({told.error}: {told.told})", _REMEDY)
    if told.under_way or (told.actual and not _same(told.actual, wanted, rounded=True)):
        return Wait(0.1, f"{why}: waiting for the kubelet", _REMEDY)
    return None


def _ask(view: View, pod: PodView, wanted: Amounts, why: str) -> Step:
    if not fits(view, pod.node, wanted):
        return _restart(view, pod, f"{why}: its node {pod.node} is too small")
    if _quality(pod.resources.asked) != _quality(wanted):
        return _restart(view, pod, f"{why}: its quality of service becomes {_quality(wanted)}")
    full = _too_full(pod, wanted)
    if full:
        return Wait(0.2, f"{why}: {full}", "wait until data have been evicted, or ask for more memory")
    if _restarts(view, pod, wanted):
        if pod.server is not None and pod.server.me.slots:
            return roll.hand_over(view, pod.shard, why)
        reason = safe_to_remove(view, pod)
        if reason:
            return Wait(0.1, f"{why}: its container has to restart ({reason})", _REMEDY)
    text = ", ".join(
        f"{kind}.{name} {amount}" for kind, amounts in wanted.items() for name, amount in amounts.items()
    )
    return Resize(pod.name, pod.uid, wanted, f"{why} in place: {text}")


def _too_full(pod: PodView, wanted: Amounts) -> str:
    limit = memory_limit(wanted)
    if pod.server is None or not limit or limit >= memory_limit(pod.resources.actual or pod.resources.asked):
        return ""
    if pod.server.used_memory <= limit * HEADROOM:
        return ""
    return f"it uses too much of what its limit will be (more than {HEADROOM:.0%} of {limit} bytes)"


def _restarts(view: View, pod: PodView, wanted: Amounts) -> bool:
    """Whether the resize policy of a resource that changes restarts the container."""
    container = view.sets[pod.shard]["spec"]["template"]["spec"]["containers"][0]
    policies = {one["resourceName"]: one["restartPolicy"] for one in container.get("resizePolicy", [])}
    return any(
        policies.get(name) == "RestartContainer"
        for kind, amounts in wanted.items()
        for name, amount in amounts.items()
        if not _alike(pod.resources.asked.get(kind, {}).get(name), amount)
    )


def _wait_or_restart(view: View, pod: PodView, why: str) -> Step:
    prior = view.status.step
    if prior is None:
        return Wait(1.0, why, _REMEDY)
    restarting = gist(prior.because).startswith(f"{gist(why)}:")
    waited = gist(prior.because) == gist(why) and view.now - unix(prior.since) > DEFERRED_S
    return _restart(view, pod, why) if waited or restarting else Wait(1.0, why, _REMEDY)


def _restart(view: View, pod: PodView, why: str) -> Step:
    """Its successor may be placed elsewhere; asked only where some node could take it (refuse_unfit)."""
    if pod.server is not None and pod.server.me.slots:
        return roll.hand_over(view, pod.shard, why)
    return roll.evict(view, pod, why)


def _same(has: Amounts, wanted: Amounts, *, rounded: bool = False) -> bool:
    """What is wanted is there; `rounded`: as far as a runtime keeps it."""
    return all(
        _alike(has.get(kind, {}).get(name), amount, CPU_ROUNDING if rounded and name == "cpu" else 0)
        for kind, amounts in wanted.items()
        for name, amount in amounts.items()
    )


def _alike(has: str | None, wanted: str, tolerance: int = 0) -> bool:
    """The amounts differ by no more than the tolerance, in thousandths."""
    return has is not None and abs(exact(has) - exact(wanted)) * 1000 <= tolerance


def _quality(amounts: Amounts) -> str:
    """The pod's quality of service, which a resize cannot change (KEP-1287)."""
    requests, limits = amounts.get("requests", {}), amounts.get("limits", {})
    alike = (
        name in limits and _alike(limits[name], requests.get(name, limits[name]))
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if all(alike) else "Burstable"
