"""The status of a ValkeyCluster: what the daemon writes and people and tools read.

crd.py makes the status schema from these models; the daemon's status.py fills them. Texts are unbounded:
a status that cannot be written for its length would hide what it says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from valkey_cluster.names import Phase
from valkey_cluster.spec.rule import CrModel, ListType


class Health(StrEnum):
    """How a shard is."""

    OK = "Ok"
    DEGRADED = "Degraded"
    DOWN = "Down"


class ConditionStatus(CrModel):
    """One aspect of the resource's state, in the form all Kubernetes tools know."""

    type: str = Field(description="Which aspect.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Why, as one CamelCase word.")
    message: str = Field(description="Why, in a sentence.")
    last_transition_time: str = Field(
        description="When status last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int | None = Field(
        default=None, description="The generation of the resource that this speaks of."
    )


class StepStatus(CrModel):
    """What is being done."""

    kind: str = Field(description="What is being done.")
    because: str = Field(description="Why, in a sentence.")
    since: str = Field(
        description="Since when, with the same reason.", json_schema_extra={"format": "date-time"}
    )


class HandoverStatus(CrModel):
    """A failover that was asked for."""

    pod: str = Field(description="Replica that is to become primary.")
    at: str = Field(description="When it was asked.", json_schema_extra={"format": "date-time"})


class ShardStatus(CrModel):
    """One shard as the live cluster has it."""

    shard: int = Field(description="Number of the shard.")
    slots: str = Field(description="Slots it owns, such as 0-5460.")
    primary: str | None = Field(default=None, description="Pod that is primary now.")
    replicas: tuple[str, ...] = Field(default=(), description="Pods that replicate it now.")
    health: Health = Field(
        description="Ok: serving, with all replicas in sync. Degraded: serving. Down: not."
    )


class RebalancingStatus(CrModel):
    """Slots that are being moved between shards."""

    slots_left: int = Field(description="Slots that still have to move, or are on their way.")
    slots_total: int = Field(description="Slots that had to move at most since it began.")
    keys_left: int = Field(description="About how many keys these slots have.")
    bytes_left: int = Field(description="About how much memory they take, in bytes.")
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    slots_per_second: int | None = Field(default=None, description="Rate since it began.")
    seconds_left: int | None = Field(default=None, description="Time that is left, at this rate.")


class StageStatus(CrModel):
    """What was last applied."""

    hash: str = Field(description="Hash of the manifests.")
    generation: int = Field(description="Generation of the resource they were made from.")


class ClusterStatus(CrModel):
    """What the cluster is."""

    phase: Phase | None = Field(default=None, description="Where the cluster is in its life.")
    message: str | None = Field(default=None, description="What is going on, in a sentence.")
    observed_generation: int | None = Field(
        default=None, description="The generation of the resource that this status speaks of."
    )
    shards: int | None = Field(default=None, description="Number of shards that serve.")
    members: str | None = Field(default=None, description="Ready pods of all pods, such as 6/6.")
    selector: str | None = Field(default=None, description="Label selector of the cluster's pods.")
    version: str | None = Field(default=None, description="Version of Valkey that all nodes run.")
    endpoint: str | None = Field(default=None, description="Host and port for clients.")
    conditions: Annotated[tuple[ConditionStatus, ...], ListType("type")] = Field(
        default=(), description="Ready, Progressing, Degraded, ConfigurationValid and others."
    )
    step: StepStatus | None = Field(default=None, description="What is being done.")
    topology: Annotated[tuple[ShardStatus, ...], ListType("shard")] = Field(
        default=(), description="Shards as the live cluster has them."
    )
    handover: HandoverStatus | None = Field(
        default=None, description="A failover that was asked for and has not come to its end."
    )
    rebalancing: RebalancingStatus | None = Field(
        default=None, description="Slots that are being moved between shards."
    )
    stage: StageStatus | None = Field(default=None, description="What was last applied.")
    plan: tuple[str, ...] = Field(default=(), description="What remains to be done, in order.")

    diff: tuple[str, ...] = Field(
        default=(), description="With updatePolicy Manual: what the edit that waits would change, by Pulumi."
    )

    def condition(self, type_: str) -> ConditionStatus | None:
        """The condition of that type."""
        return next((one for one in self.conditions if one.type == type_), None)
