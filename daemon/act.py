"""Performs one Step: the only place that changes anything, and that reads the text of servers' errors."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from daemon import failpoints
from daemon.errors import NodeRefused
from daemon.kube.api import KubeApi, Precondition
from daemon.kube.errors import AlreadyExists, NotFound
from daemon.kube.kinds import PERSISTENT_VOLUME_CLAIM, POD, VALKEY_CLUSTER, VALKEY_UPGRADE
from daemon.nodes import Address, Command, NodeError, NodeSilent, ValkeyNodes
from daemon.state import Target
from daemon.steps import (
    Assignment,
    AssignSlots,
    Blocked,
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
    Preview,
    Provision,
    Refused,
    ReleaseFinalizer,
    Replicate,
    Resize,
    Retire,
    SetConfig,
    Steady,
    Step,
    TakeOver,
    Wait,
    WriteVersion,
    kind,
)
from valkey_cluster import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from daemon.kube.api import Obj
    from daemon.kube.lease import Lease
    from daemon.provision import Provisioner
    from daemon.topology import NodeId, PodName, View


@dataclass(frozen=True)
class Actor:
    """Everything that a step can be performed with."""

    api: KubeApi
    nodes: ValkeyNodes
    provisioner: Provisioner
    lease: Lease
    learn: Callable[[Obj], None] = lambda _: None
    """Told an object as we have just written it, so that the next pass does not write it again."""

    async def act(self, view: View, step: Step) -> None:
        """Perform the step; what it did shows in the next View.

        Raises:
            StepError: it could not be performed, wholly or partly; look again before anything else.
            ApiError: the same, for Kubernetes.
        """
        if isinstance(step, Wait | Blocked | Refused | Steady):
            return
        self.lease.check()
        failpoints.reach(f"before:{kind(step)}")
        await self._perform(view, step)
        failpoints.reach(f"after:{kind(step)}")

    async def _perform(self, view: View, step: Step) -> None:  # noqa: C901, PLR0912  one case per kind of step
        match step:
            case HoldFinalizer():
                await self._finalizer(view, held=True)
            case ReleaseFinalizer():
                await self._finalizer(view, held=False)
            case Provision():
                target = Target(step.stage, step.spec, step.goal)
                await self.provisioner.up(view.identity, target, refresh=step.refresh)
            case Preview():
                await self.provisioner.preview(view.identity, Target(step.stage, step.spec))
            case Destroy():
                await self.provisioner.destroy(view.identity)
            case DeleteClaims():
                await self._delete_claims(view, step)
            case SetConfig():
                command: Command = ("CONFIG", "SET", *(word for pair in step.pairs for word in pair))
                await self._send_all(view, {pod: [command] for pod in step.pods})
            case AssignSlots():
                await self._send_all(view, {one.pod: _assign(one) for one in step.assignments})
            case Meet():
                await self._send_all(view, _meetings(view, step))
            case Replicate():
                await self._send_all(view, {pod: [("CLUSTER", "REPLICATE", to)] for pod, to in step.pairs})
            case Forget():
                await self._forget(view, step)
            case Failover():
                force: Command = ("FORCE",) if step.force else ()
                await self._send(view, step.pod, [("CLUSTER", "FAILOVER", *force)])
            case TakeOver():
                await self._send(view, step.pod, [("CLUSTER", "FAILOVER", "TAKEOVER")])
            case MigrateSlots():
                await self._send_all(view, _migrations(step))
            case CancelMigrations():
                await self._send_all(view, {pod: [("CLUSTER", "CANCELSLOTMIGRATIONS")] for pod in step.pods})
            case Retire():
                await self._send(view, step.pod, [("CLUSTER", "RESET", "HARD"), ("FLUSHALL",)])
            case Evict():
                await self._evict(view, step)
            case Resize():
                container = {"name": names.CONTAINER, "resources": step.resources}
                patch = {"spec": {"containers": [container]}}
                written = await self.api.resize(view.identity.namespace, step.pod, patch, uid=step.uid)
                self.learn(written)
            case CreateUpgrade():
                await self._create_upgrade(view, step)
            case WriteVersion():
                await self._write_version(view, step)
            case Wait() | Blocked() | Refused() | Steady():
                return
            case _:
                assert_never(step)

    async def _finalizer(self, view: View, *, held: bool) -> None:
        """Add or remove ours among the finalizers that the object has at this moment."""
        namespace, name = view.identity.namespace, view.identity.name
        try:
            live = await self.api.get(VALKEY_CLUSTER, namespace, name)
        except NotFound:
            return
        meta = live["metadata"]
        if meta["uid"] != view.identity.uid:
            return  # a later cluster of the same name
        others = [entry for entry in meta.get("finalizers", []) if entry != names.FINALIZER]
        finalizers = [*others, names.FINALIZER] if held else others
        only_if = Precondition(uid=view.identity.uid, resource_version=meta["resourceVersion"])
        patch = {"metadata": {"finalizers": finalizers}}
        written = await self.api.merge_patch(VALKEY_CLUSTER, namespace, name, patch, only_if)
        if held:
            self.learn(written)

    async def _evict(self, view: View, step: Evict) -> None:
        """What became of the pod is read at once, so that the next pass does not evict it again."""
        namespace = view.identity.namespace
        await self.api.evict(namespace, step.pod, uid=step.uid)
        with contextlib.suppress(NotFound):
            self.learn(await self.api.get(POD, namespace, step.pod))

    async def _create_upgrade(self, view: View, step: CreateUpgrade) -> None:
        """Named after the edit, so that a second one is not made for it."""
        upgrade = {
            "metadata": view.identity.metadata(step.name, names.cluster_labels(view.identity.name), {}),
            "spec": {"clusterRef": {"name": view.identity.name}, "version": step.version},
        }
        with contextlib.suppress(AlreadyExists):
            self.learn(await self.api.create(VALKEY_UPGRADE, upgrade))

    async def _write_version(self, view: View, step: WriteVersion) -> None:
        image = {"tag": step.tag, "digest": step.digest}
        patch = {"spec": {"version": step.version, "image": image}}
        only_if = Precondition(uid=view.identity.uid)
        name = view.identity.name
        self.learn(await self.api.merge_patch(VALKEY_CLUSTER, view.identity.namespace, name, patch, only_if))

    async def _delete_claims(self, view: View, step: DeleteClaims) -> None:
        namespace = view.identity.namespace
        for claim in step.claims:
            only_if = Precondition(uid=claim.uid)
            with contextlib.suppress(NotFound):
                await self.api.delete(PERSISTENT_VOLUME_CLAIM, namespace, claim.name, only_if)

    async def _forget(self, view: View, step: Forget) -> None:
        """On every server at once: one that still knew the member would tell the others again."""
        outcomes = await asyncio.gather(
            *(self._forget_on(view, pod, step.node_ids) for pod in view.servers), return_exceptions=True
        )
        _raise_first(outcomes)

    async def _forget_on(self, view: View, pod: PodName, node_ids: Iterable[NodeId]) -> None:
        for node_id in node_ids:
            try:
                await self._send(view, pod, [("CLUSTER", "FORGET", node_id)])
            except NodeRefused as error:
                if not _forgotten_already(error):
                    raise

    async def _send_all(self, view: View, commands: dict[PodName, list[Command]]) -> None:
        outcomes = await asyncio.gather(
            *(self._send(view, pod, batch) for pod, batch in commands.items()), return_exceptions=True
        )
        _raise_first(outcomes)

    async def _send(self, view: View, pod: PodName, commands: Sequence[Command]) -> None:
        try:
            await self.nodes.send(_address(view, pod), commands)
        except (NodeError, NodeSilent) as error:
            raise NodeRefused(f"{pod}: {error}") from error


def _address(view: View, name: PodName) -> Address:
    pod = next(pod for pod in view.pods if pod.name == name)
    return Address(pod.name, pod.uid, pod.ip)


def _assign(one: Assignment) -> list[Command]:
    bounds = (bound for span in one.slots for bound in span)
    epoch: list[Command] = [("CLUSTER", "SET-CONFIG-EPOCH", one.epoch)] if one.epoch is not None else []
    return [*epoch, ("CLUSTER", "ADDSLOTSRANGE", *bounds)]


def _migrations(step: MigrateSlots) -> dict[PodName, list[Command]]:
    """One command for each source, with all its targets: it starts all of them or none."""
    words: dict[PodName, Command] = {}
    for one in step.transfers:
        bounds = (bound for span in one.slots for bound in span)
        part: Command = ("SLOTSRANGE", *bounds, "NODE", one.target_id)
        words[one.source] = (*words.get(one.source, ("CLUSTER", "MIGRATESLOTS")), *part)
    return {source: [command] for source, command in words.items()}


def _meetings(view: View, step: Meet) -> dict[PodName, list[Command]]:
    meetings: dict[PodName, list[Command]] = {}
    for source, target in step.pairs:
        command: Command = ("CLUSTER", "MEET", _address(view, target).ip, names.PORT)
        meetings.setdefault(source, []).append(command)
    return meetings


def _forgotten_already(error: NodeRefused) -> bool:
    """One FORGET spreads by gossip (7.2 and newer), so a server may have heard of it before ours came."""
    return "Unknown node" in str(error)


def _raise_first(outcomes: Iterable[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
