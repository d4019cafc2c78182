"""Rules that let pods go for good: drained, retired, forgotten, and only then taken away.

Which pods: those that are applied and that the spec does not want any more (View.leaving). A server is
retired before its pod goes, so a live member is never forgotten, and no volume brings an old one back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.decide import roll
from daemon.safety import safe_to_remove
from daemon.steps import Blocked, DeleteClaims, Retire, Step, Wait
from valkey_cluster.stage import key

if TYPE_CHECKING:
    from daemon.topology import PodView, View

_REMEDY = "see what it waits for; docs/runbooks/roll-waits.md"


def retire(view: View) -> Step | None:
    """The next server that leaves: replicas first; a primary of a shard that stays hands over first."""
    for pod in sorted(_serving(view), key=_primary_last):
        why = f"{pod.name} leaves"
        if key(view.sets[pod.shard]) not in view.wanted.by_key and view.primary(pod.shard) is not None:
            return _keeps_slots(pod)
        if pod.server is not None and pod.server.me.slots:
            others = tuple(one for one in view.of_shard(pod.shard) if one.name in view.leaving)
            return roll.hand_over(view, pod.shard, why, exclude=others)
        reason = safe_to_remove(view, pod)
        if reason:
            return Wait(0.1, f"{why} ({reason})", _REMEDY)
        return Retire(pod.name, f"{why}: its server is reset, so that it belongs to nobody")
    return None


def drop_claims(view: View) -> Step | None:
    """Volumes of pods that leave, by `spec.persistence.whenScaled`: they go when the pods have gone."""
    goal = view.goal
    if goal is None or not view.leaving or not view.leaving <= view.retired:
        return None
    if goal.persistence.when_scaled != "Delete":
        return None
    claims = tuple(one for one in view.claims if any(one.name.endswith(f"-{name}") for name in view.leaving))
    if not claims:
        return None
    listed = ", ".join(claim.name for claim in claims)
    return DeleteClaims(claims, f"their pods leave, and whenScaled is Delete: removing {listed}")


def _serving(view: View) -> list[PodView]:
    return [pod for pod in view.pods if pod.name in view.leaving and pod.name in view.servers]


def _primary_last(pod: PodView) -> tuple[bool, int, int]:
    server = pod.server
    return server is not None and server.me.is_primary, -pod.shard, -pod.ordinal


def _keeps_slots(pod: PodView) -> Step:
    return Blocked(
        reason="SlotsStay",
        because=f"shard {pod.shard} is to go and still owns slots, and spec.rebalance.mode is Off",
        remedy="set spec.rebalance.mode to Automatic, or spec.shards back",
    )
