"""The API server's subresources of a pod: eviction under the disruption budget, and resize.

What a rule must never ask for raises `Wrong` before the API server has a say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fake_kubelet import Pod, grants, is_ready, resize_restarts
from fake_valkey import Refused

from valkey_cluster.quantity import to_bytes

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

    from daemon.steps import Evict, Resize
    from daemon.topology import Amounts, PodName


class Wrong(AssertionError):
    """What must never happen."""


class TryAgain(Refused):
    """Refused now, and maybe not at the next look: 404, 409, 429."""


def evict(fake: FakeCluster, step: Evict) -> None:
    pod = _this_pod(fake, step.pod, step.uid)
    wrong = harm(fake, pod)
    if wrong:
        raise Wrong(f"eviction of {pod.name}: {wrong}")
    if not _budget_allows(fake, pod):
        fake.refusals.append(pod.name)
        raise TryAgain(f"cannot evict {pod.name} as it would violate the pod's disruption budget")
    fake.evictions.append(pod.name)
    if pod.server is not None:
        fake.down_by_us.add(pod.name)
    fake.stop(pod)


def resize(fake: FakeCluster, step: Resize) -> None:
    pod = _this_pod(fake, step.pod, step.uid)
    asked = {kind: {**pod.asked.get(kind, {}), **amounts} for kind, amounts in step.resources.items()}
    maxmemory = int(pod.server.config["maxmemory"]) if pod.server else 0
    if to_bytes(asked["limits"]["memory"]) < maxmemory:
        raise Wrong(f"the limit of {pod.name} lies below its maxmemory {maxmemory}")
    if _qos(asked) != _qos(pod.asked):
        raise Refused("Pod QOS Class may not change as a result of resizing")
    if resize_restarts(pod, asked):
        wrong = harm(fake, pod)
        if wrong:
            raise Wrong(f"restart of {pod.name}: {wrong}")
        fake.down_by_us.add(pod.name)
    if not grants(fake, pod.place[0], asked):
        raise Refused(f"NodeCapacity: {pod.place[0]} is too small")
    pod.asked, pod.unseen = asked, True


def _qos(asked: Amounts) -> str:
    return "Guaranteed" if asked["requests"] == asked["limits"] else "Burstable"


def _this_pod(fake: FakeCluster, name: PodName, uid: str) -> Pod:
    pod = fake.pods.get(name)
    if pod is None or pod.uid != uid:
        raise TryAgain(f"pod {name} is another one now")
    return pod


def harm(fake: FakeCluster, pod: Pod) -> str:
    """Why nobody may stop this pod."""
    ours = sorted(fake.down_by_us - {pod.name})
    if ours:
        return f"{', '.join(ours)} is down by our hand already"
    if pod.server is None:
        return ""
    if pod.server.votes:
        return "it owns slots"
    others = [one for one in fake.pods.values() if one is not pod]
    missing = [one.name for one in others if one.server is None or one.terminating]
    if missing:
        return f"{', '.join(missing)} is missing already"
    in_sync = [one.server for one in others if one.server and (one.server.votes or one.server.linked)]
    last = pod.server.keys & fake.acknowledged - {key for server in in_sync for key in server.keys}
    return f"nobody else in sync has {sorted(last)}" if last else ""


def _budget_allows(fake: FakeCluster, pod: Pod) -> bool:
    """maxUnavailable 1 and IfHealthyBudget; pods that never ran are not asked about."""
    if all(kind != "PodDisruptionBudget" for kind, _ in fake.objects) or not (pod.runs or pod.ended):
        return True
    healthy = sum(is_ready(fake, one) and not one.terminating for one in fake.pods.values())
    desired = fake.members()[0] - 1
    return healthy > desired or (not is_ready(fake, pod) and healthy >= desired > 0)
