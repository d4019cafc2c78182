"""How slots are moved between shards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from valkey_cluster.spec.rule import WHOLE, CrModel

ShardNumber = Annotated[str, Field(pattern="^(0|[1-9][0-9]?)$")]


class RebalanceSpec(CrModel):
    """How slots are moved when shards are added or removed, or when shards own uneven shares."""

    mode: Literal["Automatic", "Off"] = Field(
        default="Automatic",
        description="Automatic moves slots until every shard has its share. Off moves none, and cancels what "
        "is on its way; a shard that is to be removed keeps its slots and stays.",
    )
    parallel: Annotated[int, WHOLE] = Field(
        default=3, ge=1, le=16, description="How many shards give slots away at the same time, at most."
    )
    batch_keys: Annotated[int, WHOLE] = Field(
        default=4000,
        ge=1,
        le=10_000_000,
        description="About how many keys move at once from a shard. Writes to them pause while the last of "
        "them change hands, so fewer keys mean shorter pauses and a longer move.",
    )
    weights: Annotated[
        dict[ShardNumber, Annotated[int, WHOLE, Field(ge=1, le=100)]], Field(max_length=100)
    ] = Field(
        default={},
        description="Share of slots of a shard, by its number, against the others, which have 1: a shard of "
        "weight 2 owns twice as many.",
    )
