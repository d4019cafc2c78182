"""The Steps: everything that the daemon can do, one frozen value each.

Each carries `because`, one sentence: the event, the log line, the condition and the status all show
it. `Wait`, `Blocked`, `Refused` and `Steady` do nothing; the others are performed by act.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.topology import Amounts, Claim, NodeId, PodName
    from valkey_cluster.slots import Ranges
    from valkey_cluster.spec import ValkeyClusterSpec
    from valkey_cluster.stage import Stage


@dataclass(frozen=True)
class HoldFinalizer:
    """Put our finalizer on the CR, before the first object is made."""

    because: str


@dataclass(frozen=True)
class Provision:
    """Run a Pulumi update to `stage`; with `refresh` it also puts back what others changed."""

    stage: Stage
    spec: ValkeyClusterSpec
    """The spec of the stage's templates, kept with it."""
    refresh: bool
    because: str
    goal: ValkeyClusterSpec | None = None
    """The spec that shards are being advanced to, while not all of them are there."""


@dataclass(frozen=True)
class Preview:
    """Ask Pulumi what an update to `stage` would change; nothing is changed."""

    stage: Stage
    spec: ValkeyClusterSpec
    because: str


@dataclass(frozen=True)
class SetConfig:
    """CONFIG SET on running servers, all pairs at once."""

    pods: tuple[PodName, ...]
    pairs: tuple[tuple[str, str], ...]
    because: str


@dataclass(frozen=True)
class Assignment:
    """Slots for a server that owns none; an epoch only for one that has met nobody."""

    pod: PodName
    slots: Ranges
    epoch: int | None


@dataclass(frozen=True)
class AssignSlots:
    """Give slots that nobody owns to primaries that own none."""

    assignments: tuple[Assignment, ...]
    because: str


@dataclass(frozen=True)
class Meet:
    """CLUSTER MEET, from the first pod of each pair to the second's present address."""

    pairs: tuple[tuple[PodName, PodName], ...]
    because: str


@dataclass(frozen=True)
class Replicate:
    """Make empty servers replicas of the given primaries."""

    pairs: tuple[tuple[PodName, NodeId], ...]
    because: str


@dataclass(frozen=True)
class Forget:
    """CLUSTER FORGET of members that are gone for good, on every server."""

    node_ids: tuple[NodeId, ...]
    because: str


@dataclass(frozen=True)
class Failover:
    """CLUSTER FAILOVER to a replica; with `force` without its primary, which has ended."""

    pod: PodName
    force: bool
    because: str


@dataclass(frozen=True)
class TakeOver:
    """CLUSTER FAILOVER TAKEOVER: a replica becomes primary without a vote, which nobody is there to give."""

    pod: PodName
    because: str


@dataclass(frozen=True)
class Transfer:
    """Slots that a primary gives to another."""

    source: PodName
    target: PodName
    target_id: NodeId
    slots: Ranges


@dataclass(frozen=True)
class MigrateSlots:
    """CLUSTER MIGRATESLOTS on each source, to one or several targets; none has a transfer under way."""

    transfers: tuple[Transfer, ...]
    because: str
    batches: int = 1
    """One after the other; more than one only in a plan."""
    bytes: int = 0
    """About how much memory the slots take."""


@dataclass(frozen=True)
class CancelMigrations:
    """CLUSTER CANCELSLOTMIGRATIONS on primaries that give slots away."""

    pods: tuple[PodName, ...]
    because: str


@dataclass(frozen=True)
class Retire:
    """CLUSTER RESET HARD, then FLUSHALL: the server of a pod that goes belongs to nobody any more.

    Afterwards no node has its ID, so the others can forget it at once; and its volume, if it is kept, can
    bring back neither an old member nor old data.
    """

    pod: PodName
    because: str


@dataclass(frozen=True)
class Evict:
    """Let Kubernetes take the pod away, if it is still this one; its StatefulSet makes it anew."""

    pod: PodName
    uid: str
    because: str


@dataclass(frozen=True)
class Resize:
    """Change the container's resources in place, if the pod is still this one."""

    pod: PodName
    uid: str
    resources: Amounts
    because: str


@dataclass(frozen=True)
class CreateUpgrade:
    """Make a ValkeyUpgrade of an edited version."""

    name: str
    version: str
    because: str


@dataclass(frozen=True)
class WriteVersion:
    """Write the version that an upgrade has brought about into the ValkeyCluster's spec."""

    version: str
    tag: str | None
    digest: str | None
    because: str


@dataclass(frozen=True)
class Destroy:
    """Run Pulumi's destroy and drop the stack's state."""

    because: str


@dataclass(frozen=True)
class DeleteClaims:
    """Delete the volumes' claims of a cluster whose objects are gone; each only if it is still the same."""

    claims: tuple[Claim, ...]
    because: str


@dataclass(frozen=True)
class ReleaseFinalizer:
    """Let the CR go: nothing of it is left."""

    because: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do but to look again in `seconds`.

    After `patience_s` in the same wait it is `Blocked`, with `remedy` as what a person can do. What
    changes while the wait is the same (how a pod fails to start) stands in parentheses in `because`.
    """

    seconds: float
    because: str
    remedy: str
    patience_s: float = 300.0


@dataclass(frozen=True)
class Blocked:
    """Going on could lose data or is not possible; `remedy` is what a person can do."""

    reason: str
    because: str
    remedy: str


@dataclass(frozen=True)
class Refused:
    """The spec is not valid: nothing happens until it is."""

    because: str


@dataclass(frozen=True)
class Steady:
    """All is as it should be."""

    because: str = "all members serve, and every object is as applied"


Step = (
    HoldFinalizer
    | Provision
    | Preview
    | SetConfig
    | AssignSlots
    | Meet
    | Replicate
    | Forget
    | Failover
    | TakeOver
    | MigrateSlots
    | CancelMigrations
    | Retire
    | Evict
    | Resize
    | CreateUpgrade
    | WriteVersion
    | Destroy
    | DeleteClaims
    | ReleaseFinalizer
    | Wait
    | Blocked
    | Refused
    | Steady
)

Idle = Wait | Blocked | Refused | Steady
"""Steps that change nothing."""


def gist(because: str) -> str:
    """The sentence without what stands in parentheses: of the same gist, two steps have the same reason."""
    shorter = _IN_PARENTHESES.sub("", because)
    return because if shorter == because else gist(shorter)


_IN_PARENTHESES = re.compile(r"\s*\([^()]*\)")


def kind(step: Step) -> str:
    """The step's name, as status, events, metrics and failpoints show it."""
    return type(step).__name__
