from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.odd_specs import odd_specs
from tests.unit.spec_cases import BAD, CHANGES, GOOD, MANY_PROBLEMS, Bad, Change, Good
from valkey_cluster.errors import Problem, SpecError
from valkey_cluster.spec import (
    CLUSTER_TUNABLES,
    MANAGED,
    NOT_SUPPORTED_YET,
    ValkeyClusterSpec,
    immutable_changes,
    parse,
)
from valkey_cluster.spec.server import PersistenceSpec

MIB = 2**20


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.id)
def test_a_good_spec_is_taken(case: Good):
    assert parse(case.spec, case.name).shards == case.spec["shards"]


@pytest.mark.parametrize("case", [*BAD, MANY_PROBLEMS], ids=lambda case: case.id)
def test_a_bad_spec_is_refused_with_field_and_reason(case: Bad):
    with pytest.raises(SpecError) as refused:
        parse(case.spec, case.name)
    for part in case.says:
        assert part in str(refused.value)


def test_the_tables_are_as_large_as_promised_and_name_each_case_once():
    ids = [case.id for case in (*GOOD, *BAD)]
    assert len(GOOD) >= 20
    assert len(BAD) >= 60
    assert len(ids) == len(set(ids))


def test_each_case_but_the_many_names_no_other_problem():
    with pytest.raises(SpecError) as refused:
        parse(MANY_PROBLEMS.spec, MANY_PROBLEMS.name)
    assert len(refused.value.problems) == len(MANY_PROBLEMS.says)


@given(odd_specs())
def test_parse_raises_spec_error_or_nothing_and_says_something(spec: Any):
    problems = _problems(spec)
    assert all(problem.field.startswith("spec") and problem.sentence for problem in problems)


def _problems(spec: Any) -> tuple[Problem, ...]:
    try:
        parse(spec, "demo")
    except SpecError as error:
        return error.problems
    return ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["shards", "config"]), inner),
)


@given(_JSON)
def test_parse_refuses_any_json_that_is_no_spec(value: Any):
    with pytest.raises(SpecError):
        parse({"shards": value, "config": 1}, "demo")
    if not isinstance(value, dict):
        with pytest.raises(SpecError):
            parse(value, "demo")


def _nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "spec",
    [
        {"shards": 3, "scheduling": {"affinity": _nested(400)}},
        {"shards": 3, "scheduling": {"affinity": _nested(100_000)}},
        {"shards": 10**5000},
        {"shards": float("nan")},
        {"shards": float("inf")},
        {"shards": object()},
        {("a", "b"): 1},
        {"shards": 3, "config": {"a": "\ud800"}},
        {1: 2},
        None,
    ],
    ids=[
        "deep",
        "very deep",
        "long number",
        "nan",
        "inf",
        "object",
        "tuple key",
        "surrogate",
        "int key",
        "none",
    ],
)
def test_parse_refuses_what_is_not_even_json(spec: Any):
    with pytest.raises(SpecError):
        parse(spec, "demo")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.id)
def test_an_update_names_what_cannot_be_changed(change: Change):
    found = immutable_changes(parse(change.old, "demo"), parse(change.new, "demo"))
    assert len(found) == len(change.says)
    for part in change.says:
        assert any(sentence.startswith(part) for sentence in found)


def test_defaults_are_requests_limits_and_a_replica():
    spec = parse({"shards": 3}, "demo")
    assert spec.image_reference == "docker.io/valkey/valkey:9.1.2"
    assert spec.version_tuple == (9, 1, 2)
    assert spec.members == 6
    assert spec.resources.requests.as_manifest() == {"cpu": "100m", "memory": "256Mi"}
    assert spec.resources.limits.as_manifest() == {"memory": "256Mi"}
    assert spec.maxmemory_bytes == 256 * MIB * 65 // 100


@pytest.mark.parametrize(
    ("given_resources", "requests", "limits"),
    [
        ({"limits": {"memory": "1024Mi"}}, {"cpu": "100m", "memory": "1Gi"}, {"memory": "1Gi"}),
        ({"requests": {"memory": "2Gi"}}, {"cpu": "100m", "memory": "2Gi"}, {"memory": "2Gi"}),
        ({"limits": {"cpu": "50m"}}, {"cpu": "50m", "memory": "256Mi"}, {"cpu": "50m", "memory": "256Mi"}),
        ({"limits": {"cpu": 2}}, {"cpu": "100m", "memory": "256Mi"}, {"cpu": "2", "memory": "256Mi"}),
        (
            {"requests": {"cpu": "0.5", "memory": "100M"}, "limits": {"memory": "1G"}},
            {"cpu": "500m", "memory": "100M"},
            {"memory": "1G"},
        ),
    ],
)
def test_resources_that_are_left_out_follow_from_those_given(given_resources, requests, limits):
    resources = parse({"shards": 1, "resources": given_resources}, "demo").resources
    assert resources.requests.as_manifest() == requests
    assert resources.limits.as_manifest() == limits


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"persistence": {"enabled": False}}, 256 * MIB * 75 // 100),
        ({"maxmemory": {"percent": 10}}, 256 * MIB // 10),
        ({"resources": {"limits": {"memory": "1Gi"}}}, 1024 * MIB * 65 // 100),
        ({"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "1G"}}}, 650_000_000),
    ],
)
def test_maxmemory_is_a_share_of_the_limit(fields, expected):
    assert parse({"shards": 1, **fields}, "demo").maxmemory_bytes == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"repository": "r.io/v", "tag": "9.1.2-alpine"}, "r.io/v:9.1.2-alpine"),
        ({"digest": "sha256:" + "a" * 64}, "docker.io/valkey/valkey:9.1.2@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_repository_tag_and_digest(image, expected):
    assert parse({"shards": 1, "image": image}, "demo").image_reference == expected


def test_the_size_of_a_claim_is_spelled_as_the_api_server_keeps_it():
    assert parse({"shards": 1, "persistence": {"size": "2048Mi"}}, "demo").persistence.size == "2Gi"


def test_a_spec_survives_a_round_trip_through_json():
    for case in GOOD:
        spec = parse(case.spec, case.name)
        assert parse(spec.as_manifest(), case.name) == spec
        assert parse(spec.model_dump(mode="json", by_alias=True, exclude_unset=True), case.name) == spec


def test_a_python_program_may_use_python_names_and_meets_the_same_rules():
    spec = ValkeyClusterSpec(shards=3, replicas_per_shard=2, persistence=PersistenceSpec(enabled=False))
    assert spec.members == 9
    with pytest.raises(ValidationError, match="more than 500 pods"):
        ValkeyClusterSpec(shards=100, replicas_per_shard=5)


def test_a_spec_cannot_be_changed_in_place():
    spec = parse({"shards": 3}, "demo")
    with pytest.raises(ValidationError, match="frozen"):
        spec.shards = 4


def test_no_directive_is_both_refused_and_allowed():
    managed = [name for group in MANAGED.values() for name in group]
    assert len(managed) == len(set(managed))
    assert not set(managed) & set(CLUSTER_TUNABLES)


@pytest.mark.parametrize("name", [name for group in MANAGED.values() for name in group])
def test_each_managed_directive_is_refused_by_name(name: str):
    with pytest.raises(SpecError, match=name):
        parse({"shards": 1, "config": {name: "x"}}, "demo")


@pytest.mark.parametrize("name", CLUSTER_TUNABLES)
def test_each_tunable_cluster_directive_is_taken(name: str):
    assert parse({"shards": 1, "config": {name: "2000"}}, "demo").config == {name: "2000"}


def test_each_field_that_is_not_supported_yet_has_a_bad_case():
    said = {part for case in BAD for part in case.says}
    for not_yet in NOT_SUPPORTED_YET:
        assert f"spec.{not_yet.field}: " in said
