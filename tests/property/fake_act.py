"""What each step does to a fake cluster, command by command, as act.py and provision.py would do it.

A command that no rule may ever lead to raises `Wrong`: slots given out that somebody may own, a member
forgotten that lives or may come back, a copy replaced by one that lacks an acknowledged key, a claim
deleted of a cluster that lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fake_valkey import Valkey, minus

from daemon.steps import (
    AssignSlots,
    DeleteClaims,
    Destroy,
    Forget,
    HoldFinalizer,
    Meet,
    Provision,
    ReleaseFinalizer,
    Replicate,
    SetConfig,
    Step,
)
from daemon.topology import Applied, NodeId, PodName
from valkey_cluster.stage import Key, Stage, key

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

    from valkey_cluster.resources import Manifest
    from valkey_cluster.slots import Ranges

Command = Callable[[], None]


class Wrong(AssertionError):
    """What must never happen."""


def commands(fake: FakeCluster, step: Step) -> list[Command]:  # noqa: C901, PLR0911  one case per step
    """What the step does, one by one; nothing for a step that changes nothing."""
    match step:
        case HoldFinalizer() | ReleaseFinalizer():
            return [partial(setattr, fake, "finalizer", isinstance(step, HoldFinalizer))]
        case Provision():
            return _update(fake, step)
        case Destroy():
            removals = [partial(_remove, fake, one) for one in fake.objects]
            return [*removals, partial(setattr, fake, "applied", None)]
        case DeleteClaims():
            return [partial(_delete_claim, fake, PodName(claim.name)) for claim in step.claims]
        case SetConfig():
            return [partial(_configure, fake, pod, dict(step.pairs)) for pod in step.pods]
        case AssignSlots():
            epochs = [partial(_set_epoch, fake, one.pod, one.epoch) for one in step.assignments if one.epoch]
            return [*epochs, *(partial(_assign, fake, one.pod, one.slots) for one in step.assignments)]
        case Meet():
            return [partial(_meet, fake, one, other) for one, other in step.pairs]
        case Replicate():
            return [partial(_replicate, fake, pod, primary) for pod, primary in step.pairs]
        case Forget():
            answering = [pod.name for pod in fake.view().pods if pod.server]
            return [partial(_forget, fake, pod, node_id) for pod in answering for node_id in step.node_ids]
        case _:
            return []


def _server(fake: FakeCluster, pod: PodName) -> Valkey:
    server = fake.pods[pod].server
    if server is None or fake.pods[pod].place[0] in fake.away:
        raise Wrong(f"a command for {pod}, which does not answer")
    return server


def _configure(fake: FakeCluster, pod: PodName, pairs: dict[str, str]) -> None:
    _server(fake, pod).node_timeout = int(pairs["cluster-node-timeout"]) / 1000


def _set_epoch(fake: FakeCluster, pod: PodName, epoch: int) -> None:
    _server(fake, pod).set_config_epoch(epoch)


def _assign(fake: FakeCluster, pod: PodName, span: Ranges) -> None:
    for server in fake.everything():
        believed = [one for entry in server.table.values() for one in entry.slots]
        if minus(span, [*server.slots, *believed]) != span:
            raise Wrong(f"{span} for {pod} have an owner, says {server.node_id}")
    _server(fake, pod).add_slots(span)


def _meet(fake: FakeCluster, pod: PodName, other: PodName) -> None:
    _server(fake, pod).meet(fake.pods[other].ip, fake.now)


def _replicate(fake: FakeCluster, pod: PodName, primary: NodeId) -> None:
    server = _server(fake, pod)
    source = next((one for one in fake.everything() if one.node_id == primary), None)
    only_here = server.keys & fake.acknowledged - (source.keys if source else set())
    if only_here:
        raise Wrong(f"{pod} would lose {sorted(only_here)}, which {primary} does not have")
    server.replicate(primary)


def _forget(fake: FakeCluster, pod: PodName, node_id: NodeId) -> None:
    if node_id in {server.node_id for server in fake.everything()}:
        raise Wrong(f"FORGET of {node_id}, which lives or may come back")
    if node_id in _server(fake, pod).table:  # else it has heard of it already: act.py takes that for done
        _server(fake, pod).forget(node_id, fake.now)


def _delete_claim(fake: FakeCluster, name: PodName) -> None:
    if not fake.deleting:
        raise Wrong(f"the claim {name} of a cluster that lives")
    fake.volumes.pop(name, None)
    fake.acknowledged &= fake.copies()


def _update(fake: FakeCluster, step: Provision) -> list[Command]:
    """Note the target, apply each object, remove what is left over, note the end."""

    def begin() -> None:
        held = fake.applied or Applied(Stage(()), step.spec, None)
        fake.applied = replace(held, unfinished=step.stage, unfinished_spec=step.spec)

    def apply(manifest: Manifest) -> None:
        fake.objects[key(manifest)] = manifest

    def end() -> None:
        fake.applied = Applied(step.stage, step.spec, None)

    applying = [partial(apply, manifest) for manifest in step.stage.manifests]
    gone = [one for one in fake.objects if one not in step.stage.by_key]
    return [begin, *applying, *(partial(_remove, fake, one) for one in gone), end]


def _remove(fake: FakeCluster, one: Key) -> None:
    fake.objects.pop(one, None)
    fake.reconcile_sets()
