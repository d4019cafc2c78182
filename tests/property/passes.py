"""The daemon's loop over a fake cluster: observe, decide, tell, act; and what must be true of every pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fake_api import TryAgain

from daemon.decide import decide
from daemon.decide.upgrade import follow
from daemon.health import assess
from daemon.status import derive
from daemon.steps import Blocked, Refused, Steady, Step, Wait, gist
from valkey_cluster import slots
from valkey_cluster.names import Phase

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

IDLE = (Wait, Blocked, Refused, Steady)

LEGAL = {
    None: {Phase.PENDING, Phase.DELETING},
    Phase.PENDING: {Phase.CREATING},
    Phase.CREATING: {Phase.RUNNING},
    Phase.RUNNING: {Phase.UPDATING, Phase.DEGRADED},
    Phase.UPDATING: {Phase.RUNNING},
    Phase.DEGRADED: {Phase.RUNNING},
    Phase.DELETING: set(),
}
"""The phases that may follow each; besides itself and Deleting."""


def look(fake: FakeCluster) -> Step:
    """Observe, decide and tell; nothing is done."""
    view = fake.view()
    step = decide(view)
    if not isinstance(step, IDLE):
        assert decide(replace(view)) == step, "planning twice gives the same step"
    assert step.because, step
    told = derive(view, step)
    before = view.status.phase
    assert told.phase in {before, Phase.DELETING, *LEGAL[before]}, f"{before} -> {told.phase}"
    if isinstance(step, Steady) and not fake.deleting:
        assert assess(view).whole, "steady although the cluster is not whole"
    upgrade = follow(view)
    if upgrade is not None:
        fake.tell_upgrade(upgrade)
    fake.status = told
    return step


def settle(fake: FakeCluster, turns: int = 120, steps: int = 40, rest: int = 60) -> Step:
    """Pass after pass, with time in between, until it is steady, or says the same for `rest` half seconds.

    Fails when that takes more than `turns` half seconds or more than `steps` changes.
    """
    changes, said, same = 0, "", 0
    for _ in range(turns):
        step = look(fake)
        for _ in range(steps):
            if isinstance(step, IDLE):
                break
            changes += 1
            if not attempt(fake, step):
                break
            step = look(fake)
        assert changes <= steps, f"more than {steps} changes, the last: {step}"
        same = same + 1 if gist(step.because) == said else 0
        said = gist(step.because)
        if same >= rest or (isinstance(step, Steady) and same >= 2):
            return step
        fake.turn()
    raise AssertionError(f"does not come to rest: {step}")


def attempt(fake: FakeCluster, step: Step) -> bool:
    """Perform it; False if Kubernetes refused it for now."""
    try:
        fake.perform(step)
    except TryAgain:
        return False
    return True


def assert_whole(fake: FakeCluster) -> None:
    """By the servers themselves: slots owned once, replicas linked, all ok, nobody else known."""
    running = fake.running()
    pods, shards = fake.members()
    assert len(running) == pods
    owned = [span for server in running for span in server.slots]
    assert slots.normalise(owned) == slots.ALL
    assert sum(end - start + 1 for start, end in owned) == slots.SLOTS, "a slot has two owners"
    ids = {server.node_id for server in running}
    for server in running:
        assert server.ok, server
        assert set(server.table) | {server.node_id} == ids, (
            "a member is unknown, or one that is gone is not forgotten"
        )
        assert server.node_timeout == 5.0, "the short node-timeout stayed"
        assert bool(server.slots) == (server.primary_id is None), "neither primary nor replica"
    for shard in range(shards):
        members = [pod.server for pod in fake.pods.values() if pod.shard == shard and pod.server]
        primaries = [server for server in members if server.primary_id is None]
        assert len(primaries) == 1, f"shard {shard} has {len(primaries)} primaries"
        for server in members:
            if server is not primaries[0]:
                assert server.primary_id == primaries[0].node_id
                assert server.linked
                assert server.keys == primaries[0].keys
    assert fake.status.phase is Phase.RUNNING
