"""What becomes of an edit of the spec, and of a newer valkeeper, while the cluster runs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from views import edited, spec_of, whole_view

from daemon.decide import decide
from daemon.steps import Blocked, Provision, Steady
from valkey_cluster.stage import Stage

if TYPE_CHECKING:
    from daemon.topology import View

EDITS = {
    "shards": ({"shards": 4}, "spec.shards (3 -> 4)"),
    "replicasPerShard": ({"replicasPerShard": 2}, "spec.replicasPerShard (1 -> 2)"),
    "version": ({"version": "9.1.3"}, "spec.version (9.1.2 -> 9.1.3)"),
    "image": ({"image": {"tag": "9.1.2-patched"}}, "spec.image.tag (unset -> 9.1.2-patched)"),
    "resources": (
        {"resources": {"limits": {"memory": "2Gi"}}},
        "spec.resources.limits.memory (unset -> 2Gi)",
    ),
    "config": ({"config": {"maxclients": "99"}}, "spec.config.maxclients (unset -> 99)"),
    "node-timeout": (
        {"config": {"cluster-node-timeout": "9000"}},
        "spec.config.cluster-node-timeout (unset -> 9000)",
    ),
    "maxmemory": ({"maxmemory": {"percent": 50}}, "spec.maxmemory.percent (unset -> 50)"),
    "volume size": ({"persistence": {"size": "2Gi"}}, "spec.persistence.size (1Gi -> 2Gi)"),
    "grace period": (
        {"terminationGracePeriodSeconds": 90},
        "spec.terminationGracePeriodSeconds (60 -> 90)",
    ),
    "labels": ({"labels": {"team": "a"}}, "spec.labels.team (unset -> a)"),
    "two at once": (
        {"shards": 4, "podDisruptionBudget": {"enabled": False}, "version": "9.1.3"},
        "spec.version (9.1.2 -> 9.1.3), spec.shards (3 -> 4)",
    ),
}


@pytest.mark.parametrize(("fields", "says"), EDITS.values(), ids=EDITS)
def test_an_edit_that_is_not_supported_is_named_and_nothing_is_touched(
    fields: dict[str, Any], says: str
) -> None:
    step = decide(edited(**fields))
    assert isinstance(step, Blocked)
    assert step.reason == "NotSupportedYet"
    assert f"cannot change {says} of a running cluster" in step.because


SPELLINGS = {
    "the same size in other words": {"persistence": {"size": "1024Mi"}},
    "a version with the image held where it is": {"version": "9.1.3", "image": {"tag": "9.1.2"}},
    "what only counts at deletion": {"persistence": {"whenDeleted": "Delete"}},
}


@pytest.mark.parametrize("fields", SPELLINGS.values(), ids=SPELLINGS)
def test_an_edit_that_changes_no_object_is_nothing(fields: dict[str, Any]) -> None:
    assert isinstance(decide(edited(**fields)), Steady)


def test_an_edit_of_the_budget_leaves_pods_and_their_configuration_as_applied() -> None:
    view = edited(podDisruptionBudget={"enabled": False})
    assert view.applied
    step = decide(view)
    assert isinstance(step, Provision)
    assert not step.refresh
    assert step.spec == view.applied.spec
    assert ("PodDisruptionBudget", "demo") not in step.stage.by_key
    assert restarting(step.stage) == restarting(view.applied.stage)
    done = replace(view, applied=replace(view.applied, stage=step.stage))
    assert isinstance(decide(done), Steady), "once applied, there is nothing left to do"


def restarting(stage: Stage) -> dict[Any, Any]:
    return {key: manifest for key, manifest in stage.by_key.items() if key[0] in ("StatefulSet", "ConfigMap")}


def older_stage(view: View, *kinds: str) -> View:
    """As an older valkeeper had written the objects of these kinds."""
    assert view.applied

    def older(manifest: dict[str, Any]) -> dict[str, Any]:
        old = copy.deepcopy(manifest)
        if old["kind"] == "StatefulSet":
            old["spec"]["template"]["spec"]["containers"][0]["image"] = "docker.io/valkey/valkey:older"
        old["metadata"]["annotations"] = {"written-by": "an older valkeeper"}
        return old

    stage = Stage(tuple(older(one) if one["kind"] in kinds else one for one in view.applied.stage.manifests))
    return replace(view, applied=replace(view.applied, stage=stage))


def test_a_newer_valkeeper_restarts_nothing() -> None:
    assert isinstance(decide(older_stage(whole_view(), "StatefulSet", "ConfigMap")), Steady)


def test_a_newer_valkeeper_still_updates_what_restarts_nothing() -> None:
    view = older_stage(whole_view(), "StatefulSet", "ConfigMap", "Service")
    assert view.applied
    step = decide(view)
    assert isinstance(step, Provision)
    assert "Service demo" in step.because
    assert restarting(step.stage) == restarting(view.applied.stage)


def test_the_field_is_named_also_when_a_newer_valkeeper_writes_other_objects() -> None:
    view = replace(older_stage(whole_view(), "StatefulSet", "ConfigMap"), spec=spec_of(shards=5))
    step = decide(view)
    assert isinstance(step, Blocked)
    assert "cannot change spec.shards (3 -> 5) of" in step.because
