"""What becomes of an edit of the spec, and of a newer valkeeper, while the cluster runs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from views import (
    carried_out,
    dead,
    edited,
    mark,
    provisioned,
    remade,
    spec_of,
    taken_over,
    whole_view,
    with_pod,
)

from daemon.decide import decide
from daemon.decide.change import follow_spec
from daemon.steps import Blocked, Evict, Failover, Provision, Resize, SetConfig, Steady, Step
from valkey_cluster.stage import Stage, advance, config_of, template_of

if TYPE_CHECKING:
    from daemon.topology import View

BLOCKED = {
    "volume size": ({"persistence": {"size": "2Gi"}}, "spec.persistence.size (1Gi -> 2Gi)"),
    "beside those that could be followed": (
        {"shards": 4, "labels": {"team": "a"}, "persistence": {"size": "2Gi"}},
        "spec.persistence.size (1Gi -> 2Gi)",
    ),
}


@pytest.mark.parametrize(("fields", "says"), BLOCKED.values(), ids=BLOCKED)
def test_an_edit_that_is_not_supported_is_named_and_nothing_is_touched(
    fields: dict[str, Any], says: str
) -> None:
    step = decide(edited(**fields))
    assert isinstance(step, Blocked)
    assert step.reason == "NotSupportedYet"
    assert f"cannot change {says} of a running cluster" in step.because


SPELLINGS = {
    "the same size in other words": {"persistence": {"size": "1024Mi"}},
    "what only counts at deletion": {"persistence": {"whenDeleted": "Delete"}},
}


@pytest.mark.parametrize("fields", SPELLINGS.values(), ids=SPELLINGS)
def test_an_edit_that_changes_no_object_is_nothing(fields: dict[str, Any]) -> None:
    assert isinstance(decide(edited(**fields)), Steady)


# ---- the whole story of an edit


def story(view: View) -> tuple[View, list[Step]]:
    """Every step until there is none, each done at once and in full."""
    steps: list[Step] = []
    while not isinstance(step := decide(view), Steady):
        steps.append(step)
        assert len(steps) < 60, steps[-6:]
        view = carried_out(view, step)
    return view, steps


def brief(step: Step) -> str:
    match step:
        case Evict() | Resize():
            return f"{type(step).__name__} {step.pod}"
        case Failover():
            return f"Failover {step.pod}{' by force' if step.force else ''}"
        case SetConfig():
            return f"Set {' '.join(name for name, _ in step.pairs)} on {len(step.pods)}"
        case _:
            return step.because.removeprefix("following the spec: ")


ROLL = [
    line
    for shard in range(3)
    for line in (
        f"StatefulSet demo-{shard}",
        f"Evict demo-{shard}-1",
        f"Failover demo-{shard}-1",
        f"Evict demo-{shard}-0",
    )
]
RESIZED = [f"Resize demo-{shard}-{ordinal}" for ordinal in (1, 0) for shard in range(3)]

STORIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "grace period": ({"terminationGracePeriodSeconds": 90}, ROLL),
    "image of the same version": (
        {"image": {"tag": "9.1.2-patched"}},
        [
            f"{line} (image docker.io/valkey/valkey:9.1.2 -> docker.io/valkey/valkey:9.1.2-patched)"
            if line.startswith("Stateful")
            else line
            for line in ROLL
        ],
    ),
    "more CPU": (
        {"resources": {"limits": {"cpu": "2"}}},
        [", ".join(f"StatefulSet demo-{shard} (resources)" for shard in range(3)), *RESIZED],
    ),
    "budget": ({"podDisruptionBudget": {"enabled": False}}, ["PodDisruptionBudget demo goes"]),
}


@pytest.mark.parametrize(("fields", "lines"), STORIES.values(), ids=STORIES)
def test_the_steps_of_an_edit(fields: dict[str, Any], lines: list[str]) -> None:
    _, steps = story(edited(**fields))
    assert [brief(step) for step in steps] == lines


EDITS: dict[str, dict[str, Any]] = {
    **{name: fields for name, (fields, _) in STORIES.items()},
    "labels": {"labels": {"team": "a"}},
    "annotations": {"annotations": {"team": "a"}},
    "node-timeout": {"config": {"cluster-node-timeout": "9000"}},
    "a new live directive": {"config": {"maxclients": "99"}},
    "a directive that takes a restart": {"config": {"databases": "32"}},
    "maxmemory": {"maxmemory": {"percent": 50, "policy": "allkeys-lru"}},
    "more memory": {"resources": {"limits": {"memory": "1Gi"}}},
    "less memory": {"resources": {"limits": {"memory": "128Mi"}}},
    "resize policy": {"resizePolicy": {"memory": "RestartContainer"}},
    "no append-only file": {"persistence": {"aof": {"enabled": False}}},
    "spread": {"scheduling": {"zones": "Disabled"}},
    "several at once": {
        "labels": {"team": "a"},
        "config": {"maxclients": "99"},
        "resources": {"requests": {"cpu": "200m"}},
        "podDisruptionBudget": {"enabled": False},
    },
    "two replicas": {"replicasPerShard": 2, "labels": {"team": "a"}},
    "no replicas": {"replicasPerShard": 0, "labels": {"team": "a"}},
}


def begun(fields: dict[str, Any]) -> View:
    """Whole with as many replicas as the edit has."""
    replicas = fields.get("replicasPerShard", 1)
    view = whole_view(spec_of(replicasPerShard=replicas))
    return replace(view, spec=spec_of(**fields), generation=2)


@pytest.mark.parametrize("fields", EDITS.values(), ids=EDITS)
def test_at_the_end_of_an_edit_everything_is_as_the_spec_says(fields: dict[str, Any]) -> None:
    view, _ = story(begun(fields))
    assert view.applied
    assert view.applied.stage.hash == view.wanted.hash
    assert view.applied.spec == view.spec
    for pod in view.pods:
        template = view.sets[pod.shard]
        asked = template["spec"]["template"]["spec"]["containers"][0]["resources"]
        assert (pod.template, pod.config_map) == (template_of(template), config_of(template))
        assert (pod.resources.asked, pod.resources.actual) == (asked, asked)
        assert pod.server
        assert pod.server.config["maxmemory"] == view.confs[pod.config_map]["maxmemory"]


@pytest.mark.parametrize("fields", EDITS.values(), ids=EDITS)
def test_no_pod_restarts_twice_and_no_primary_is_evicted(fields: dict[str, Any]) -> None:
    view = begun(fields)
    evicted: list[str] = []
    while not isinstance(step := decide(view), Steady):
        if isinstance(step, Evict):
            evicted.append(step.pod)
            assert step.pod not in {one.name for shard in range(3) if (one := view.primary(shard))}
        view = carried_out(view, step)
    assert len(evicted) == len(set(evicted))


@pytest.mark.parametrize("fields", EDITS.values(), ids=EDITS)
def test_no_second_shard_has_pods_to_restart_while_a_first_has(fields: dict[str, Any]) -> None:
    view = begun(fields)
    while not isinstance(step := decide(view), Steady):
        late = {pod.shard for pod in view.pods if pod.template != template_of(view.sets[pod.shard])}
        assert len(late) <= 1
        view = carried_out(view, step)


@pytest.mark.parametrize("fields", EDITS.values(), ids=EDITS)
def test_a_daemon_that_starts_in_the_middle_goes_on(fields: dict[str, Any]) -> None:
    """All that it needs is in the View; the status may be that of any moment."""
    view = begun(fields)
    _, steps = story(view)
    for done, step in enumerate(steps):
        assert decide(replace(view, status=begun(fields).status)) == step
        assert story(view)[1] == steps[done:]
        view = carried_out(view, step)


# ---- one stage after the other


def changed(view: View, step: Step) -> set[str]:
    """Names of the StatefulSets that the update changes."""
    assert isinstance(step, Provision)
    assert view.applied
    before = view.applied.stage.by_key
    return {
        name
        for (kind, name), one in step.stage.by_key.items()
        if kind == "StatefulSet"
        if before[kind, name] != one
    }


def test_an_edit_of_the_budget_leaves_pods_and_their_configuration_as_applied() -> None:
    view = edited(podDisruptionBudget={"enabled": False})
    assert view.applied
    step = decide(view)
    assert isinstance(step, Provision)
    assert not step.refresh
    assert ("PodDisruptionBudget", "demo") not in step.stage.by_key
    assert restarting(step.stage) == restarting(view.applied.stage)
    assert isinstance(decide(provisioned(view, step)), Steady), "once applied, there is nothing left to do"


def restarting(stage: Stage) -> dict[Any, Any]:
    return {key: manifest for key, manifest in stage.by_key.items() if key[0] in ("StatefulSet", "ConfigMap")}


def test_templates_that_restart_pods_advance_one_shard_at_a_time() -> None:
    view = edited(terminationGracePeriodSeconds=90)
    for shard in range(3):
        step = decide(view)
        assert changed(view, step) == {f"demo-{shard}"}
        view = remade(provisioned(view, step), f"demo-{shard}-0", f"demo-{shard}-1")
    assert isinstance(decide(view), Steady)


def test_what_restarts_nothing_does_not_wait_for_what_does() -> None:
    view = edited(terminationGracePeriodSeconds=90, podDisruptionBudget={"enabled": False})
    step = decide(view)
    assert isinstance(step, Provision)
    assert ("PodDisruptionBudget", "demo") not in step.stage.by_key
    assert changed(view, step) == {"demo-0"}


def test_resources_alone_advance_all_shards_at_once() -> None:
    view = edited(resources={"limits": {"cpu": "2"}})
    assert changed(view, decide(view)) == {"demo-0", "demo-1", "demo-2"}


def test_resources_of_a_shard_that_restarts_anyway_wait_for_its_turn() -> None:
    view = edited(resources={"limits": {"cpu": "2"}}, terminationGracePeriodSeconds=90)
    assert changed(view, decide(view)) == {"demo-0"}


def test_the_spec_before_is_kept_until_all_shards_are_there() -> None:
    view = edited(terminationGracePeriodSeconds=90)
    assert view.applied
    old = view.applied.spec
    for shard in range(3):
        step = decide(view)
        assert isinstance(step, Provision)
        assert (step.spec, step.goal) == ((old, view.spec) if shard < 2 else (view.spec, None))
        view = remade(provisioned(view, step), f"demo-{shard}-0", f"demo-{shard}-1")


def config_maps(stage: Stage) -> set[str]:
    return {name for kind, name in stage.by_key if kind == "ConfigMap"}


def test_config_maps_stay_while_a_pod_reads_them_and_go_afterwards() -> None:
    view = edited(config={"databases": "32"})
    (old,) = {pod.config_map for pod in view.pods}
    (new,) = config_maps(view.wanted)
    seen = []
    while not isinstance(step := decide(view), Steady):
        view = carried_out(view, step)
        assert view.applied
        mounted = {pod.config_map for pod in view.pods}
        named = {config_of(one) for one in view.sets.values()}
        assert config_maps(view.applied.stage) >= mounted | named
        seen.append(config_maps(view.applied.stage))
    assert seen[0] == {old, new}
    assert seen[-2] == {old, new}
    assert seen[-1] == {new}
    assert step.because == Steady().because


def test_a_config_map_stays_also_while_a_pod_lingers_that_read_it() -> None:
    """Nobody waits for a pod that is leaving: it may read its file again until it is gone."""
    view, _ = story(edited(config={"databases": "32"}))
    lingering = replace(view.pods[0], config_map="demo-config-older")
    view = replace(view, pods=(lingering, *view.pods[1:]))
    assert view.applied
    older = copy.deepcopy(next(one for one in view.applied.stage.manifests if one["kind"] == "ConfigMap"))
    older["metadata"]["name"] = lingering.config_map
    both = advance(Stage((older, *view.applied.stage.manifests)), view.wanted, mounted={lingering.config_map})
    view = replace(view, applied=replace(view.applied, stage=both))
    assert follow_spec(view) is None
    step = follow_spec(replace(view, pods=view.pods[1:]))
    assert step
    assert step.because == "following the spec: ConfigMap demo-config-older goes"


def test_an_edit_in_the_middle_of_another_is_followed_from_where_it_is() -> None:
    view = edited(terminationGracePeriodSeconds=90)
    view = carried_out(view, decide(view))
    view = carried_out(view, decide(view))
    view = replace(view, spec=spec_of(terminationGracePeriodSeconds=120), generation=3)
    done, steps = story(view)
    assert [brief(step) for step in steps][:3] == [
        "Failover demo-0-1",
        "Evict demo-0-0",
        "StatefulSet demo-0",
    ]
    assert done.applied
    assert done.applied.spec == done.spec


def test_an_edit_that_is_taken_back_in_the_middle_leads_back() -> None:
    before = edited(terminationGracePeriodSeconds=90)
    view = before
    for _ in range(5):
        view = carried_out(view, decide(view))
    view = replace(view, spec=spec_of(), generation=3)
    done, steps = story(view)
    assert steps
    assert done.applied
    assert before.applied
    assert done.applied.stage.hash == before.applied.stage.hash
    assert {pod.template for pod in done.pods} == {pod.template for pod in before.pods}


def test_the_spec_is_kept_also_when_a_broken_pod_got_its_template_ahead_of_its_turn() -> None:
    view = whole_view(spec_of(shards=1))
    view = dead(replace(view, spec=spec_of(shards=1, terminationGracePeriodSeconds=90)), "demo-0-1")
    view = remade(provisioned(view, decide(view)), "demo-0-1")
    whole = {pod.name: pod for pod in whole_view(spec_of(shards=1)).pods}
    view = with_pod(view, "demo-0-1", server=whole[view.pods[1].name].server, runs=True)
    done, _ = story(taken_over(view, "demo-0-1"))
    assert done.applied
    assert done.applied.spec == done.spec


# ---- a newer valkeeper


def older_stage(view: View, *kinds: str) -> View:
    """As an older valkeeper had written the objects of these kinds."""
    assert view.applied

    def older(manifest: dict[str, Any]) -> dict[str, Any]:
        old = copy.deepcopy(manifest)
        old["metadata"]["annotations"] = {"written-by": "an older valkeeper"}
        return old

    stage = Stage(tuple(older(one) if one["kind"] in kinds else one for one in view.applied.stage.manifests))
    return replace(view, applied=replace(view.applied, stage=stage))


def test_a_newer_valkeeper_restarts_nothing() -> None:
    assert isinstance(decide(mark(whole_view(), "older")), Steady)


def test_a_newer_valkeeper_restarts_nothing_of_the_first_release() -> None:
    """It wrote no fingerprints."""
    assert isinstance(decide(mark(whole_view(), "")), Steady)


def test_a_newer_valkeeper_still_updates_what_restarts_nothing() -> None:
    view = older_stage(mark(whole_view(), "older"), "Service")
    step = decide(view)
    assert isinstance(step, Provision)
    assert "Service demo" in step.because
    assert changed(view, step) == set()


def test_a_person_may_have_a_newer_valkeeper_restart_pods() -> None:
    view = mark(whole_view(), "older")
    step = decide(replace(view, approved=view.wanted.hash))
    assert changed(view, step) == {"demo-0"}


def test_the_approval_of_another_stage_counts_for_nothing() -> None:
    assert isinstance(decide(replace(mark(whole_view(), "older"), approved="something")), Steady)


def test_an_edit_that_restarts_pods_anyway_takes_the_newer_templates_along() -> None:
    view = mark(whole_view(), "older")
    view = replace(view, spec=spec_of(terminationGracePeriodSeconds=90))
    assert changed(view, decide(view)) == {"demo-0"}
    done, _ = story(view)
    assert done.applied
    assert done.applied.stage.hash == done.wanted.hash


@pytest.mark.parametrize(
    "fields",
    [{"podDisruptionBudget": {"enabled": False}}, *SPELLINGS.values()],
    ids=["budget", *SPELLINGS],
)
def test_an_edit_that_restarts_nothing_leaves_a_newer_valkeepers_templates_alone(
    fields: dict[str, Any],
) -> None:
    view = replace(mark(whole_view(), "older"), spec=spec_of(**fields))
    _, steps = story(view)
    assert not [step for step in steps if isinstance(step, Evict | Failover)]


def test_the_field_is_named_also_when_a_newer_valkeeper_writes_other_objects() -> None:
    view = replace(mark(whole_view(), "older"), spec=spec_of(persistence={"size": "3Gi"}))
    step = decide(view)
    assert isinstance(step, Blocked)
    assert "cannot change spec.persistence.size (1Gi -> 3Gi) of" in step.because
