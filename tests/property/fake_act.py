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

from fake_api import Wrong, evict, harm, resize
from fake_valkey import Valkey, minus
from fake_vote import PAUSE_S

from daemon.steps import (
    AssignSlots,
    CancelMigrations,
    CreateUpgrade,
    DeleteClaims,
    Destroy,
    Evict,
    Failover,
    Forget,
    HoldFinalizer,
    Meet,
    MigrateSlots,
    Provision,
    ReleaseFinalizer,
    Replicate,
    Resize,
    Retire,
    SetConfig,
    Step,
    TakeOver,
    Transfer,
    WriteVersion,
)
from daemon.topology import Applied, NodeId, PodName, Upgrade
from valkey_cluster.quantity import to_bytes
from valkey_cluster.spec import parse_upgrade
from valkey_cluster.stage import Key, Stage, config_of, key, shard_of, template_of
from valkey_cluster.upgrade_status import UpgradeStatus

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

    from valkey_cluster.resources import Manifest
    from valkey_cluster.slots import Ranges

Command = Callable[[], None]


def commands(fake: FakeCluster, step: Step) -> list[Command]:  # noqa: C901, PLR0911, PLR0912  a case each
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
            return [
                partial(_delete_claim, fake, PodName(claim.name.removeprefix("data-")))
                for claim in step.claims
            ]
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
        case Failover():
            return [partial(_fail_over, fake, step)]
        case TakeOver():
            return [partial(_take_over, fake, step)]
        case MigrateSlots():
            return [partial(_migrate, fake, one, first) for one, first in _batches(step)]
        case CancelMigrations():
            return [partial(_cancel, fake, pod) for pod in step.pods]
        case Retire():
            return [partial(_retire, fake, step.pod)]
        case Evict():
            return [partial(evict, fake, step)]
        case Resize():
            return [partial(resize, fake, step)]
        case CreateUpgrade():
            return [partial(_create_upgrade, fake, step)]
        case WriteVersion():
            return [partial(_write_version, fake, step)]
        case _:
            return []


def _server(fake: FakeCluster, pod: PodName) -> Valkey:
    server = fake.pods[pod].server
    if server is None or fake.pods[pod].place[0] in fake.away:
        raise Wrong(f"a command for {pod}, which does not answer")
    return server


def _configure(fake: FakeCluster, pod: PodName, pairs: dict[str, str]) -> None:
    limit = fake.pods[pod].actual["limits"]["memory"]
    if int(pairs.get("maxmemory", 0)) > to_bytes(limit):
        raise Wrong(f"maxmemory {pairs['maxmemory']} for {pod}, whose limit is {limit}")
    _server(fake, pod).configure(pairs)


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


def _fail_over(fake: FakeCluster, step: Failover) -> None:
    server = _server(fake, step.pod)
    if server.failover:
        raise Wrong(f"{step.pod} is asked twice")
    primary = next((one for one in fake.running() if one.node_id == server.primary_id), None)
    if step.force:
        _succeed(fake, step.pod, server, primary)
    elif primary is not None:
        _stay_on_the_new_template(fake, step.pod, server)
        primary.paused_until = fake.now + PAUSE_S
    obstacle = fake.obstacle(step.pod, force=step.force)
    if obstacle:
        (fake.in_vain if step.force else fake.stalled).append(f"{step.pod}: {obstacle}")
    server.take_over(force=step.force)


def _take_over(fake: FakeCluster, step: TakeOver) -> None:
    """Nobody who may still serve is robbed, and nobody whose claim may bring the data back."""
    server = _server(fake, step.pod)
    primary = next((one for one in fake.everything() if one.node_id == server.primary_id), None)
    if primary in fake.running():
        raise Wrong(f"{step.pod} takes over without a vote from {server.primary_id}, which runs")
    better = primary.keys & fake.acknowledged - server.keys if primary else set()
    if better:
        raise Wrong(f"{step.pod} takes over without {sorted(better)}, which a claim has")
    server.failover = "TAKEOVER"


def _batches(step: MigrateSlots) -> list[tuple[Transfer, bool]]:
    """Each transfer, and whether it is the first of its source."""
    sources = [one.source for one in step.transfers]
    return [(one, one.source not in sources[:at]) for at, one in enumerate(step.transfers)]


def _migrate(fake: FakeCluster, one: Transfer, first: bool) -> None:
    server = _server(fake, one.source)
    if first and any(job.state == "replicating" for job in server.jobs):
        raise Wrong(f"{one.source} gives slots away already")
    if _server(fake, one.target).node_id != one.target_id:
        raise Wrong(f"{one.target} is another by now")
    server.migrate(one.target_id, one.slots, fake.now)


def _cancel(fake: FakeCluster, pod: PodName) -> None:
    _server(fake, pod).cancel()


def _retire(fake: FakeCluster, name: PodName) -> None:
    pod = fake.pods[name]
    wrong = harm(fake, pod)
    if wrong:
        raise Wrong(f"{name} is retired: {wrong}")
    number = fake.next_number()
    _server(fake, name).reset_hard(NodeId(f"{number * 7919 % 99991:05d}"), number)


def _succeed(fake: FakeCluster, pod: PodName, heir: Valkey, primary: Valkey | None) -> None:
    if primary is not None:
        raise Wrong(f"{pod} takes over by force from {primary.node_id}, which runs")
    others = [one for one in fake.running() if one.primary_id == heir.primary_id]
    better = {key for one in others for key in one.keys & fake.acknowledged} - heir.keys
    if better:
        raise Wrong(f"{pod} takes over without {sorted(better)}, which another replica has")


def _stay_on_the_new_template(fake: FakeCluster, pod: PodName, heir: Valkey) -> None:
    """Not to a replica that is about to be restarted while another is not."""
    shard, wanted = fake.pods[pod].shard, {}
    for (kind, _), one in fake.objects.items():
        if kind == "StatefulSet":
            wanted[shard_of(one)] = template_of(one)
    followed = {
        one.name
        for one in fake.pods.values()
        if one.shard == shard
        and template_of(one.made_from) == wanted[shard]
        and one.server is not None
        and one.server.primary_id == heir.primary_id
        and one.server.linked
    }
    if followed and pod not in followed:
        raise Wrong(f"{pod} takes over on an old template, and {sorted(followed)} has the new one")


def _forget(fake: FakeCluster, pod: PodName, node_id: NodeId) -> None:
    if node_id in {server.node_id for server in fake.everything()}:
        raise Wrong(f"FORGET of {node_id}, which lives or may come back")
    if node_id in _server(fake, pod).table:  # else it has heard of it already: act.py takes that for done
        _server(fake, pod).forget(node_id, fake.now)


def _create_upgrade(fake: FakeCluster, step: CreateUpgrade) -> None:
    if any(one.name == step.name for one in fake.upgrades):
        return
    spec = parse_upgrade({"clusterRef": {"name": "demo"}, "version": step.version}, step.name)
    fake.upgrades.append(Upgrade(step.name, f"uid-{step.name}", 1, spec, "", UpgradeStatus(), by_edit=True))


def _write_version(fake: FakeCluster, step: WriteVersion) -> None:
    assert fake.spec
    image = fake.spec.image.model_copy(update={"tag": step.tag, "digest": step.digest})
    fake.spec = fake.spec.model_copy(update={"version": step.version, "image": image})
    fake.generation += 1


def _delete_claim(fake: FakeCluster, name: PodName) -> None:
    """A claim that a pod uses goes when the pod does."""
    if fake.deleting:
        fake.volumes.pop(name, None)
        fake.acknowledged &= fake.copies()
        return
    pod = fake.pods.get(name)
    wrong = harm(fake, pod) if pod else f"it holds {fake.volumes[name]}"
    if wrong or pod is None:
        raise Wrong(f"the claim of {name} goes: {wrong}")
    pod.loses_claim = True


def _update(fake: FakeCluster, step: Provision) -> list[Command]:
    """Note the target, apply each object, remove what is left over, note the end."""

    def begin() -> None:
        held = fake.applied or Applied(Stage(()), step.spec, None, goal=step.goal or step.spec)
        fake.applied = replace(
            held, unfinished=step.stage, unfinished_spec=step.spec, unfinished_goal=step.goal
        )

    def end() -> None:
        fake.applied = Applied(step.stage, step.spec, None, goal=step.goal or step.spec)

    applying = [partial(_apply, fake, manifest) for manifest in step.stage.manifests]
    gone = [one for one in fake.objects if one not in step.stage.by_key]
    return [begin, *applying, *(partial(_remove, fake, one) for one in gone), end]


def _apply(fake: FakeCluster, manifest: Manifest) -> None:
    before = fake.objects.get(key(manifest))
    fake.objects[key(manifest)] = manifest
    if manifest["kind"] == "StatefulSet" and before is not None:
        name, replicas = manifest["metadata"]["name"], manifest["spec"]["replicas"]
        for ordinal in range(replicas, before["spec"]["replicas"]):
            pod = fake.pods.get(PodName(f"{name}-{ordinal}"))
            wrong = harm(fake, pod) if pod else ""
            if wrong:
                raise Wrong(f"{name} loses a pod: {wrong}")


def _remove(fake: FakeCluster, one: Key) -> None:
    read = {config_of(pod.made_from) for pod in fake.pods.values()}
    if one[0] == "ConfigMap" and one[1] in read and not fake.deleting:
        raise Wrong(f"{one[1]} goes, and pods still read it")
    if one[0] == "StatefulSet" and not fake.deleting:
        for pod in (pod for pod in fake.pods.values() if pod.name.startswith(f"{one[1]}-")):
            if pod.server is not None and (pod.server.table or pod.server.slots or pod.server.keys):
                raise Wrong(f"{one[1]} goes, and {pod.name} is a member")
    fake.objects.pop(one, None)
    fake.reconcile_sets()
