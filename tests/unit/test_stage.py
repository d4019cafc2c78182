"""What may be applied to a cluster that runs."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from valkey_cluster.resources import Identity
from valkey_cluster.spec import parse
from valkey_cluster.stage import Stage, digest, hold_back, key, render, template_hash

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
        "config": st.sampled_from([{}, {"maxclients": "99"}]),
    }
)
few = settings(max_examples=40, deadline=None)


@given(FIELDS, FIELDS)
@few
def test_what_restarts_pods_stays_as_it_was_applied(before: dict[str, Any], after: dict[str, Any]) -> None:
    applied, wanted = stage(before), stage(after)
    held = hold_back(applied, wanted)
    for kind in HELD:
        assert of_kind(held, kind) == of_kind(applied, kind)


@given(FIELDS, FIELDS)
@few
def test_the_rest_follows_the_spec(before: dict[str, Any], after: dict[str, Any]) -> None:
    held = hold_back(stage(before), stage(after))
    others = {place: manifest for place, manifest in held.by_key.items() if place[0] not in HELD}
    wanted = {place: manifest for place, manifest in stage(after).by_key.items() if place[0] not in HELD}
    assert others == wanted


@given(FIELDS, FIELDS)
@few
def test_holding_back_twice_changes_nothing(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Otherwise every pass would find something to apply."""
    once = hold_back(stage(before), stage(after))
    assert hold_back(once, stage(after)).hash == once.hash


@given(FIELDS)
@few
def test_an_unchanged_spec_gives_the_stage_that_is_applied(fields: dict[str, Any]) -> None:
    assert hold_back(stage(fields), stage(fields)).hash == stage(fields).hash


@given(FIELDS, FIELDS)
@few
def test_no_object_stands_in_a_stage_twice(before: dict[str, Any], after: dict[str, Any]) -> None:
    held = hold_back(stage(before), stage(after))
    assert len(held.by_key) == len(held.manifests)


def test_objects_that_others_refer_to_come_first() -> None:
    held = hold_back(stage({"shards": 2}), stage({"shards": 2, "labels": {"a": "b"}}))
    kinds = [manifest["kind"] for manifest in held.manifests]
    assert kinds == [
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Service",
        "PodDisruptionBudget",
        "StatefulSet",
        "StatefulSet",
    ]


def test_the_hash_outlives_a_trip_through_json() -> None:
    made = stage({"shards": 3})
    assert Stage(tuple(json.loads(json.dumps(made.manifests)))).hash == made.hash


def test_the_hash_tells_every_difference() -> None:
    hashes = {stage({"shards": 3, "config": {"maxclients": str(number)}}).hash for number in range(50)}
    assert len(hashes) == 50


def test_the_order_of_a_dicts_keys_is_no_difference() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_the_template_hash_sees_the_template_only() -> None:
    (small,) = of_kind(stage({"shards": 1, "replicasPerShard": 0}), "StatefulSet")
    (large,) = of_kind(stage({"shards": 1, "replicasPerShard": 2}), "StatefulSet")
    assert small != large
    assert template_hash(small) == template_hash(large)


def of_kind(of: Stage, kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in of.manifests if manifest["kind"] == kind]


def test_an_object_is_known_by_kind_and_name() -> None:
    assert {key(manifest) for manifest in stage({"shards": 1}).manifests} == {
        ("ServiceAccount", "orders-valkey"),
        ("ConfigMap", "orders-config"),
        ("Service", "orders-headless"),
        ("Service", "orders"),
        ("PodDisruptionBudget", "orders"),
        ("StatefulSet", "orders-0"),
    }
