"""Rules that are broken on purpose: the simulation must notice each, or it proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from edits import assert_follows, assert_kept, edit, follow, running, until
from fake_valkey import Refused
from test_bad_images import comes_back_as_it_was
from test_dead_primary import primary, replicas, turns

import daemon.decide as decided
from daemon import safety
from daemon.decide import change, heal, live, roll, takeover
from daemon.steps import Evict, Failover, Steady, Step
from valkey_cluster import stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from daemon.topology import PodView, View

Scenario = Any


def a_roll() -> None:
    fake = running(3, 2, persistent=False)
    edit(fake, annotations={"team": "a"}, config={"tcp-backlog": "1024"})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert not fake.refusals


def a_roll_of_pairs() -> None:
    fake = running(3, 1)
    edit(fake, annotations={"team": "a"})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)
    assert not fake.refusals


def a_roll_without_replicas() -> None:
    fake = running(2, 0)
    edit(fake, annotations={"team": "a"})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def a_roll_in_which_a_replica_lags() -> None:
    fake = running(3, 1)
    edit(fake, annotations={"team": "a"})
    until(fake, Failover)
    (behind,) = replicas(fake, 0)
    assert behind.server
    behind.server.lags = True
    fake.turn()
    turns(fake, 16)
    behind.server.lags = False
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def less_memory() -> None:
    fake = running(2, 1)
    edit(fake, resources={"limits": {"memory": "128Mi"}})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def more_memory() -> None:
    fake = running(2, 1)
    edit(fake, resources={"limits": {"memory": "512Mi"}})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


def a_crash_before_the_turn_of_its_shard() -> None:
    fake = running(3, 1)
    edit(fake, annotations={"team": "a"})
    fake.perform(until(fake, Evict))
    assert comes_back_as_it_was(fake, "pod")


def a_dead_primary_with_a_replica_that_lags() -> None:
    fake = running(3, 2, persistent=False)
    behind, _ = replicas(fake, 0)
    assert behind.server
    behind.server.lags = True
    turns(fake, 4)
    fake.kill_container(primary(fake, 0).name)
    turns(fake, 4)
    fake.busy = False
    assert fake.write(0), "clients are served again before node-timeout"
    assert isinstance(follow(fake), Steady)
    assert_kept(fake)


def a_dead_primary_with_a_replica_that_never_was_in_sync() -> None:
    fake = running(3, 1)
    edit(fake, image={"tag": "9.1.2-deaf"})
    follow(fake)
    fake.kill_container(primary(fake, 0).name)
    edit(fake, image={})
    assert isinstance(follow(fake), Steady)
    assert_follows(fake)


SCENARIOS = (
    a_roll,
    a_roll_of_pairs,
    a_roll_without_replicas,
    a_roll_in_which_a_replica_lags,
    less_memory,
    more_memory,
    a_crash_before_the_turn_of_its_shard,
    a_dead_primary_with_a_replica_that_lags,
    a_dead_primary_with_a_replica_that_never_was_in_sync,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_as_the_rules_are_it_holds(scenario: Callable[[], None]) -> None:
    scenario()


def primary_first(view: View, shard: int, pods: Collection[PodView]) -> Step:
    """The owner of the slots is restarted like any other."""
    pod = view.primary(shard) or next(iter(pods))
    return Evict(pod.name, pod.uid, "the primary goes first")


def all_replicas(view: View) -> Step | None:
    """Whatever is behind goes, without a look at who is gone already."""
    for shard in view.sets:
        for pod in roll.behind(view, shard):
            if pod.server and not pod.server.me.slots:
                return Evict(pod.name, pod.uid, "all at once")
    return None


def not_ready_is_there(view: View, pod: PodView) -> str:
    """As if Kubernetes went by who answers us."""
    missing = sorted({*view.silent} - {pod.name})
    return ", ".join(missing)


def every_shard(view: View) -> Collection[int]:
    return sorted(view.sets)


def every_other_shard_too(view: View, applied: object) -> Collection[int]:
    return sorted(shard for shard in view.sets if change._restarts(view, view.sets[shard]))


def follows(view: View, pod: PodView, lost: str, ended_s_ago: float) -> str:
    return "" if pod.server and pod.server.me.primary_id == lost else "it does not follow"


def worst(pods: tuple[PodView, ...]) -> PodView | None:
    return min(pods, key=lambda pod: pod.server.offset if pod.server else -1, default=None)


def forgetful(*args: Any) -> Any:
    """Without the names of the ConfigMaps that pods still read."""
    return _advance(*args[:3])


_advance = stage.advance


@dataclass(frozen=True)
class Mutant:
    """What is broken, and where it must show."""

    scenario: Callable[[], None]
    module: Any = decided
    name: str = "RULES"
    value: Any = None


def without(rule: object) -> tuple[Any, ...]:
    return tuple(one for one in decided.RULES if one is not rule)


def last(rule: Any) -> tuple[Any, ...]:
    return (*without(rule), rule)


MUTANTS = {
    "the primary is evicted first": Mutant(a_roll, roll, "_next", primary_first),
    "a failover without a look at the links": Mutant(
        a_roll_of_pairs, safety, "_out_of_contact", lambda *_: ""
    ),
    "all replicas are evicted at once": Mutant(
        a_roll, value=tuple(all_replicas if one is heal.await_members else one for one in decided.RULES)
    ),
    "a pod that is not ready counts as there": Mutant(
        a_roll_of_pairs, safety, "_others_missing", not_ready_is_there
    ),
    "a failover is asked for again and again": Mutant(a_roll, value=without(takeover.await_handover)),
    "a valkey.conf goes that pods read": Mutant(a_roll, change, "advance", forgetful),
    "a failover to a replica that is behind": Mutant(
        a_roll_in_which_a_replica_lags, safety, "LAG_MAX_BYTES", 1 << 60
    ),
    "the surge ends with the member that was there before": Mutant(
        a_roll_without_replicas, roll, "max", lambda pods, key: min(pods, key=key)
    ),
    "the limit goes down before maxmemory": Mutant(less_memory, value=last(live.set_live)),
    "maxmemory goes up before the limit": Mutant(
        more_memory, live, "maxmemory_bytes", lambda _pod, wanted, _template: wanted
    ),
    "all shards get the template at once": Mutant(
        a_crash_before_the_turn_of_its_shard, change, "_turn", every_shard
    ),
    "a pod that restarts gets the next template at once": Mutant(
        a_crash_before_the_turn_of_its_shard, change, "_abandoned", every_other_shard_too
    ),
    "a dead primary is left to the election": Mutant(
        a_dead_primary_with_a_replica_that_lags, value=without(takeover.replace_dead_primary)
    ),
    "of two replicas the one that has less takes over": Mutant(
        a_dead_primary_with_a_replica_that_lags, takeover, "best_replica", worst
    ),
    "a replica takes over that was not in sync": Mutant(
        a_dead_primary_with_a_replica_that_never_was_in_sync, takeover, "electable", follows
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_broken_rule_shows(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutant.module, mutant.name, mutant.value, raising=mutant.name != "max")
    with pytest.raises((AssertionError, Refused)):
        mutant.scenario()
