"""Rules that change what is applied: drift put back, the spec followed, one shard's template at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.decide import memory, resize, roll, upgrade
from daemon.steps import Blocked, Preview, Provision, Refused, Steady, Step, Wait
from valkey_cluster import names
from valkey_cluster.names import Condition
from valkey_cluster.stage import advance, can_follow, key, render, template_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.topology import Applied, View
    from valkey_cluster.resources import Manifest
    from valkey_cluster.spec import ValkeyClusterSpec
    from valkey_cluster.stage import Stage


FIGHT_PAUSE_S = 10.0
"""An object that is changed again at once by the same hand is put back this often at most."""


def put_back_drift(view: View) -> Step | None:
    """Objects that someone else changed or deleted are applied again as they were."""
    if not view.drift or view.applied is None:
        return None
    last = view.status.condition(Condition.DRIFT_DETECTED)
    sentences = "; ".join(drift.sentence() for drift in view.drift)
    if last is not None and last.status == "False" and sentences in last.message:
        left_s = unix(last.last_transition_time) + FIGHT_PAUSE_S - view.now
        if left_s > 0:
            because = f"changed again right after it was put back: {sentences}"
            return Wait(left_s, because, "find who writes it, by the manager's name, and stop that")
    return Provision(
        stage=view.applied.stage,
        spec=view.applied.spec,
        goal=view.applied.goal,
        refresh=True,
        because=f"putting back: {sentences}",
    )


def refuse_edit(view: View) -> Step | None:
    """An edit that slipped past admission: the cluster stays as it is."""
    return Refused(view.spec_error) if view.spec is None else None


def mend_template(view: View) -> Step | None:
    """A shard with a pod that does not serve gets the template that is wanted by now.

    Before the rules that wait for the pod, which may never come: the edit, or the way back, may be what mends
    it. OnDelete restarts nothing. While a roll is under way, only the shards that it has reached: a pod that
    is lost elsewhere comes back as its shard is.
    """
    applied = view.applied
    if applied is None or view.goal is None:
        return None
    if memory.refuse_overfull(view) or resize.refuse_unfit(view) or block_edit(view):
        return None
    for shard in _abandoned(view, applied):
        broken = [pod.name for pod in view.pods if pod.shard == shard and roll.is_broken(pod)]
        if broken and can_follow(view.sets[shard], view.wanted.by_key[key(view.sets[shard])]):
            stage = advance(applied.stage, view.wanted, {shard}, {pod.config_map for pod in view.pods})
            because = f"{', '.join(broken)} may serve with what is wanted by now: "
            because += describe(applied.stage, stage)
            return _provision(view, applied, stage, because)
    return None


def _provision(view: View, applied: Applied, stage: Stage, because: str) -> Provision:
    """While pods follow, the spec before is kept, since a way back leads there; so is the mark of it."""
    done = stage.hash == view.wanted.hash or not (_is_edited(view, applied) or _is_under_way(applied))
    if view.goal is not None and done:
        return Provision(stage, view.goal, refresh=False, because=because)
    goal = view.goal if view.goal != applied.spec else applied.goal
    return Provision(stage, applied.spec, refresh=False, because=because, goal=goal)


def _abandoned(view: View, applied: Applied) -> Iterator[int]:
    """Shards whose template is no longer wanted: of a roll that is under way, those that it has reached."""
    base = render(view.identity, applied.spec).by_key
    under_way = _is_under_way(applied)
    for shard in sorted(set(view.sets) & set(upgrade.allowed_shards(view))):
        one = view.sets[shard]
        before = base.get(key(one))
        reached = before is None or template_of(one) != template_of(before)
        new = view.wanted.by_key.get(key(one), one)
        if new["spec"]["template"] == one["spec"]["template"] or (under_way and not reached):
            continue
        if may_restart(view) or not _restarts(view, one):
            yield shard


def follow_spec(view: View) -> Step | None:
    """The next stage: what restarts no pod at once, and the templates of one shard that does.

    A shard's turn comes when all pods follow the templates that are applied already.
    """
    if view.applied is None or view.goal is None:
        return None
    before, turn = view.applied.stage, set(_turn(view))
    mounted = {pod.config_map for pod in view.pods}
    going = view.retired if view.leaving <= view.retired else frozenset()
    stage = advance(before, view.wanted, turn, mounted, going)
    if stage.hash == before.hash:
        return None
    return _provision(view, view.applied, stage, f"following the spec: {describe(before, stage)}")


def _turn(view: View) -> Iterator[int]:
    """Shards that may advance now: all that restart nothing, and the first of the others."""
    restarting = not may_restart(view)
    allowed = upgrade.allowed_shards(view)
    for shard, applied in sorted(view.sets.items()):
        new = view.wanted.by_key.get(key(applied))
        if new is None or shard not in allowed:
            continue
        restarts = template_of(new) != template_of(applied)
        if not restarts or not restarting:
            yield shard
        restarting = restarting or restarts


def may_restart(view: View) -> bool:
    """Pods may be restarted now for a template that differs.

    When nobody has edited the spec, and no edit is half done or half taken back, it is a newer valkeeper that
    writes another template: that waits until a person approves it, or for a maintenance window, or until an
    edit restarts the pods anyway. Taking an upgrade back waits for nothing.
    """
    applied = view.applied
    if applied is None:
        return False
    if view.approved == view.wanted.hash or upgrade.is_taken_back(view):
        return True
    if view.window_open is not None:
        return view.window_open
    return _is_under_way(applied) or _is_edited(view, applied)


def _is_under_way(applied: Applied) -> bool:
    return applied.goal is not None and applied.goal != applied.spec


def _is_edited(view: View, applied: Applied) -> bool:
    """What was edited since changes a pod template; both are written by this valkeeper."""
    before = render(view.identity, applied.spec).by_key
    sets = ((name, one) for name, one in view.wanted.by_key.items() if one["kind"] == "StatefulSet")
    return any(name in before and template_of(before[name]) != template_of(one) for name, one in sets)


def hold_change(view: View) -> Step | None:
    """What waits for a person or for a window, and how many pods it would restart."""
    if view.applied is None or view.spec is None:
        return None
    asked = view.asked_hash
    if asked and asked != view.approved:
        if view.applied.previewed != asked:
            stage = render(view.identity, view.spec)
            return Preview(
                stage, view.spec, "updatePolicy is Manual: asking Pulumi what the edit would change"
            )
        return Wait(
            5.0,
            f"updatePolicy is Manual: the edit waits for approval (of {asked})",
            f"look at status.plan, then: {_approval(view, asked)}",
            _FOR_EVER,
        )
    held = [shard for shard, one in view.sets.items() if _restarts(view, one)]
    pods = sum(pod.shard in held for pod in view.pods)
    if not held or may_restart(view):
        return None
    if view.window_open is False:
        remedy = f"wait for the window, or: {_approval(view, view.wanted.hash)}"
        return Wait(10.0, f"{pods} pods wait for a maintenance window to restart", remedy, _FOR_EVER)
    return Steady(
        f"all members serve; this version of valkeeper writes another pod template: {pods} pods follow it "
        f"when an edit restarts them, or by: {_approval(view, view.wanted.hash)}"
    )


def _approval(view: View, stage_hash: str) -> str:
    identity = view.identity
    return (
        f"kubectl -n {identity.namespace} annotate --overwrite valkeycluster {identity.name} "
        f"{names.ANNOTATION_APPROVE}={stage_hash}"
    )


def _restarts(view: View, applied: Manifest) -> bool:
    new = view.wanted.by_key.get(key(applied))
    return new is not None and template_of(new) != template_of(applied)


_FOR_EVER = 10.0**9


def describe(before: Stage, after: Stage) -> str:
    """What of which objects changes, in a few words."""
    parts = []
    for name, manifest in after.by_key.items():
        old = before.by_key.get(name)
        if old != manifest:
            parts.append(f"{name[0]} {name[1]}{_change(old, manifest)}")
    gone = [f"{kind} {name} goes" for kind, name in before.by_key if (kind, name) not in after.by_key]
    return ", ".join([*parts, *gone])


def _change(old: Manifest | None, new: Manifest) -> str:
    if old is None or new["kind"] != "StatefulSet":
        return ""
    one, other = (manifest["spec"]["template"]["spec"]["containers"][0] for manifest in (old, new))
    images = f"image {one['image']} -> {other['image']}" if one["image"] != other["image"] else ""
    resources = "resources" if one["resources"] != other["resources"] else ""
    told = ", ".join(text for text in (images, resources) if text)
    return f" ({told})" if told else ""


def block_edit(view: View) -> Step | None:
    """An edit that would have to grow or replace volumes: said, and not done."""
    if view.applied is None or view.spec is None:
        return None
    edits = _pending_edits(view, view.applied, view.spec)
    if not edits:
        return None
    return Blocked(
        reason="NotSupportedYet",
        because=f"this version cannot change {', '.join(edits)} of a running cluster yet; "
        "nothing was touched",
        remedy="set the field back, or make a new cluster with the new value",
    )


def _pending_edits(view: View, applied: Applied, spec: ValkeyClusterSpec) -> tuple[str, ...]:
    """Fields whose change cannot be followed by the running objects, with their old and new values.

    What a newer valkeeper would write differently is not the user's change and shows on neither side.
    """
    before = render(view.identity, applied.spec)
    if _can_follow(before, view.wanted):
        return ()
    edits: list[str] = []
    old, new = applied.spec.as_manifest(), spec.as_manifest()
    for field, info in type(spec).model_fields.items():
        alone = applied.spec.model_copy(update={field: getattr(spec, field)})
        if not _can_follow(before, render(view.identity, alone)):
            alias = info.alias or field
            edits += _edits(old.get(alias), new.get(alias), f"spec.{alias}")
    return tuple(edits) or ("the spec",)


def _can_follow(before: Stage, after: Stage) -> bool:
    """No shard that stays would need other volumes."""
    old, new = (
        {name: one for name, one in stage.by_key.items() if name[0] == "StatefulSet"}
        for stage in (before, after)
    )
    return all(can_follow(old[name], new[name]) for name in old.keys() & new.keys())


def _edits(old: object, new: object, path: str) -> Iterator[str]:
    """The values below `path` that differ, in the spelling of the CR."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _edits(old.get(name), new.get(name), f"{path}.{name}")
    elif old != new:
        yield f"{path} ({_short(old)} -> {_short(new)})"


def _short(value: object) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004  a line in a terminal
