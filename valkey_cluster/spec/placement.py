"""Parts of the spec about where pods run, and what else is made for the cluster."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from valkey_cluster.spec.formats import LABEL_KEY, DnsName, LabelValue
from valkey_cluster.spec.rule import WHOLE, CrModel, Rule, Rules, each_key

RESERVED_PREFIXES = ("valkeeper.io/", "app.kubernetes.io/", "pulumi.com/")
"""Labels and annotations under these are valkeeper's and Pulumi's own."""

_SPELLING = Rule(
    holds=lambda entries: all(re.fullmatch(LABEL_KEY, key, re.ASCII) for key in entries),
    cel=f"self.all(key, key.matches('{LABEL_KEY}'))",
    message="a key is '<name>' or '<dns name>/<name>' of letters, digits, '-', '_' and '.', each part at "
    "most 63 long; correct the spelling",
)
_NOT_RESERVED = Rule(
    holds=lambda entries: not any(key.startswith(RESERVED_PREFIXES) for key in entries),
    cel=" && ".join(f"self.all(key, !key.startsWith('{prefix}'))" for prefix in RESERVED_PREFIXES),
    message=f"keys under {', '.join(RESERVED_PREFIXES)} are set by valkeeper; choose another prefix",
)

_FREE = Rules(_SPELLING, _NOT_RESERVED)

LabelKey = Annotated[str, each_key(Rules(_SPELLING))]
FreeKey = Annotated[str, each_key(_FREE)]

Selector = Annotated[dict[LabelKey, LabelValue], Field(max_length=32), Rules(_SPELLING)]
"""Labels that must be there."""
Labels = Annotated[dict[FreeKey, LabelValue], Field(max_length=32), _FREE]
Annotations = Annotated[dict[FreeKey, Annotated[str, Field(max_length=4096)]], Field(max_length=32), _FREE]

Spread = Literal["Preferred", "Required", "Disabled"]


class TolerationSpec(CrModel):
    """A taint that pods may run in spite of. Fields are those of a pod's toleration."""

    key: str | None = Field(default=None, max_length=316, description="Key of the taint; none matches all.")
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists ignores the value, Equal compares it."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; none matches all."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE] | None = Field(
        default=None,
        description="How long a pod stays after a NoExecute taint appeared; none is for ever.",
    )


class PodAntiAffinitySpec(CrModel):
    """Pods to stay away from; valkeeper adds its own terms, which keep the copies of a shard apart."""

    required_during_scheduling_ignored_during_execution: tuple[dict[str, Any], ...] = Field(
        default=(), max_length=32, description="PodAffinityTerms that must hold."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[dict[str, Any], ...] = Field(
        default=(), max_length=32, description="WeightedPodAffinityTerms that should hold."
    )


class AffinitySpec(CrModel):
    """Affinity as in a pod's spec; the API server checks the parts when pods are made."""

    node_affinity: dict[str, Any] | None = Field(default=None, description="As in a pod's spec.")
    pod_affinity: dict[str, Any] | None = Field(default=None, description="As in a pod's spec.")
    pod_anti_affinity: PodAntiAffinitySpec | None = Field(
        default=None, description="Pods to stay away from, besides those of the same shard."
    )


class SchedulingSpec(CrModel):
    """Where pods run."""

    nodes: Spread = Field(
        default="Preferred",
        description="Keep the pods of a shard on different nodes: if possible, always (a pod waits until "
        "there is a node for it), or not at all.",
    )
    zones: Spread = Field(default="Preferred", description="The same for zones.")
    node_selector: Selector = Field(default={}, description="Labels a node must have to run a pod.")
    tolerations: tuple[TolerationSpec, ...] = Field(
        default=(), max_length=32, description="Taints that pods may run in spite of."
    )
    affinity: AffinitySpec | None = Field(
        default=None,
        description="Affinity of the pods as in a pod's spec, beside what valkeeper adds.",
    )
    priority_class_name: DnsName | None = Field(default=None, description="PriorityClass of the pods.")
    runtime_class_name: DnsName | None = Field(default=None, description="RuntimeClass of the pods.")


class DisruptionBudgetSpec(CrModel):
    """Whether Kubernetes may take several pods of the cluster away at once."""

    enabled: bool = Field(
        default=True, description="Make a PodDisruptionBudget: at most one pod of the cluster away at once."
    )


class ReadServiceSpec(CrModel):
    """A Service for clients that only read."""

    enabled: bool = Field(default=False, description="Make the Service <name>-read.")
