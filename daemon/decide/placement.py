"""Which pod of each shard becomes its primary: spread over zones, or over nodes where no zone is known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from daemon.safety import safe_to_take_over
from daemon.steps import Failover, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.topology import PodView, View


def choose_primaries(view: View) -> Mapping[int, PodView]:
    """One pod for each shard that has pods which answer; a shard that has a primary keeps it.

    Places (zones, or nodes where no zone is known) get as even a share as the pods' own places allow:
    the smallest capacity per place for which a matching exists (Kuhn's augmenting paths).
    """
    fixed = {shard: pod for shard in range(view.shards) if (pod := view.primary(shard)) is not None}
    open_shards = {shard: view.of_shard(shard) for shard in range(view.shards) if shard not in fixed}
    candidates = {shard: _candidates(pods) for shard, pods in open_shards.items() if pods}
    for capacity in range(1, view.shards + 1):
        taken = Counter(_place(pod) for pod in fixed.values())
        chosen = _match(candidates, capacity, taken)
        if len(chosen) == len(candidates):
            return dict(sorted((fixed | chosen).items()))
    return dict(sorted(fixed.items()))


def choose_leaders(view: View) -> Mapping[int, PodView]:
    """The pod that the others of each shard shall follow: its primary; one of an empty shard's own servers.

    None is chosen while a member is silent, or while slots have no owner: it may be what is missing.
    """
    known = {shard: pod for shard in range(view.shards) if (pod := view.leader(shard)) is not None}
    if view.silent or view.orphaned or view.unclaimed:
        return known
    heads = {
        shard: _candidates(
            tuple(pod for pod in view.of_shard(shard) if pod.server and pod.server.me.is_primary)
        )
        for shard in range(view.shards)
        if shard not in known
    }
    candidates = {shard: pods for shard, pods in heads.items() if pods}
    for capacity in range(1, view.shards + 1):
        chosen = _match(candidates, capacity, Counter(_place(pod) for pod in known.values()))
        if len(chosen) == len(candidates):
            return known | chosen
    return known


def spread_primaries(view: View) -> Step | None:
    """A role goes to a replica in a place that has fewer, when places could have an even share.

    One at a time, and only where the share becomes more even by it, so this comes to an end.
    """
    if view.window_open is False:
        return None
    current = {shard: pod for shard in range(view.shards) if (pod := view.primary(shard)) is not None}
    ideal = _even(view, current)
    load = Counter(_place(pod) for pod in current.values())
    if max(load.values(), default=0) <= max(Counter(map(_place, ideal.values())).values(), default=0):
        return None
    for shard, pod in ideal.items():
        here, there = _place(current[shard]), _place(pod)
        if load[there] + 1 < load[here] and not safe_to_take_over(view, pod):
            because = (
                f"{here} has {load[here]} of {view.shards} primaries: {pod.name} takes over shard {shard}"
            )
            return Failover(pod.name, force=False, because=because)
    return None


def _even(view: View, current: Mapping[int, PodView]) -> Mapping[int, PodView]:
    """A primary for each shard such that no place has more than need be; the present one if it may."""
    candidates = {
        shard: tuple(
            sorted(view.of_shard(shard), key=lambda pod: (pod.name != current[shard].name, pod.ordinal))
        )
        for shard in current
    }
    for capacity in range(1, view.shards + 1):
        chosen = _match(candidates, capacity, Counter())
        if len(chosen) == len(candidates):
            return dict(sorted(chosen.items()))
    return current


def _candidates(pods: tuple[PodView, ...]) -> tuple[PodView, ...]:
    return tuple(sorted(pods, key=lambda pod: (pod.terminating, pod.ordinal)))


def _place(pod: PodView) -> str:
    return pod.zone or pod.node


def _match(
    candidates: Mapping[int, tuple[PodView, ...]], capacity: int, taken: Counter[str]
) -> dict[int, PodView]:
    chosen: dict[int, PodView] = {}

    def find(shard: int, tried: set[str]) -> bool:
        for pod in candidates[shard]:
            place = _place(pod)
            if place in tried:
                continue
            tried.add(place)
            here = [other for other, holder in chosen.items() if _place(holder) == place]
            if len(here) + taken[place] < capacity or any(find(other, tried) for other in here):
                chosen[shard] = pod
                return True
        return False

    for shard in candidates:
        find(shard, set())
    return chosen
