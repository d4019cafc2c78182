"""The ValkeyCluster that an operation is measured on: made, edited, hurt, and looked at from outside."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.kube.api import ALWAYS, Selection
from daemon.kube.kinds import NODE, POD, VALKEY_CLUSTER
from local import cluster as local_cluster
from stacks.ready import is_done, refusal
from tests.bench.create import NAMESPACE, remove
from tests.bench.members import owners, parse
from tests.bench.resp import PORT, Address, Connection, NoAnswer
from valkey_cluster import names, slots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from daemon.kube.api import Obj
    from daemon.kube.client import LightkubeApi
    from tests.bench.members import Node
    from tests.bench.resp import Answer

SHARDS, REPLICAS = 3, 1
MEMBERS = SHARDS * (1 + REPLICAS)
WITHIN_S = 300.0
WORD_S = 2.0
_LOOK_S = 0.1
_QUESTIONS = (("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("INFO",), ("CONFIG", "GET", "maxclients"))


@dataclass(frozen=True)
class Pod:
    """A pod as Kubernetes tells of it. Memory is what its container has, not what was asked for."""

    name: str
    shard: int
    uid: str
    ip: str
    node: str
    container: str
    restarts: int
    running: bool
    memory: str

    @classmethod
    def of(cls, pod: Obj) -> Pod:
        """From the object; a container that never ran has no id."""
        status = pod["status"].get("containerStatuses", [{}])[0]
        return cls(
            name=pod["metadata"]["name"],
            shard=int(pod["metadata"]["labels"][names.LABEL_SHARD]),
            uid=pod["metadata"]["uid"],
            ip=pod["status"].get("podIP", ""),
            node=pod["spec"].get("nodeName", ""),
            container=status.get("containerID", ""),
            restarts=status.get("restartCount", 0),
            running="running" in status.get("state", {}) and "deletionTimestamp" not in pod["metadata"],
            memory=status.get("resources", {}).get("requests", {}).get("memory", ""),
        )


@dataclass(frozen=True)
class Server:
    """What one Valkey server says, in one round trip that does not hold up the writers beside it.

    Attributes:
        primary: whether it owns slots.
        slots: how many.
        whole: it says that the cluster is ok, each slot has one owner, and it is in sync.
        members: how many it knows, itself among them.
        version: of Valkey.
        maxclients: as it is set now.
    """

    primary: bool
    slots: int
    whole: bool
    members: int
    version: str
    maxclients: str

    @classmethod
    async def ask(cls, ip: str) -> Server | None:
        """The answer of the server at that address; None when there is none now."""
        address = Address(ip, PORT)
        try:
            connection = await Connection.open(address)
        except OSError:
            return None
        try:
            answers = await connection.ask_all(_QUESTIONS, WORD_S)
        except NoAnswer:
            return None
        finally:
            connection.close()
        return cls.of(address, answers)

    @classmethod
    def of(cls, address: Address, answers: list[Answer]) -> Server | None:
        """From the answers; None when one of them is a refusal, as while data is loaded."""
        table, state, info, config = answers
        if not (isinstance(table, bytes) and isinstance(state, bytes) and isinstance(info, bytes)):
            return None
        known = parse(table.decode(), address)
        said = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        in_sync = said.get("role") == "master" or said.get("master_link_status") == "up"
        whole = b"cluster_state:ok" in state and owned_once(known) and in_sync
        mine = [node for node in known if "myself" in node.flags]
        return cls(
            primary=any(node.slots for node in mine),
            slots=sum(slots.count(node.slots) for node in mine),
            whole=whole,
            members=len(known),
            version=said.get("valkey_version", ""),
            maxclients=config[1].decode()
            if isinstance(config, list) and isinstance(config[1], bytes)
            else "",
        )


def owned_once(table: Iterable[Node]) -> bool:
    """Whether each slot has exactly one owner."""
    spans = [span for node in owners(table) for span in node.slots]
    return not slots.complement(spans) and sum(end - start + 1 for start, end in spans) == slots.SLOTS


@dataclass(frozen=True)
class Subject:
    """One cluster of 3 shards with a replica each."""

    api: LightkubeApi
    name: str

    async def make(self, spec: dict[str, Any]) -> None:
        """Create it and wait until it is done."""
        whole = {"shards": SHARDS, "replicasPerShard": REPLICAS, **spec}
        metadata = {"namespace": NAMESPACE, "name": self.name}
        await self.api.create(VALKEY_CLUSTER, {"metadata": metadata, "spec": whole})
        await self.until(self.is_settled, "Ready")

    async def remove(self) -> None:
        """Delete it with all that it has."""
        await remove(self.api, self.name)

    async def edit(self, spec: dict[str, Any]) -> None:
        """Merge into its spec."""
        await self.api.merge_patch(VALKEY_CLUSTER, NAMESPACE, self.name, {"spec": spec}, ALWAYS)

    async def raw(self) -> Obj:
        """The object as it is now."""
        return await self.api.get(VALKEY_CLUSTER, NAMESPACE, self.name)

    async def pods(self) -> dict[str, Pod]:
        """Its pods by name."""
        mine = Selection(POD, NAMESPACE, f"{names.LABEL_CLUSTER}={self.name}")
        found = [Pod.of(pod) async for page in self.api.list_pages(mine) for pod in page.items]
        return {pod.name: pod for pod in sorted(found, key=lambda pod: pod.name)}

    async def addresses(self) -> list[str]:
        """Of the pods that have one."""
        return [pod.ip for pod in (await self.pods()).values() if pod.ip]

    async def servers(self) -> dict[str, Server]:
        """What the server of each pod says, by the pod's name; without those that say nothing."""
        pods = [pod for pod in (await self.pods()).values() if pod.ip]
        answers = await asyncio.gather(*(Server.ask(pod.ip) for pod in pods))
        return {pod.name: answer for pod, answer in zip(pods, answers, strict=True) if answer}

    async def primary(self, shard: int) -> Pod:
        """The pod that is a shard's primary by its own word.

        Raises:
            RuntimeError: none is.
        """
        servers = await self.servers()
        for name, pod in (await self.pods()).items():
            if pod.shard == shard and name in servers and servers[name].primary:
                return pod
        raise RuntimeError(f"{self.name}: no pod says that it is the primary of shard {shard}")

    async def kill(self, pod: Pod) -> None:
        """SIGKILL the pod's server; only on the local Kubernetes."""
        await asyncio.to_thread(local_cluster.kill_container, pod.node, pod.container)

    async def delete_pod(self, pod: Pod) -> None:
        """As `kubectl delete pod` does it: with its grace period."""
        await self.api.delete(POD, NAMESPACE, pod.name)

    async def is_settled(self) -> bool:
        """The present spec is done by the status, and by the word of every server all is well."""
        raw = await self.raw()
        if trouble := refusal(raw):
            raise RuntimeError(f"{self.name} is blocked: {trouble}")
        steady = is_done(raw) and raw["status"].get("step", {}).get("kind") == "Steady"
        return steady and await self.all_servers(lambda one: one.whole)

    async def all_servers(self, hold: Callable[[Server], bool]) -> bool:
        """Whether there are as many as the spec asks for, all know as many, and it holds for each."""
        spec = (await self.raw())["spec"]
        servers, members = await self.servers(), spec["shards"] * (1 + spec["replicasPerShard"])
        return len(servers) == members and all(
            one.members == members and hold(one) for one in servers.values()
        )

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> float:
        """Wait until it holds; seconds that took.

        Raises:
            TimeoutError: not within 300 s; with the status as it is then.
        """
        began = time.monotonic()
        while not await holds():
            if time.monotonic() > began + WITHIN_S:
                status = (await self.raw()).get("status", {})
                raise TimeoutError(f"{self.name}: not within {WITHIN_S:.0f} s: {what}; {status}")
            await asyncio.sleep(_LOOK_S)
        return time.monotonic() - began


async def kubernetes_version(api: LightkubeApi) -> str:
    """As the kubelets tell it, with the number of nodes."""
    found = [node async for page in api.list_pages(Selection(NODE)) for node in page.items]
    versions = {node["status"]["nodeInfo"]["kubeletVersion"].removeprefix("v") for node in found}
    return f"{', '.join(sorted(versions))} on {len(found)} nodes"
