from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from tests.unit.odd_specs import odd_specs
from tests.unit.upgrade_cases import BAD, CHANGES, GOOD, MANY_PROBLEMS
from valkey_cluster.errors import Problem, SpecError
from valkey_cluster.spec import (
    ValkeyUpgradeSpec,
    edge_problem,
    immutable_changes,
    parse_upgrade,
    version_tuple,
)
from valkey_cluster.spec.versions import DATA_FORMATS, KNOWN_BAD

if TYPE_CHECKING:
    from tests.unit.spec_cases import Bad, Change, Good

LEAST = {"clusterRef": {"name": "orders"}, "version": "9.1.2"}


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.id)
def test_a_good_spec_is_taken(case: Good):
    assert parse_upgrade(case.spec, case.name).version == case.spec["version"]


@pytest.mark.parametrize("case", [*BAD, MANY_PROBLEMS], ids=lambda case: case.id)
def test_a_bad_spec_is_refused_with_field_and_reason(case: Bad):
    with pytest.raises(SpecError) as refused:
        parse_upgrade(case.spec, case.name)
    for part in case.says:
        assert part in str(refused.value)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
def test_a_spec_with_one_mistake_has_one_problem(case: Bad):
    with pytest.raises(SpecError) as refused:
        parse_upgrade(case.spec, case.name)
    assert len(refused.value.problems) == (2 if case.id == "nothing" else 1)


def test_many_mistakes_are_each_named_once():
    with pytest.raises(SpecError) as refused:
        parse_upgrade(MANY_PROBLEMS.spec, MANY_PROBLEMS.name)
    assert len(refused.value.problems) == len(MANY_PROBLEMS.says)


def test_the_table_names_each_case_once():
    ids = [case.id for case in (*GOOD, *BAD)]
    assert len(ids) == len(set(ids))


@given(odd_specs(GOOD, BAD))
def test_parse_raises_spec_error_or_nothing_and_says_something(spec: Any):
    assert all(problem.field.startswith("spec") and problem.sentence for problem in _problems(spec))


def _problems(spec: Any) -> tuple[Problem, ...]:
    try:
        parse_upgrade(spec, "to-9")
    except SpecError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.id)
def test_an_update_names_what_cannot_be_changed(change: Change):
    found = immutable_changes(parse_upgrade(change.old, "to-9"), parse_upgrade(change.new, "to-9"))
    assert len(found) == len(change.says)
    for part in change.says:
        assert any(sentence.startswith(part) for sentence in found)


def test_defaults_are_one_canary_a_short_soak_and_a_way_back():
    assert parse_upgrade(LEAST, "to-9").as_manifest() == {
        **LEAST,
        "canary": {"shards": 1},
        "soakSeconds": 30,
        "approval": "None",
        "gates": {"maxLagBytes": 1048576, "maxErrorReplies": 100, "maxLatencyPercent": 300},
        "shardTimeoutSeconds": 900,
        "onFailure": "Rollback",
    }


@pytest.mark.parametrize(
    ("image", "tag"),
    [(None, "9.1.2"), ({}, "9.1.2"), ({"digest": "sha256:" + "0" * 64}, "9.1.2"), ({"tag": "x"}, "x")],
)
def test_the_tag_is_the_version_unless_one_is_named(image: Any, tag: str):
    assert parse_upgrade({**LEAST, "image": image}, "to-9").tag == tag


def test_a_spec_survives_a_round_trip_through_json():
    for case in GOOD:
        spec = parse_upgrade(case.spec, case.name)
        assert parse_upgrade(spec.as_manifest(), case.name) == spec


def test_a_spec_cannot_be_changed_in_place():
    spec: ValkeyUpgradeSpec = parse_upgrade(LEAST, "to-9")
    with pytest.raises(ValidationError, match="frozen"):
        spec.version = "9.1.3"


ALLOWED = [
    pytest.param("9.1.1", "9.1.2", True, id="patch up"),
    pytest.param("9.1.2", "9.1.0", True, id="patch down"),
    pytest.param("8.0.2", "8.0.1", True, id="patch down among the bad ones"),
    pytest.param("9.0.4", "9.1.2", True, id="minor up"),
    pytest.param("8.0.7", "8.2.0", True, id="minor left out"),
    pytest.param("8.1.4", "9.0.1", True, id="major up"),
    pytest.param("8.0.4", "9.1.2", True, id="major up, minor left out"),
    pytest.param("8.0.4", "8.1.5", True, id="from the first good patch of 8.0"),
    pytest.param("8.0.7", "8.1.7", True, id="around 8.1.6"),
    pytest.param("8.1.5", "8.1.6", True, id="to 8.1.6 from 8.1"),
    pytest.param("8.1.6", "9.1.2", True, id="from 8.1.6 on"),
    pytest.param("9.1.2", "9.0.4", False, id="minor down, cache"),
    pytest.param("9.1.2", "8.1.4", False, id="major down, cache"),
    pytest.param("8.1.7", "8.0.4", False, id="minor down to a good patch, cache"),
]

REFUSED = [
    pytest.param("9.1.2", "9.1.2", True, "runs it already; name another", id="same"),
    pytest.param("9.1.2", "9.1.2", False, "runs it already; name another", id="same, cache"),
    pytest.param("8.1.4", "10.0.0", True, "leaves out major version 9; go to 9 first", id="major left out"),
    pytest.param(
        "10.0.0", "8.1.4", False, "leaves out major version 9; go to 9 first", id="major left out, down"
    ),
    pytest.param(
        "9.0.1",
        "8.1.4",
        True,
        "8.1.4 cannot read the data files of 9.0.1; load a backup into a new cluster",
        id="data format 80 to 11",
    ),
    pytest.param("9.2.0", "9.1.2", True, "cannot read the data files of 9.2.0", id="data format 81 to 80"),
    pytest.param("9.1.2", "9.0.4", True, "an older minor version than 9.1.2", id="minor down in 9"),
    pytest.param("8.1.7", "8.0.7", True, "stay with 8.1, or load a backup", id="minor down in 8"),
    pytest.param("8.0.3", "8.1.7", True, "upgrade to 8.0.4 or newer first", id="8.0.3 to 8.1"),
    pytest.param("8.0.0", "9.1.2", False, "upgrade to 8.0.4 or newer first", id="8.0.0 to 9, cache"),
    pytest.param("8.1.7", "8.0.3", False, "name 8.0.4 or newer", id="8.1 to 8.0.3, cache"),
    pytest.param("8.0.7", "8.1.6", True, "name 8.1.7 or newer", id="8.0 to 8.1.6"),
    pytest.param("8.1.6", "8.0.7", False, "upgrade to 8.1.7 or newer first", id="8.1.6 to 8.0, cache"),
    pytest.param("9.0.4", "8.1.7", False, "upgrade to 9.1.0 or newer first", id="9.0 to 8, cache"),
]


@pytest.mark.parametrize(("old", "new", "persistent"), ALLOWED)
def test_an_edge_is_allowed(old: str, new: str, persistent: bool):
    assert edge_problem(version_tuple(old), version_tuple(new), persistent) == ""


@pytest.mark.parametrize(("old", "new", "persistent", "says"), REFUSED)
def test_an_edge_is_refused_in_one_sentence_with_what_to_do(old: str, new: str, persistent: bool, says: str):
    problem = edge_problem(version_tuple(old), version_tuple(new), persistent)
    assert says in problem
    assert problem.count("; ") == 1


def test_each_row_of_known_bad_edges_is_met_and_names_where_it_is_known_from():
    met = [edge_problem(*map(version_tuple, case.values[:2]), case.values[2]) for case in REFUSED]
    for row in KNOWN_BAD:
        assert f"{row.because}; {row.instead}" in met
        assert "(valkey " in row.because


def test_data_formats_stand_newest_first():
    assert list(DATA_FORMATS) == sorted(DATA_FORMATS, reverse=True)
