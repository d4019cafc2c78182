"""The status of a cluster, derived from the View and the Step that decide took from it. Pure.

There is no second opinion: what status says is done is the Step, and why is its `because`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from daemon import balance
from daemon.clock import rfc3339, unix
from daemon.health import Health, assess
from daemon.steps import (
    Blocked,
    Evict,
    Failover,
    HoldFinalizer,
    MigrateSlots,
    Provision,
    Refused,
    Resize,
    Retire,
    Steady,
    Step,
    TakeOver,
    Wait,
    gist,
    kind,
)
from valkey_cluster import names, slots
from valkey_cluster.names import Condition, Phase
from valkey_cluster.status_model import (
    ClusterStatus,
    ConditionStatus,
    HandoverStatus,
    RebalancingStatus,
    ShardStatus,
    StageStatus,
    StepStatus,
)

if TYPE_CHECKING:
    from daemon.topology import View

FAILED = "StepFailed"
"""Reason of Progressing while the last attempt at the present step failed."""


def derive(view: View, step: Step, plan: tuple[str, ...] = ()) -> ClusterStatus:
    """The whole status of this moment; `plan` is what remains to be done, for people."""
    health = assess(view)
    cluster = view.identity.name
    steady = isinstance(step, Steady)
    prior_generation = view.status.stage.generation if view.status.stage else view.generation
    return ClusterStatus(
        phase=next_phase(view.status.phase, view, step, whole=health.whole),
        message=_progressing(view, step)[2],
        observed_generation=view.generation,
        shards=health.serving_shards,
        members=f"{health.ready}/{len(view.expected)}",
        selector=",".join(f"{key}={value}" for key, value in names.pod_selector(cluster).items()),
        version=health.version,
        endpoint=names.endpoint(view.identity.namespace, cluster),
        conditions=_conditions(view, step, health),
        handover=_handover(view, step),
        rebalancing=_moving(view),
        plan=plan,
        diff=view.applied.diff if view.applied and view.applied.previewed == view.asked_hash else (),
        step=StepStatus(kind=kind(step), because=step.because, since=since(view, step)),
        topology=tuple(_shard(view, health, shard) for shard in range(view.shards)),
        stage=StageStatus(
            hash=view.applied.stage.hash, generation=view.generation if steady else prior_generation
        )
        if view.applied is not None
        else None,
    )


def after_failure(status: ClusterStatus, error: str, now: float) -> ClusterStatus:
    """The same status, with the step's failure told; it stays told until the step changes."""
    told = f"{status.step.because if status.step else ''}: {error}"
    conditions = tuple(
        ConditionStatus(
            type=condition.type,
            status="False",
            reason=FAILED,
            message=told,
            last_transition_time=condition.last_transition_time
            if condition.status == "False"
            else rfc3339(now),
            observed_generation=condition.observed_generation,
        )
        if condition.type == Condition.PROGRESSING
        else condition
        for condition in status.conditions
    )
    return status.model_copy(update={"conditions": conditions, "message": told})


def _handover(view: View, step: Step) -> HandoverStatus | None:
    """Asked for by this step; or by one before, as long as the pod owns no slots and nothing else is done."""
    if isinstance(step, Failover | TakeOver):
        return HandoverStatus(pod=step.pod, at=rfc3339(view.now))
    return view.status.handover if isinstance(step, Wait) else None


def next_phase(  # noqa: PLR0911  a hop each
    prior: Phase | None, view: View, step: Step, *, whole: bool
) -> Phase:
    """One legal hop from the prior phase, or none.

    Pending -> Creating -> Running <-> Updating, Running -> Degraded -> Running, any -> Deleting. Kubernetes
    cannot take a deletion back, so Deleting on an object that is not being deleted was not said of it.
    """
    if view.deleting:
        return Phase.DELETING
    match prior:
        case None | Phase.DELETING:
            return Phase.PENDING
        case Phase.PENDING:
            waits = isinstance(step, Refused | Blocked | HoldFinalizer | Wait) and view.applied is None
            return Phase.PENDING if waits else Phase.CREATING
        case Phase.RUNNING if _changes(step):
            return Phase.UPDATING
        case Phase.RUNNING:
            return Phase.RUNNING if whole else Phase.DEGRADED
        case Phase.UPDATING:
            return Phase.RUNNING if whole and isinstance(step, Steady | Blocked | Refused) else prior
        case Phase.CREATING | Phase.DEGRADED:
            return Phase.RUNNING if whole and not isinstance(step, Provision) else prior


def _changes(step: Step) -> bool:
    """The step is part of a change of the running cluster, not of its healing."""
    if isinstance(step, Provision):
        return not step.refresh
    return isinstance(step, Evict | Resize | MigrateSlots | Retire) or (
        isinstance(step, Failover) and not step.force
    )


def since(view: View, step: Step) -> str:
    """Since when the step has this reason; a wait that has become too long keeps its start."""
    prior = view.status.step
    if prior is not None and gist(prior.because) == gist(step.because):
        return prior.since
    return rfc3339(view.now)


def _shard(view: View, health: Health, shard: int) -> ShardStatus:
    primary = view.leader(shard)
    owned = primary.server.me.slots if primary is not None and primary.server is not None else ()
    replicas = tuple(pod.name for pod in view.of_shard(shard) if primary is None or pod.name != primary.name)
    return ShardStatus(
        shard=shard,
        slots=slots.text(owned),
        primary=primary.name if primary is not None else None,
        replicas=replicas,
        health=health.shards[shard],
    )


def _conditions(view: View, step: Step, health: Health) -> tuple[ConditionStatus, ...]:
    made = {
        Condition.READY: (health.whole, health.reason, health.sentence),
        Condition.PROGRESSING: _progressing(view, step),
        Condition.DEGRADED: (
            view.status.phase in (Phase.RUNNING, Phase.UPDATING, Phase.DEGRADED) and not health.whole,
            health.reason,
            health.sentence,
        ),
        Condition.CONFIGURATION_VALID: (
            view.spec is not None,
            "Valid" if view.spec is not None else "Invalid",
            view.spec_error or "the spec is valid",
        ),
        **_stuck(view, step),
        **_drift(view),
        **_upgrading(view),
        **_resizing(view, step),
        **_rebalancing(view),
    }
    return tuple(_condition(view, kind_, *value) for kind_, value in made.items())


Told = tuple[bool, str, str]


def _progressing(view: View, step: Step) -> Told:
    prior = _prior(view, Condition.PROGRESSING)
    same = view.status.step is not None and view.status.step.because == step.because
    if same and prior is not None and prior.reason == FAILED:
        return False, FAILED, prior.message
    moves = not isinstance(step, Steady | Blocked | Refused) and not _retries(view, step)
    return moves, kind(step), step.because


def _retries(view: View, step: Step) -> bool:
    """The step tries again what is blocked for having taken too long: until it helps, it stays blocked."""
    blocked, prior = _prior(view, Condition.BLOCKED), view.status.step
    if blocked is None or blocked.status != "True" or prior is None:
        return False
    return gist(prior.because) == gist(step.because)


def _stuck(view: View, step: Step) -> dict[Condition, Told]:
    """Blocked for people, Stalled for tools that follow kstatus; kept as False once it was True."""
    prior = _prior(view, Condition.BLOCKED)
    if isinstance(step, Blocked):
        told = True, step.reason, f"{step.because}. What to do: {step.remedy}"
    elif isinstance(step, Refused):
        told = True, "InvalidSpec", step.because
    elif _retries(view, step) and prior is not None:
        told = True, prior.reason, prior.message
    elif prior is not None:
        told = False, "NotBlocked", "nothing stands in the way"
    else:
        return {}
    return {Condition.BLOCKED: told, Condition.STALLED: told}


def _drift(view: View) -> dict[Condition, Told]:
    """What was changed by others; after it was put back, the last of it stays told."""
    prior = _prior(view, Condition.DRIFT_DETECTED)
    if view.deleting and prior is not None:  # what goes now, goes by our own hand
        return {Condition.DRIFT_DETECTED: (prior.status == "True", prior.reason, prior.message)}
    if view.drift and not view.deleting:
        return {
            Condition.DRIFT_DETECTED: (True, "Changed", "; ".join(drift.sentence() for drift in view.drift))
        }
    if prior is None:
        return {}
    told = prior.message if prior.reason == "PutBack" else f"put back: {prior.message}"
    return {Condition.DRIFT_DETECTED: (False, "PutBack", told)}


def _upgrading(view: View) -> dict[Condition, Told]:
    """The ValkeyUpgrade that is on; kept as False once it was True."""
    upgrade = view.upgrade
    if upgrade is not None and upgrade.status.phase is not None:
        told = f"ValkeyUpgrade {upgrade.name}: {upgrade.status.message}"
        return {Condition.UPGRADING: (True, upgrade.status.phase, told)}
    if _prior(view, Condition.UPGRADING) is None:
        return {}
    return {Condition.UPGRADING: (False, "NoUpgrade", "no upgrade is under way")}


def _resizing(view: View, step: Step) -> dict[Condition, Told]:
    """Resources that change in place, pod by pod; kept as False once it was True."""
    told = [
        (pod.resources.pending or pod.resources.error or "InProgress", pod.name, pod.resources.told)
        for pod in view.pods
        if pod.resources.pending or pod.resources.error or pod.resources.under_way
    ]
    if told:
        sentence = "; ".join(f"{name}: {text or reason}" for reason, name, text in told)
        return {Condition.RESIZING: (True, told[0][0], sentence)}
    if isinstance(step, Resize):
        return {Condition.RESIZING: (True, "InProgress", step.because)}
    if _prior(view, Condition.RESIZING) is None:
        return {}
    return {Condition.RESIZING: (False, "AsAsked", "no pod is being resized")}


def _moving(view: View) -> RebalancingStatus | None:
    """How far the slots are that have to move; its rate is that since the beginning."""
    left = balance.remaining(view)
    if not left.slots:
        return None
    prior = view.status.rebalancing
    total = max(left.slots, prior.slots_total if prior else 0)
    started = prior.started_at if prior else rfc3339(view.now)
    took_s = view.now - unix(started)
    rate = (total - left.slots) / took_s if took_s > 0 else 0.0
    return RebalancingStatus(
        slots_left=left.slots,
        slots_total=total,
        keys_left=left.keys,
        bytes_left=left.bytes,
        started_at=started,
        slots_per_second=round(rate) if rate else None,
        seconds_left=round(left.slots / rate) if rate else None,
    )


def _rebalancing(view: View) -> dict[Condition, Told]:
    """Slots that have to move; kept as False once it was True."""
    left = balance.remaining(view)
    if left.slots:
        return {Condition.REBALANCING: (True, "MovingSlots", left.text)}
    if _prior(view, Condition.REBALANCING) is None:
        return {}
    return {Condition.REBALANCING: (False, "Even", "every shard has its share of the slots")}


def _condition(view: View, type_: Condition, holds: bool, reason: str, message: str) -> ConditionStatus:
    status: Literal["True", "False"] = "True" if holds else "False"
    prior = _prior(view, type_)
    unchanged = prior is not None and prior.status == status
    return ConditionStatus(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=prior.last_transition_time if prior and unchanged else rfc3339(view.now),
        observed_generation=view.generation,
    )


def _prior(view: View, type_: Condition) -> ConditionStatus | None:
    return view.status.condition(type_)
