"""What may be applied to a cluster that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valkey_cluster import names
from valkey_cluster.digest import digest
from valkey_cluster.resources import Identity, Manifest
from valkey_cluster.spec import parse
from valkey_cluster.stage import (
    Stage,
    advance,
    can_follow,
    config_of,
    is_surged,
    key,
    render,
    shard_of,
    surged,
    template_of,
    unsurged,
    with_set,
)

IDENTITY = Identity("shop", "orders", "uid-orders")
HELD = ("ConfigMap", "StatefulSet")


def stage(fields: dict[str, Any]) -> Stage:
    return render(IDENTITY, parse(fields, "orders"))


FIELDS = st.fixed_dictionaries(
    {
        "shards": st.integers(1, 4),
        "replicasPerShard": st.integers(0, 2),
        "version": st.sampled_from(["8.1.1", "9.1.2"]),
        "labels": st.sampled_from([{}, {"team": "a"}, {"team": "b"}]),
        "podDisruptionBudget": st.sampled_from([{"enabled": True}, {"enabled": False}]),
        "config": st.sampled_from([{}, {"maxclients": "99"}, {"databases": "32"}]),
        "resources": st.sampled_from([{}, {"limits": {"memory": "512Mi"}}]),
    }
)
SHARDS = st.sets(st.integers(0, 4))
few = settings(max_examples=40, deadline=None)


def alike(fields: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The same edit without more or fewer pods."""
    return {**other, "shards": fields["shards"], "replicasPerShard": fields["replicasPerShard"]}


@given(FIELDS, FIELDS)
@few
def test_without_a_shard_that_may_advance_templates_stay(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    applied = stage(before)
    assert of_kind(advance(applied, stage(after)), "StatefulSet") == of_kind(applied, "StatefulSet")


@given(FIELDS, FIELDS, SHARDS)
@few
def test_only_these_shards_advance(before: dict[str, Any], after: dict[str, Any], shards: set[int]) -> None:
    applied, wanted = stage(before), stage(alike(before, after))
    held = advance(applied, wanted, shards)
    for manifest in of_kind(held, "StatefulSet"):
        origin = wanted if shard_of(manifest) in shards else applied
        assert manifest == origin.by_key[key(manifest)]


@given(FIELDS, FIELDS, SHARDS)
@few
def test_no_shard_pod_or_volume_comes_or_goes(
    before: dict[str, Any], after: dict[str, Any], shards: set[int]
) -> None:
    applied = stage(before)
    held = advance(applied, stage(after), shards)
    sizes = [
        [(key(one), one["spec"]["replicas"]) for one in of_kind(of, "StatefulSet")] for of in (applied, held)
    ]
    assert sizes[0] == sizes[1]


@given(FIELDS, FIELDS, SHARDS)
@few
def test_the_rest_follows_the_spec(before: dict[str, Any], after: dict[str, Any], shards: set[int]) -> None:
    held = advance(stage(before), stage(after), shards)
    others = {place: manifest for place, manifest in held.by_key.items() if place[0] not in HELD}
    wanted = {place: manifest for place, manifest in stage(after).by_key.items() if place[0] not in HELD}
    assert others == wanted


@given(FIELDS, FIELDS, SHARDS)
@few
def test_every_config_map_that_is_read_is_there_and_no_other(
    before: dict[str, Any], after: dict[str, Any], shards: set[int]
) -> None:
    applied, wanted = stage(before), stage(alike(before, after))
    mounted = {config_of(one) for one in of_kind(applied, "StatefulSet")}
    for of, pods in (
        (applied, set()),
        (applied, mounted),
        (advance(applied, wanted, shards, mounted), mounted),
    ):
        held = advance(of, wanted, shards, pods)
        named = {config_of(one) for one in of_kind(held, "StatefulSet")}
        assert {one["metadata"]["name"] for one in of_kind(held, "ConfigMap")} == named | pods


@given(FIELDS, FIELDS)
@few
def test_a_config_map_of_the_same_name_is_as_it_is_wanted(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Live directives differ within an edition; a pod that restarts reads the new ones."""
    wanted = stage(alike(before, after))
    for manifest in of_kind(advance(stage(before), wanted), "ConfigMap"):
        assert manifest == wanted.by_key.get(key(manifest), stage(before).by_key.get(key(manifest)))


@given(FIELDS, FIELDS, SHARDS)
@few
def test_advancing_twice_changes_nothing(
    before: dict[str, Any], after: dict[str, Any], shards: set[int]
) -> None:
    """Otherwise every pass would find something to apply."""
    once = advance(stage(before), stage(after), shards)
    assert advance(once, stage(after), shards).hash == once.hash


@given(FIELDS, FIELDS, st.permutations(range(4)))
@few
def test_shard_after_shard_leads_to_what_is_wanted(
    before: dict[str, Any], after: dict[str, Any], order: list[int]
) -> None:
    at, wanted = stage(before), stage(alike(before, after))
    for shard in order:
        at = advance(at, wanted, {shard})
    assert at.hash == wanted.hash


@given(FIELDS)
@few
def test_an_unchanged_spec_gives_the_stage_that_is_applied(fields: dict[str, Any]) -> None:
    assert advance(stage(fields), stage(fields)).hash == stage(fields).hash


@given(FIELDS, FIELDS, SHARDS)
@few
def test_no_object_stands_in_a_stage_twice(
    before: dict[str, Any], after: dict[str, Any], shards: set[int]
) -> None:
    held = advance(stage(before), stage(after), shards)
    assert len(held.by_key) == len(held.manifests)


def test_objects_that_others_refer_to_come_first() -> None:
    before, after = stage({"shards": 2}), stage({"shards": 2, "config": {"databases": "32"}})
    (old,) = of_kind(before, "ConfigMap")
    held = advance(before, after, {0}, {old["metadata"]["name"]})
    kinds = [manifest["kind"] for manifest in held.manifests]
    assert kinds == [
        "ServiceAccount",
        "ConfigMap",
        "ConfigMap",
        "Service",
        "Service",
        "PodDisruptionBudget",
        "StatefulSet",
        "StatefulSet",
    ]


UNLIKE = {
    "a larger volume": {"persistence": {"size": "2Gi"}},
    "no volume": {"persistence": {"enabled": False}},
}


@pytest.mark.parametrize("fields", UNLIKE.values(), ids=UNLIKE)
def test_a_set_cannot_become_one_with_other_volumes(fields: dict[str, Any]) -> None:
    before, after = (of_kind(stage({"shards": 1, **some}), "StatefulSet")[0] for some in ({}, fields))
    assert not can_follow(before, after)
    assert can_follow(before, of_kind(stage({"shards": 1, "labels": {"a": "b"}}), "StatefulSet")[0])


def test_the_hash_outlives_a_trip_through_json() -> None:
    made = stage({"shards": 3})
    assert Stage(tuple(json.loads(json.dumps(made.manifests)))).hash == made.hash


def test_the_hash_tells_every_difference() -> None:
    hashes = {stage({"shards": 3, "config": {"maxclients": str(number)}}).hash for number in range(50)}
    assert len(hashes) == 50


def test_the_order_of_a_dicts_keys_is_no_difference() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def only_set(**fields: Any) -> Manifest:
    (made,) = of_kind(stage({"shards": 1, **fields}), "StatefulSet")
    return made


SAME_TEMPLATE: dict[str, dict[str, Any]] = {
    "replicas": {"replicasPerShard": 2},
    "resources": {"resources": {"requests": {"cpu": "200m"}, "limits": {"memory": "1Gi"}}},
    "a live directive": {"config": {"maxclients": "99"}},
    "maxmemory": {"maxmemory": {"percent": 40}},
    "volume": {"persistence": {"size": "2Gi"}},
    "budget": {"podDisruptionBudget": {"enabled": False}},
}
OTHER_TEMPLATE: dict[str, dict[str, Any]] = {
    "version": {"version": "9.1.1"},
    "image": {"image": {"tag": "other"}},
    "a directive that takes a restart": {"config": {"databases": "32"}},
    "node-timeout, which the start waits for": {"config": {"cluster-node-timeout": "9000"}},
    "labels": {"labels": {"a": "b"}},
    "annotations": {"annotations": {"a": "b"}},
    "grace period": {"terminationGracePeriodSeconds": 90},
    "resize policy": {"resizePolicy": {"memory": "RestartContainer"}},
    "no volume": {"persistence": {"enabled": False}},
}


@pytest.mark.parametrize("fields", SAME_TEMPLATE.values(), ids=SAME_TEMPLATE)
def test_the_fingerprint_leaves_out_what_is_changed_without_a_restart(fields: dict[str, Any]) -> None:
    assert template_of(only_set()) == template_of(only_set(**fields))


@pytest.mark.parametrize("fields", OTHER_TEMPLATE.values(), ids=OTHER_TEMPLATE)
def test_the_fingerprint_sees_what_takes_a_restart(fields: dict[str, Any]) -> None:
    assert template_of(only_set()) != template_of(only_set(**fields))


def test_a_set_without_fingerprint_has_none() -> None:
    made = only_set()
    del made["spec"]["template"]["metadata"]["annotations"]
    assert template_of(made) == ""


def test_which_config_map_a_set_and_its_pods_read() -> None:
    made = stage({"shards": 1})
    (read,) = of_kind(made, "ConfigMap")
    (reader,) = of_kind(made, "StatefulSet")
    assert config_of(reader) == read["metadata"]["name"]
    assert config_of({"spec": reader["spec"]["template"]["spec"]}) == read["metadata"]["name"]
    assert config_of({"spec": {"volumes": [{"name": "data", "emptyDir": {}}]}}) == ""


# ---- a pod more, for as long as the only one is replaced


def test_a_surged_set_has_a_pod_more_and_says_so() -> None:
    plain = only_set(replicasPerShard=0)
    more = surged(plain)
    assert (more["spec"]["replicas"], is_surged(more), is_surged(plain)) == (2, True, False)
    assert plain == only_set(replicasPerShard=0), "the other is left as it was"
    assert template_of(more) == template_of(plain)


@pytest.mark.parametrize("fields", [{}, {"annotations": {"a": "b"}}], ids=["no annotations", "annotations"])
def test_a_surge_leaves_nothing_behind(fields: dict[str, Any]) -> None:
    plain = only_set(replicasPerShard=0, **fields)
    assert unsurged(surged(plain)) == plain
    assert unsurged(plain) is plain


def test_a_surged_set_stays_so_when_its_template_advances() -> None:
    before, after = stage({"shards": 1}), stage({"shards": 1, "labels": {"a": "b"}})
    (plain,) = of_kind(before, "StatefulSet")
    held = advance(with_set(before, surged(plain)), after, {0})
    (advanced,) = of_kind(held, "StatefulSet")
    assert is_surged(advanced)
    assert unsurged(advanced) == after.by_key[key(plain)]
    assert advance(held, after, {0}).hash == held.hash


def of_kind(of: Stage, kind: str) -> list[Manifest]:
    return [manifest for manifest in of.manifests if manifest["kind"] == kind]


def test_an_object_is_known_by_kind_and_name() -> None:
    made = stage({"shards": 1})
    (config,) = (one["metadata"]["name"] for one in of_kind(made, "ConfigMap"))
    assert {key(manifest) for manifest in made.manifests} == {
        ("ServiceAccount", "orders-valkey"),
        ("ConfigMap", config),
        ("Service", "orders-headless"),
        ("Service", "orders"),
        ("PodDisruptionBudget", "orders"),
        ("StatefulSet", "orders-0"),
    }
    assert config.startswith(f"{names.config_map('orders')}-")
