"""The status of a ValkeyUpgrade: where it is, and afterwards the record of how it went.

crd.py makes the status schema from these models; the daemon fills them. Texts are unbounded, as in
status_model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from valkey_cluster.names import ShardPhase, UpgradePhase
from valkey_cluster.spec.rule import CrModel, ListType
from valkey_cluster.status_model import ConditionStatus

if TYPE_CHECKING:
    from pydantic.config import JsonDict

HISTORY_MAX = 64
"""How many entries of history there may be; who adds one more drops one."""

_DATE_TIME: JsonDict = {"format": "date-time"}


class ShardUpgradeStatus(CrModel):
    """How far one shard is."""

    shard: int = Field(description="Number of the shard.")
    phase: ShardPhase = Field(
        description="Waiting: not touched yet. Rolling, Done: on its way to the new version, there. "
        "RollingBack, RolledBack: on its way back, there."
    )
    version: str | None = Field(default=None, description="Version of Valkey that all its nodes run.")
    since: str = Field(description="Since when it is in this phase.", json_schema_extra=_DATE_TIME)


class BaselineStatus(CrModel):
    """What was measured before anything was done, for the gates to compare with."""

    error_replies: float = Field(description="Errors that clients were answered, a minute.")
    evicted_keys: float = Field(description="Keys that were evicted for lack of memory, a minute.")
    latency_microseconds: float | None = Field(
        default=None,
        description="How long a command took, in microseconds. Absent: there were none to measure.",
    )


class HistoryStatus(CrModel):
    """One thing that happened."""

    at: str = Field(description="When.", json_schema_extra=_DATE_TIME)
    phase: UpgradePhase = Field(description="The phase that began or went on.")
    message: str = Field(description="What happened and why, in a sentence.")


class UpgradeStatus(CrModel):
    """Where the upgrade is, and how it went."""

    phase: UpgradePhase | None = Field(
        default=None,
        description="Where the upgrade is: Pending, Checking, WaitingForApproval, Canary, "
        "Soaking, Rolling, RollingBack or Paused; at the end Succeeded, RolledBack, Aborted or Refused.",
    )
    message: str | None = Field(default=None, description="What is going on, in a sentence.")
    observed_generation: int | None = Field(
        default=None, description="The generation of the resource that this status speaks of."
    )
    from_version: str | None = Field(
        default=None, description="Version of Valkey that the cluster ran before; rolling back leads there."
    )
    started_at: str | None = Field(
        default=None, description="When the first check was made.", json_schema_extra=_DATE_TIME
    )
    finished_at: str | None = Field(
        default=None, description="When it ended, in whichever way.", json_schema_extra=_DATE_TIME
    )
    soak_until: str | None = Field(
        default=None, description="When the gates are judged.", json_schema_extra=_DATE_TIME
    )
    shards: Annotated[tuple[ShardUpgradeStatus, ...], ListType("shard")] = Field(
        default=(), description="How far each shard is."
    )
    conditions: Annotated[tuple[ConditionStatus, ...], ListType("type")] = Field(
        default=(), description="Progressing, Blocked and others."
    )
    baseline: BaselineStatus | None = Field(
        default=None,
        description="What was measured before anything was done, for the gates to compare with.",
    )
    history: tuple[HistoryStatus, ...] = Field(
        default=(), max_length=HISTORY_MAX, description="What happened, oldest first."
    )

    def condition(self, type_: str) -> ConditionStatus | None:
        """The condition of that type."""
        return next((one for one in self.conditions if one.type == type_), None)
