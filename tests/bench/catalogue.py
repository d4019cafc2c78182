"""What is done to a cluster under traffic, and how to see that it had its effect."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local import images, paths
from local.cluster import PUBLISHED_VERSIONS
from tests.bench.subject import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.bench.subject import Pod, Subject

SMALL, LARGE, ROOMY = "96Mi", "128Mi", "256Mi"
SLOT_KEYS = 343_000
MAXCLIENTS = "5000"
_CACHE = {"persistence": {"enabled": False}}
_DURABLE = {"persistence": {"enabled": True, "size": "256Mi", "whenDeleted": "Delete"}}


@dataclass(frozen=True)
class Seen:
    """The cluster as it was just before an operation: its pods, and the one that the operation is about."""

    pods: Mapping[str, Pod]
    victim: Pod


async def look(subject: Subject) -> Seen:
    """What is there; the victim is the primary of shard 0."""
    return Seen(await subject.pods(), await subject.primary(0))


@dataclass(frozen=True)
class Operation:
    """Something done to a Ready cluster.

    Attributes:
        name: on the command line and of its section and picture.
        says: a sentence for the page.
        run: begin it; returns at once.
        done: whether it has had its effect on every pod. The status is waited for besides.
        spec: of the cluster it is done to, beside the size.
        prepare: what to look up before the clock runs.
        keys: how many are there before, where the operation is about them; None for the usual number.
    """

    name: str
    says: str
    run: Callable[[Subject, Seen], Awaitable[None]]
    done: Callable[[Subject, Seen], Awaitable[bool]]
    spec: Mapping[str, Any] = field(default_factory=lambda: _CACHE)
    prepare: Callable[[Subject], Awaitable[Seen]] = look
    keys: int | None = None


def versions() -> tuple[str, str]:
    """An older and a newer version of Valkey that the nodes can run."""
    if os.environ.get("KUBECONFIG") != str(paths.KUBECONFIG):
        return PUBLISHED_VERSIONS
    older, newer = (image.reference.rpartition(":")[2] for image in images.ensure_base()[-2:])
    return older, newer


def memory(amount: str) -> dict[str, Any]:
    """`spec.resources` with this much memory."""
    return {"resources": {"requests": {"cpu": "250m", "memory": amount}}}


def editing(spec: dict[str, Any]) -> Callable[[Subject, Seen], Awaitable[None]]:
    """An operation that merges this into the spec."""

    async def run(subject: Subject, _: Seen) -> None:
        await subject.edit(spec)

    return run


async def kill(subject: Subject, seen: Seen) -> None:
    """SIGKILL the victim's server."""
    await subject.kill(seen.victim)


async def delete(subject: Subject, seen: Seen) -> None:
    """Delete the victim."""
    await subject.delete_pod(seen.victim)


async def all_replaced(subject: Subject, seen: Seen) -> bool:
    """Every pod is another one and runs."""
    pods = await subject.pods()
    return len(pods) == MEMBERS and all(
        pod.running and name in seen.pods and pod.uid != seen.pods[name].uid for name, pod in pods.items()
    )


async def victim_runs_again(subject: Subject, seen: Seen) -> bool:
    """Another pod of its name runs, or another container in it."""
    pod = (await subject.pods()).get(seen.victim.name)
    return pod is not None and pod.running and pod.container != seen.victim.container


def all_have(amount: str) -> Callable[[Subject, Seen], Awaitable[bool]]:
    """Whether every pod's container has this much memory."""

    async def done(subject: Subject, _: Seen) -> bool:
        pods = await subject.pods()
        return len(pods) == MEMBERS and all(pod.running and pod.memory == amount for pod in pods.values())

    return done


async def all_configured(subject: Subject, _: Seen) -> bool:
    """Every server has the new value."""
    return await subject.all_servers(lambda one: one.maxclients == MAXCLIENTS)


def all_have_slots(shards: int) -> Callable[[Subject, Seen], Awaitable[bool]]:
    """Whether so many primaries own slots, an even share each."""

    async def done(subject: Subject, _: Seen) -> bool:
        owned = [one.slots for one in (await subject.servers()).values() if one.primary]
        return len(owned) == shards and max(owned) - min(owned) <= 1

    return done


def operations(older: str, newer: str) -> tuple[Operation, ...]:
    """All of them, in the order of the page."""

    async def all_newer(subject: Subject, _: Seen) -> bool:
        return await subject.all_servers(lambda one: one.version == newer)

    return (
        Operation(
            "roll",
            "An annotation changes, and with it the pods' template: all 6 pods are replaced.",
            editing({"annotations": {"bench/roll": "1"}}),
            all_replaced,
        ),
        Operation(
            "upgrade",
            f"From Valkey {older} to {newer}.",
            editing({"version": newer}),
            all_newer,
            {**_CACHE, "version": older},
        ),
        Operation(
            "resize-up", f"Memory from {SMALL} to {LARGE} a pod.", editing(memory(LARGE)), all_have(LARGE)
        ),
        Operation(
            "resize-down",
            f"Memory from {LARGE} to {SMALL} a pod.",
            editing(memory(SMALL)),
            all_have(SMALL),
            {**_CACHE, **memory(LARGE)},
        ),
        Operation(
            "live-config",
            f"`config.maxclients` becomes {MAXCLIENTS}; in effect when CONFIG GET of every server says so.",
            editing({"config": {"maxclients": MAXCLIENTS}}),
            all_configured,
        ),
        Operation(
            "primary-killed",
            "SIGKILL to one primary's server, with persistence.",
            kill,
            victim_runs_again,
            _DURABLE,
        ),
        Operation(
            "primary-killed-cache",
            "SIGKILL to one primary's server, without persistence.",
            kill,
            victim_runs_again,
        ),
        *(
            Operation(
                name,
                f"From {before} shards to {after}, with {SLOT_KEYS} keys.",
                editing({"shards": after}),
                all_have_slots(after),
                {**_CACHE, **memory(ROOMY), "shards": before},
                keys=SLOT_KEYS,
            )
            for name, before, after in (
                ("scale-out", 3, 4),
                ("scale-in", 4, 3),
                ("scale-out-twice", 3, 6),
                ("scale-in-half", 6, 3),
            )
        ),
        Operation("primary-pod-deleted", "`kubectl delete pod` of one primary.", delete, victim_runs_again),
    )
