"""The spec of a ValkeyCluster as a whole, and the rules that span its parts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from valkey_cluster.spec.directives import Directives
from valkey_cluster.spec.formats import VersionText
from valkey_cluster.spec.later import (
    NOT_SUPPORTED_YET,
    BackupSpec,
    HibernateSpec,
    MetricsSpec,
    NetworkPolicySpec,
    TlsSpec,
    UpdatePolicySpec,
    UserSpec,
    not_yet_rule,
)
from valkey_cluster.spec.placement import (
    Annotations,
    DisruptionBudgetSpec,
    Labels,
    ReadServiceSpec,
    SchedulingSpec,
)
from valkey_cluster.spec.rebalance import RebalanceSpec
from valkey_cluster.spec.rule import WHOLE, CrModel, ListType, Rule, Rules, Transition
from valkey_cluster.spec.server import (
    PERCENT_CACHE,
    PERCENT_DURABLE,
    ImageSpec,
    MaxmemorySpec,
    PersistenceSpec,
    ResizePolicySpec,
    ResourcesSpec,
)
from valkey_cluster.spec.versions import NOT_TOO_OLD, major_in_cel, version_tuple

DEFAULT_VERSION = "9.1.2"
MEMBERS_MAX = 500
_DATA_FORMAT_MAJOR = 9
"""From this major version on, data files cannot be read by an older one (RDB version 80)."""


class ValkeyClusterSpec(CrModel):
    """What the cluster shall be."""

    version: VersionText = Field(
        default=DEFAULT_VERSION, description="Version of Valkey, such as 9.1.2; 8.0.0 or newer."
    )
    image: ImageSpec = Field(default=ImageSpec(), description="Where the Valkey image comes from.")
    shards: int = Field(
        ge=1,
        le=100,
        description="Number of shards that the 16384 slots are spread over. Fewer than 3 cannot fail over by "
        "majority vote when one is lost.",
    )
    replicas_per_shard: int = Field(
        default=1,
        ge=0,
        le=5,
        description="Replicas of each primary. Without any, a lost pod is lost service.",
    )
    resources: ResourcesSpec = Field(default=ResourcesSpec(), description="CPU and memory of each pod.")
    resize_policy: ResizePolicySpec = Field(
        default=ResizePolicySpec(),
        description="Whether a container restarts when its resources are resized in place.",
    )
    persistence: PersistenceSpec = Field(
        default=PersistenceSpec(), description="Whether and how data outlives its pod."
    )
    config: Directives = Field(
        default={},
        description="Further valkey.conf directives: name in lower case, arguments as they stand in "
        "valkey.conf, as a string. What another field sets cannot be set here.",
    )
    maxmemory: MaxmemorySpec = Field(
        default=MaxmemorySpec(),
        description="How much of the memory limit is for data, and what happens when it is full.",
    )
    tls: TlsSpec = Field(default=TlsSpec(), description="Encryption of all traffic. Not supported yet.")
    users: Annotated[tuple[UserSpec, ...], ListType("name")] = Field(
        default=(), max_length=64, description="Valkey users (ACL). Not supported yet."
    )
    metrics: MetricsSpec = Field(
        default=MetricsSpec(), description="Metrics for Prometheus. Not supported yet."
    )
    scheduling: SchedulingSpec = Field(default=SchedulingSpec(), description="Where pods run.")
    pod_disruption_budget: DisruptionBudgetSpec = Field(
        default=DisruptionBudgetSpec(),
        description="Whether Kubernetes may take several pods of the cluster away at once.",
    )
    network_policy: NetworkPolicySpec = Field(
        default=NetworkPolicySpec(), description="Who may reach the cluster. Not supported yet."
    )
    read_service: ReadServiceSpec = Field(
        default=ReadServiceSpec(), description="A Service for clients that only read. Not supported yet."
    )
    update_policy: UpdatePolicySpec = Field(default=UpdatePolicySpec(), description="When changes are made.")
    rebalance: RebalanceSpec = Field(
        default=RebalanceSpec(), description="How slots are moved between shards."
    )
    hibernate: HibernateSpec = Field(
        default=HibernateSpec(), description="Pods away, data and slots kept. Not supported yet."
    )
    backup: BackupSpec | None = Field(
        default=None, description="Backups on a schedule, to a bucket or a claim. Not supported yet."
    )
    labels: Labels = Field(default={}, description="Labels added to every object of the cluster.")
    annotations: Annotations = Field(
        default={}, description="Annotations added to every object of the cluster."
    )
    pod_template: dict[str, Any] | None = Field(
        default=None, description="Overrides merged into the pods' template. Not supported yet."
    )
    termination_grace_period_seconds: Annotated[int, WHOLE] = Field(
        default=60,
        ge=30,
        le=3600,
        description="How long a pod may take to hand over and save before it is killed, in seconds.",
    )

    RULES: ClassVar[Rules] = Rules(
        NOT_TOO_OLD,
        Rule(
            holds=lambda spec: spec.members <= MEMBERS_MAX,
            cel=f"self.shards * (1 + self.replicasPerShard) <= {MEMBERS_MAX}",
            message=f"shards * (1 + replicasPerShard) is more than {MEMBERS_MAX} pods, which the gossip of a "
            "cluster does not bear; lower either",
            field="shards",
        ),
        *map(not_yet_rule, NOT_SUPPORTED_YET),
    )
    TRANSITIONS: ClassVar[tuple[Transition, ...]] = (
        Transition(
            holds=lambda old, new: (
                not old.persistence.enabled
                or old.version_tuple[0] < _DATA_FORMAT_MAJOR
                or new.version_tuple[0] >= _DATA_FORMAT_MAJOR
            ),
            cel=f"!oldSelf.persistence.enabled || {major_in_cel('oldSelf')} < {_DATA_FORMAT_MAJOR}"
            f" || {major_in_cel('self')} >= {_DATA_FORMAT_MAJOR}",
            message="an older Valkey cannot read the data files of 9.0 and newer; make a new cluster and "
            "load a backup",
            field="version",
        ),
    )

    @property
    def version_tuple(self) -> tuple[int, int, int]:
        """The version as numbers, for comparing."""
        return version_tuple(self.version)

    @property
    def image_reference(self) -> str:
        """The image of the Valkey container."""
        digest = f"@{self.image.digest}" if self.image.digest else ""
        return f"{self.image.repository}:{self.image.tag or self.version}{digest}"

    @property
    def members(self) -> int:
        """Number of pods: primaries and replicas."""
        return self.shards * (1 + self.replicas_per_shard)

    @property
    def maxmemory_bytes(self) -> int:
        """What valkey.conf's maxmemory is set to, in bytes."""
        default = PERCENT_DURABLE if self.persistence.enabled else PERCENT_CACHE
        percent = self.maxmemory.percent if self.maxmemory.percent is not None else default
        return self.resources.memory_limit_bytes * percent // 100
