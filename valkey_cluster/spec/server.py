"""Parts of the spec about the server process: its image, its compute resources, its memory, its data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from valkey_cluster import names
from valkey_cluster.quantity import exact, format_bytes, format_millis, to_bytes, to_millis
from valkey_cluster.spec.formats import (
    REPOSITORY,
    SAVE,
    Cpu,
    DnsName,
    ImageDigest,
    ImageTag,
    Memory,
    Storage,
    compared,
)
from valkey_cluster.spec.rule import WHOLE, CrModel, ListType, Rule, Rules, Transition

DEFAULT_MEMORY = "256Mi"
DEFAULT_CPU = "100m"
PERCENT_DURABLE = 65
PERCENT_CACHE = 75


class ImageSpec(CrModel):
    """Where the Valkey image comes from."""

    repository: str = Field(
        default=names.DEFAULT_REPOSITORY,
        max_length=255,
        pattern=REPOSITORY,
        description="Repository of the image, without tag.",
    )
    tag: ImageTag | None = Field(
        default=None,
        description="Tag of the image. Default: spec.version. Must hold that version of Valkey; "
        "latest is refused, because it is another version tomorrow.",
    )
    digest: ImageDigest | None = Field(
        default=None,
        description="Digest that the image must have, sha256:... Pins the image whatever the tag says.",
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", description="When the kubelet pulls the image."
    )
    pull_secrets: Annotated[tuple[DnsName, ...], ListType()] = Field(
        default=(), max_length=16, description="Names of Secrets to pull the image with."
    )

    RULES: ClassVar[Rules] = Rules(
        Rule(
            holds=lambda image: image.tag != "latest",
            cel="!has(self.tag) || self.tag != 'latest'",
            message="latest is another version tomorrow; name a version",
            field="tag",
        )
    )


class ResourceAmounts(CrModel):
    """Amounts of CPU and memory for one pod."""

    cpu: Cpu | None = Field(default=None, description="CPU as a Kubernetes quantity, such as 500m or 2.")
    memory: Memory | None = Field(
        default=None, description="Memory as a Kubernetes quantity, such as 512Mi or 1.5Gi; at least 64Mi."
    )


def _at_most(kind: Literal["cpu", "memory"]) -> Rule:
    def holds(resources: ResourcesSpec) -> bool:
        request, limit = getattr(resources.given_requests, kind), getattr(resources.given_limits, kind)
        return request is None or limit is None or exact(request) <= exact(limit)

    absent = " || ".join(f"!has(self.{part}) || !has(self.{part}.{kind})" for part in ("requests", "limits"))
    comparison = compared(f"string(self.requests.{kind})", "<=", f"string(self.limits.{kind})")
    return Rule(
        holds=holds,
        cel=f"{absent} || {comparison}",
        message=f"is more than limits.{kind}; lower the request or raise the limit",
        field=f"requests.{kind}",
    )


class ResourcesSpec(CrModel):
    """What each pod asks for and may use. Requests are always set, so pods can be resized in place.

    `given_*` is what the user wrote, `requests` and `limits` are what holds, spelled as the API server
    keeps them.
    """

    given_requests: ResourceAmounts = Field(
        default=ResourceAmounts(),
        alias="requests",
        description="What is set aside for each pod. Memory not given: limits.memory, else 256Mi. "
        "CPU not given: limits.cpu when that is less than 100m, else 100m.",
    )
    given_limits: ResourceAmounts = Field(
        default=ResourceAmounts(),
        alias="limits",
        description="What each pod may use at most. Memory not given: the request, so that no node lives on "
        "memory it may lose. CPU not given: no limit, because a throttled node misses heartbeats.",
    )

    RULES: ClassVar[Rules] = Rules(_at_most("cpu"), _at_most("memory"))

    @property
    def memory_limit_bytes(self) -> int:
        """Memory each pod may use, in bytes."""
        return to_bytes(self.given_limits.memory or self.given_requests.memory or DEFAULT_MEMORY)

    @property
    def requests(self) -> ResourceAmounts:
        """What is set aside for each pod; both amounts are there."""
        default_millis = to_millis(DEFAULT_CPU)
        if self.given_limits.cpu:
            default_millis = min(default_millis, to_millis(self.given_limits.cpu))
        given_cpu, given_memory = self.given_requests.cpu, self.given_requests.memory
        return ResourceAmounts(
            cpu=format_millis(to_millis(given_cpu) if given_cpu else default_millis),
            memory=format_bytes(to_bytes(given_memory) if given_memory else self.memory_limit_bytes),
        )

    @property
    def limits(self) -> ResourceAmounts:
        """What each pod may use; memory is there, CPU only when given."""
        given_cpu = self.given_limits.cpu
        return ResourceAmounts(
            cpu=format_millis(to_millis(given_cpu)) if given_cpu else None,
            memory=format_bytes(self.memory_limit_bytes),
        )


Restart = Literal["NotRequired", "RestartContainer"]


class ResizePolicySpec(CrModel):
    """Whether a container restarts when its resources are resized in place."""

    cpu: Restart = Field(default="NotRequired", description="On a change of CPU.")
    memory: Restart = Field(default="NotRequired", description="On a change of memory.")


class RdbSpec(CrModel):
    """Snapshots of the data."""

    enabled: bool = Field(
        default=True, description="Write snapshots. Lets a replica that restarts fetch only what it missed."
    )
    save: tuple[Annotated[str, Field(max_length=24, pattern=SAVE)], ...] = Field(
        default=("3600 1",),
        min_length=1,
        max_length=8,
        description="When to write one: '<seconds> <changes>' writes after so many seconds if there were "
        "at least so many changes.",
    )


class AofSpec(CrModel):
    """The log of every write."""

    enabled: bool = Field(default=True, description="Log every write.")
    fsync: Literal["always", "everysec", "no"] = Field(
        default="everysec",
        description="When the log reaches the disk: at each write, each second (a crash of a node without "
        "replica loses at most a second), or when the kernel likes.",
    )


class PersistenceSpec(CrModel):
    """Whether and how data outlives its pod. `given_size` is as the user wrote it, `size` as it is kept."""

    enabled: bool = Field(
        default=True, description="Keep data on a volume per pod. Cannot be changed. false makes a cache."
    )
    given_size: Storage = Field(
        default="1Gi",
        alias="size",
        description="Size of each pod's volume as a Kubernetes quantity. May grow, never shrink. "
        "Twice the memory limit leaves room to rewrite the log.",
    )
    storage_class_name: DnsName | None = Field(
        default=None, description="StorageClass of the volumes. Default: the cluster's. Cannot be changed."
    )
    rdb: RdbSpec = Field(default=RdbSpec(), description="Snapshots of the data.")
    aof: AofSpec = Field(default=AofSpec(), description="The log of every write.")
    when_deleted: Literal["Retain", "Delete"] = Field(
        default="Retain", description="What becomes of the volumes when the ValkeyCluster is deleted."
    )
    when_scaled: Literal["Retain", "Delete"] = Field(
        default="Delete",
        description="What becomes of a pod's volume when its shard or replica is scaled away. A retained "
        "volume is emptied first: its data have moved, and must not come back old.",
    )

    RULES: ClassVar[Rules] = Rules(
        Rule(
            holds=lambda persistence: (
                not persistence.enabled or persistence.rdb.enabled or persistence.aof.enabled
            ),
            cel="!self.enabled || self.rdb.enabled || self.aof.enabled",
            message="nothing would be written to the volume; enable rdb or aof, or set enabled: false",
        )
    )
    TRANSITIONS: ClassVar[tuple[Transition, ...]] = (
        Transition(
            holds=lambda old, new: old.enabled == new.enabled,
            cel="self.enabled == oldSelf.enabled",
            message="cannot be changed; make a new cluster and move the data",
            field="enabled",
        ),
        Transition(
            holds=lambda old, new: old.storage_class_name == new.storage_class_name,
            cel="has(self.storageClassName) == has(oldSelf.storageClassName)"
            " && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            message="cannot be changed; make a new cluster and move the data",
            field="storageClassName",
        ),
        Transition(
            holds=lambda old, new: exact(old.given_size) <= exact(new.given_size),
            cel=compared("string(self.size)", ">=", "string(oldSelf.size)"),
            message="may only grow; volumes cannot shrink",
            field="size",
        ),
    )

    @property
    def size(self) -> str:
        """Size of each volume, spelled as the API server keeps it."""
        return format_bytes(to_bytes(self.given_size))


class MaxmemorySpec(CrModel):
    """How much of the memory limit is for data, and what happens when it is full."""

    percent: Annotated[int, Field(ge=10, le=95), WHOLE] | None = Field(
        default=None,
        description="Share of the memory limit that data may fill, in percent. The rest is for snapshots, "
        "replication and clients. Default: 65 with persistence, 75 without.",
    )
    policy: Literal[
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] = Field(default="noeviction", description="What to evict when data fills its share.")
