"""Rules for the life of the object itself: seen, made, let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.steps import (
    Blocked,
    DeleteClaims,
    Destroy,
    HoldFinalizer,
    Provision,
    Refused,
    ReleaseFinalizer,
    Steady,
    Step,
    Wait,
)
from valkey_cluster import names
from valkey_cluster.stage import render

if TYPE_CHECKING:
    from daemon.topology import View


def look_first(view: View) -> Step | None:
    """Never act on a view that is old or partial (design: an unseen pod may hold the last copy)."""
    if not view.blind:
        return None
    return Wait(1.0, view.blind, "check that the daemon can reach the Kubernetes API")


def read_state(view: View) -> Step | None:
    """Without knowing what was applied, every step could be wrong."""
    if not view.state_error:
        return None
    secret = names.state_secret(view.identity.name)
    return Blocked(
        reason="StateUnreadable",
        because=f"the Secret {secret} with the last stage cannot be read: {view.state_error}",
        remedy="restore it from a backup, or delete it: what runs is taken over when it is as the spec says",
    )


def let_go(view: View) -> Step | None:
    """A deleted cluster: destroy its objects, then drop the finalizer."""
    if not view.deleting:
        return None
    if view.applied is not None:
        return Destroy("the ValkeyCluster was deleted: removing its objects")
    if view.claims and view.spec is not None and view.spec.persistence.when_deleted == "Delete":
        listed = ", ".join(claim.name for claim in view.claims)
        return DeleteClaims(
            view.claims, f"the ValkeyCluster was deleted with whenDeleted Delete: removing {listed}"
        )
    if view.finalizer:
        return ReleaseFinalizer("all objects of the cluster are removed")
    return Steady("the ValkeyCluster is being deleted and nothing of it is left here")


def refuse_new(view: View) -> Step | None:
    """A spec that slipped past admission: nothing is made of it."""
    if view.spec is None and not view.shards:
        return Refused(view.spec_error)
    return None


def hold_finalizer(view: View) -> Step | None:
    """Before anything exists, so that nothing can be left behind."""
    if view.finalizer:
        return None
    return HoldFinalizer("objects are about to be made, and a deletion has to remove them")


def finish_update(view: View) -> Step | None:
    """An update whose end was never recorded is run again, as it was planned then."""
    applied = view.applied
    if applied is None or applied.unfinished is None:
        return None
    return Provision(
        stage=applied.unfinished,
        spec=applied.unfinished_spec or applied.spec,
        goal=applied.unfinished_goal,
        refresh=True,
        because="the daemon stopped in the middle of this update: running it again",
    )


def create_objects(view: View) -> Step | None:
    """The first update of a new cluster, again if it failed; or the first after its state was lost."""
    if view.shards or view.spec is None:
        return None
    if view.stray:
        strays = "; ".join(drift.sentence() for drift in view.stray)
        return Blocked(
            reason="StateLost",
            because=f"the Secret {names.state_secret(view.identity.name)} with the last stage is gone, "
            f"and what runs is not what the spec asks for: {strays}",
            remedy="set the spec to what runs, or restore the Secret from a backup",
        )
    count = view.spec.members
    return Provision(
        stage=render(view.identity, view.spec),
        spec=view.spec,
        refresh=False,
        because=f"the cluster is new: making {view.spec.shards} shards, {count} pods",
    )
