"""Rules that change a cluster which is whole: drift put back, the spec followed as far as it is safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import unix
from daemon.steps import Blocked, Provision, Refused, Step, Wait
from valkey_cluster.names import Condition
from valkey_cluster.stage import hold_back, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.topology import Applied, View
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
        refresh=True,
        because=f"putting back: {sentences}",
    )


def refuse_edit(view: View) -> Step | None:
    """An edit that slipped past admission: the cluster stays as it is."""
    return Refused(view.spec_error) if view.spec is None else None


def follow_spec(view: View) -> Step | None:
    """Apply what of the spec, or of a newer valkeeper's templates, neither restarts pods nor moves data."""
    if view.applied is None or view.spec is None:
        return None
    stage = hold_back(view.applied.stage, render(view.identity, view.spec))
    if stage.hash == view.applied.stage.hash:
        return None
    before = view.applied.stage.by_key
    changed = [name for name, manifest in stage.by_key.items() if before.get(name) != manifest]
    gone = [name for name in before if name not in stage.by_key]
    text = ", ".join(f"{kind} {name}" for kind, name in [*changed, *gone])
    return Provision(stage, view.applied.spec, refresh=False, because=f"following the spec: {text}")


def block_edit(view: View) -> Step | None:
    """An edit that would have to restart pods or move slots: said, and not done."""
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
    if _can_follow(before, render(view.identity, spec)):
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
    return hold_back(before, after).hash == after.hash


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
