"""The spec of a ValkeyUpgrade: one change of one cluster's version, and how much is risked at a time."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.alias_generators import to_snake

from valkey_cluster import names
from valkey_cluster.spec.formats import DnsName, ImageDigest, ImageTag, VersionText
from valkey_cluster.spec.rule import WHOLE, CrModel, Rule, Rules, Transition
from valkey_cluster.spec.server import ImageSpec
from valkey_cluster.spec.versions import NOT_TOO_OLD, version_tuple

_APPROVED = f"{names.ANNOTATION_APPROVE}={names.ANNOTATION_SET}"
_ABORTED = f"{names.ANNOTATION_ABORT}={names.ANNOTATION_SET}"


class ClusterRefSpec(CrModel):
    """The cluster to upgrade."""

    name: DnsName = Field(description="Name of a ValkeyCluster in the same namespace.")


class UpgradeImageSpec(CrModel):
    """Which image of the cluster's repository holds the new version."""

    tag: ImageTag | None = Field(
        default=None,
        description="Tag of the image. Default: spec.version. Must hold that version of Valkey; "
        "latest is refused, because it is another version tomorrow.",
    )
    digest: ImageDigest | None = Field(
        default=None,
        description="Digest that the image must have, sha256:... Pins the image whatever the tag says.",
    )

    RULES: ClassVar[Rules] = ImageSpec.RULES


class CanarySpec(CrModel):
    """The shards that try the new version for the others."""

    shards: int = Field(
        default=1,
        ge=0,
        le=100,
        description="How many shards run the new version before the others do. 0: none, all follow at once.",
    )


class GatesSpec(CrModel):
    """What must hold of the canary shards after the soak, for the others to follow."""

    max_lag_bytes: Annotated[int, WHOLE] = Field(
        default=1048576,
        ge=0,
        le=2**40,
        description="How far each replica may be behind its primary, in bytes.",
    )
    max_error_replies: Annotated[int, WHOLE] = Field(
        default=100,
        ge=0,
        le=10**9,
        description="How many errors clients may be answered, a minute.",
    )
    max_evicted_keys: Annotated[int, Field(ge=0, le=10**9), WHOLE] | None = Field(
        default=None,
        description="How many keys may be evicted for lack of memory, a minute. Default: not judged.",
    )
    max_latency_percent: Annotated[int, WHOLE] = Field(
        default=300,
        ge=100,
        le=100000,
        description="How long a command may take, in percent of what it took before the upgrade.",
    )


def _unchangeable(field: str, cel: str = "self.{0} == oldSelf.{0}") -> Transition:
    value: Any = attrgetter(to_snake(field))
    return Transition(
        holds=lambda old, new: value(old) == value(new),
        cel=cel.format(field),
        message="cannot be changed, because the object is the history of one upgrade; make another, and "
        f"abort this one if it still runs (annotation {_ABORTED})",
        field=field,
    )


class ValkeyUpgradeSpec(CrModel):
    """Which cluster goes to which version, and how carefully."""

    cluster_ref: ClusterRefSpec = Field(description="The cluster to upgrade. Cannot be changed.")
    version: VersionText = Field(
        description="Version of Valkey to go to, such as 9.1.2; 8.0.0 or newer. Cannot be changed."
    )
    image: UpgradeImageSpec | None = Field(
        default=None,
        description="Which image of the cluster's repository holds that version. Default: the one with the "
        "version as its tag. Cannot be changed.",
    )
    canary: CanarySpec = Field(
        default=CanarySpec(), description="The shards that try the new version for the others."
    )
    soak_seconds: Annotated[int, WHOLE] = Field(
        default=30,
        ge=0,
        le=604800,
        description="How long the canary shards run the new version before the gates are judged, in seconds.",
    )
    approval: Literal["None", "AfterCanary", "BeforeStart"] = Field(
        default="None",
        description=f"Where the upgrade waits for a person's approval (annotation {_APPROVED}): nowhere, "
        "after the canary shards have soaked, or before anything is done.",
    )
    gates: GatesSpec = Field(
        default=GatesSpec(),
        description="What must hold of the canary shards after the soak, for the others to follow.",
    )
    shard_timeout_seconds: Annotated[int, WHOLE] = Field(
        default=900,
        ge=60,
        le=86400,
        description="How long one shard may take, in seconds; then the upgrade has failed.",
    )
    on_failure: Literal["Rollback", "Pause"] = Field(
        default="Rollback",
        description="What happens when a gate or a time-out fails: the version is taken back, or everything "
        "stays as it is and a person decides.",
    )

    RULES: ClassVar[Rules] = Rules(
        NOT_TOO_OLD,
        Rule(
            holds=lambda spec: spec.approval != "AfterCanary" or spec.canary.shards >= 1,
            cel="self.canary.shards >= (self.approval == 'AfterCanary' ? 1 : 0)",
            message="there is no canary to wait after; set canary.shards to 1 or more, or BeforeStart here",
            field="approval",
        ),
    )
    TRANSITIONS: ClassVar[tuple[Transition, ...]] = (
        _unchangeable("clusterRef"),
        _unchangeable("version"),
        _unchangeable(
            "image", "has(self.{0}) == has(oldSelf.{0}) && (!has(self.{0}) || self.{0} == oldSelf.{0})"
        ),
    )

    @property
    def version_tuple(self) -> tuple[int, int, int]:
        """The version as numbers, for comparing."""
        return version_tuple(self.version)

    @property
    def tag(self) -> str:
        """Tag of the image that holds the new version."""
        return (self.image.tag if self.image else None) or self.version
