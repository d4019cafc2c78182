"""Which step is next: a tuple of rules, read from top to bottom; the first that answers wins.

The order is the policy: see clearly, let go of what is deleted, make the objects, mend who knows whom,
put back what others changed, form, wait for members, tidy up, and only then change anything. A rule may
assume that every rule above it had nothing to say. All of it is pure: the same View gives the same Step.
"""

from __future__ import annotations

from collections.abc import Callable

from daemon.decide import (
    change,
    form,
    heal,
    lifecycle,
    live,
    memory,
    placement,
    reshard,
    resize,
    roll,
    shrink,
    takeover,
    upgrade,
)
from daemon.decide.patience import with_patience
from daemon.steps import Steady, Step
from daemon.topology import View

Rule = Callable[[View], Step | None]

RULES: tuple[Rule, ...] = (
    lifecycle.look_first,
    lifecycle.read_state,
    lifecycle.let_go,
    lifecycle.refuse_new,
    lifecycle.hold_finalizer,
    lifecycle.finish_update,
    lifecycle.create_objects,
    takeover.await_handover,
    takeover.replace_dead_primary,
    takeover.replace_without_vote,
    form.hasten_newcomers,
    heal.introduce,
    change.put_back_drift,
    form.await_first_members,
    form.lower_node_timeout,
    form.assign_slots,
    form.replicate,
    form.restore_node_timeout,
    change.mend_template,
    roll.replace_broken,
    heal.await_lost_shard,
    heal.await_introduction,
    form.await_one_cluster,
    heal.await_members,
    heal.forget_ghosts,
    heal.await_whole,
    change.refuse_edit,
    change.block_edit,
    memory.refuse_overfull,
    resize.refuse_unfit,
    live.set_live,
    roll.follow_template,
    roll.end_surge,
    resize.resize_pods,
    reshard.cancel_moves,
    reshard.refuse_move,
    shrink.drop_claims,
    change.follow_spec,
    reshard.move_slots,
    reshard.await_others,
    shrink.retire,
    upgrade.begin,
    upgrade.hold,
    placement.spread_primaries,
    heal.await_ghosts,
    change.hold_change,
)


def decide(view: View) -> Step:
    """The one step to take now; `Steady` when there is none."""
    for rule in RULES:
        step = rule(view)
        if step is not None:
            return with_patience(view, step)
    return Steady()
