from __future__ import annotations

from typing import Any

import pytest

from valkey_cluster import crd, names
from valkey_cluster.status_model import ClusterStatus, ConditionStatus, Health, ShardStatus
from valkey_cluster.upgrade_status import (
    HISTORY_MAX,
    BaselineStatus,
    HistoryStatus,
    ShardUpgradeStatus,
    UpgradeStatus,
)


def _nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, schema)]
    for name, part in schema.get("properties", {}).items():
        found += _nodes(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += _nodes(schema[key], f"{path}[]")
    return found


def _schema(resource: crd.CustomResource) -> dict[str, Any]:
    return crd.crd(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _spec_nodes(resource: crd.CustomResource) -> list[tuple[str, dict[str, Any]]]:
    return _nodes(_schema(resource)["properties"]["spec"], "spec")


each_resource = pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda resource: resource.kind)


def test_the_generated_files_are_those_in_the_repository():
    for path, text in crd.files().items():
        assert path.read_text() == text, f"{path}: run `python -m valkey_cluster.crd`"


def test_check_fails_when_a_file_differs_and_writing_repairs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crd, "CRDS", tmp_path)
    monkeypatch.setattr(crd, "REFERENCE_FILE", tmp_path / "reference.md")
    assert crd.main(["--check"]) == 1
    said = capsys.readouterr().err
    for resource in crd.RESOURCES:
        assert f"{resource.plural}.valkeeper.io.yaml differs" in said
    assert crd.main([]) == 0
    assert crd.main(["--check"]) == 0
    crd.crd_file(crd.UPGRADE).write_text("other")
    assert crd.main(["--check"]) == 1


@each_resource
def test_no_reference_union_or_title_is_left(resource: crd.CustomResource):
    for path, node in _nodes(_schema(resource)):
        left = {"$ref", "$defs", "title", "allOf", "oneOf", "const", "prefixItems"} & node.keys()
        assert not left, path
        assert "x-kubernetes-int-or-string" in node or "anyOf" not in node, path
        assert "x-kubernetes-int-or-string" in node or "type" in node, path


@each_resource
def test_everything_in_the_spec_is_bounded_and_described(resource: crd.CustomResource):
    for path, node in _spec_nodes(resource):
        kind = node.get("type")
        if kind == "string":
            assert "enum" in node or "maxLength" in node, path
        elif kind == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path
        elif kind == "array":
            assert "maxItems" in node, path
        elif "additionalProperties" in node:
            assert "maxProperties" in node, path
        assert path.endswith("[]") or node.get("description"), path


@each_resource
def test_all_of_the_status_is_described(resource: crd.CustomResource):
    for path, node in _nodes(_schema(resource)["properties"]["status"], "status"):
        assert path.endswith("[]") or node.get("description"), path


@each_resource
def test_each_rule_of_the_models_is_in_the_schema(resource: crd.CustomResource):
    rules = [
        rule for _, node in _nodes(_schema(resource)) for rule in node.get("x-kubernetes-validations", ())
    ]
    whole = (*resource.spec.RULES.rules, *resource.spec.TRANSITIONS, *resource.name_rules.rules)
    for rule in whole:
        assert (rule.cel, rule.message) in [(one["rule"], one["message"]) for one in rules]


@pytest.mark.parametrize(
    ("resource", "path", "default"),
    [
        (crd.CLUSTER, "spec.version", "9.1.2"),
        (crd.CLUSTER, "spec.replicasPerShard", 1),
        (crd.CLUSTER, "spec.image", {"repository": "docker.io/valkey/valkey", "pullPolicy": "IfNotPresent"}),
        (crd.CLUSTER, "spec.persistence.rdb.save", ["3600 1"]),
        (crd.CLUSTER, "spec.tls", {"enabled": False, "clientCertificates": "None"}),
        (crd.CLUSTER, "spec.readService", {"enabled": False}),
        (crd.UPGRADE, "spec.canary", {"shards": 1}),
        (crd.UPGRADE, "spec.gates.maxLagBytes", 1048576),
        (crd.UPGRADE, "spec.approval", "None"),
    ],
)
def test_defaults_are_in_the_schema(resource, path, default):
    assert dict(_spec_nodes(resource))[path]["default"] == default


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (crd.CLUSTER, "spec.shards"),
        (crd.CLUSTER, "spec.resources"),
        (crd.CLUSTER, "spec.backup"),
        (crd.CLUSTER, "spec.config"),
        (crd.CLUSTER, "spec.image.tag"),
        (crd.UPGRADE, "spec.version"),
        (crd.UPGRADE, "spec.image"),
        (crd.UPGRADE, "spec.gates.maxEvictedKeys"),
    ],
)
def test_what_has_no_default_gets_none(resource, path):
    assert "default" not in dict(_spec_nodes(resource))[path]


@pytest.mark.parametrize(
    ("resource", "short_name", "shown"),
    [
        (crd.CLUSTER, "vkc", ["Phase", "Shards", "Ready", "Version", "Step", "Age"]),
        (crd.UPGRADE, "vku", ["Cluster", "Version", "From", "Phase", "Age"]),
    ],
)
def test_columns_and_names(resource, short_name, shown):
    definition = crd.crd(resource)
    version = definition["spec"]["versions"][0]
    assert definition["spec"]["names"]["shortNames"] == [short_name]
    assert definition["spec"]["names"]["categories"] == ["valkeeper"]
    assert version["name"] == names.VERSION
    columns = version["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == shown
    assert [column["name"] for column in columns if column.get("priority")] == ["Message"]


@each_resource
def test_each_path_leads_to_a_field(resource: crd.CustomResource):
    there = {path for path, _ in _nodes(_schema(resource))}
    paths = [*resource.columns.values(), *(resource.scale or {}).values(), *resource.selectable]
    assert set(paths) <= there


def test_a_cluster_can_be_scaled_and_upgrades_be_selected_by_cluster():
    cluster, upgrade = (crd.crd(resource)["spec"]["versions"][0] for resource in crd.RESOURCES)
    assert cluster["subresources"]["scale"]["specReplicasPath"] == ".spec.shards"
    assert "selectableFields" not in cluster
    assert upgrade["subresources"] == {"status": {}}
    assert upgrade["selectableFields"] == [{"jsonPath": ".spec.clusterRef.name"}]


@each_resource
def test_the_status_schema_has_conditions_as_a_map_by_type(resource: crd.CustomResource):
    conditions = _schema(resource)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["properties"]["lastTransitionTime"]["format"] == "date-time"


def test_a_status_is_written_as_the_schema_spells_it():
    status = ClusterStatus(
        phase=names.Phase.RUNNING,
        observed_generation=2,
        conditions=(
            ConditionStatus(
                type=names.Condition.READY,
                status="True",
                reason="AllSlotsServed",
                message="all slots are served",
                last_transition_time="2026-11-23T12:00:00Z",
            ),
        ),
        topology=(ShardStatus(shard=0, slots="0-16383", primary="a-0-0", health=Health.OK),),
    )
    assert status.as_manifest() == {
        "phase": "Running",
        "observedGeneration": 2,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AllSlotsServed",
                "message": "all slots are served",
                "lastTransitionTime": "2026-11-23T12:00:00Z",
            }
        ],
        "topology": [{"shard": 0, "slots": "0-16383", "primary": "a-0-0", "replicas": [], "health": "Ok"}],
        "plan": [],
        "diff": [],
    }


def test_the_status_of_an_upgrade_is_written_as_the_schema_spells_it():
    status = UpgradeStatus(
        phase=names.UpgradePhase.SOAKING,
        from_version="9.1.1",
        soak_until="2026-11-23T12:00:30Z",
        shards=(
            ShardUpgradeStatus(
                shard=0, phase=names.ShardPhase.DONE, version="9.1.2", since="2026-11-23T12:00:00Z"
            ),
        ),
        baseline=BaselineStatus(error_replies=1, evicted_keys=0, latency_microseconds=12.5),
        history=(
            HistoryStatus(
                at="2026-11-23T12:00:00Z", phase=names.UpgradePhase.CANARY, message="shard 0 is first"
            ),
        ),
    )
    assert status.as_manifest() == {
        "phase": "Soaking",
        "fromVersion": "9.1.1",
        "soakUntil": "2026-11-23T12:00:30Z",
        "shards": [{"shard": 0, "phase": "Done", "version": "9.1.2", "since": "2026-11-23T12:00:00Z"}],
        "conditions": [],
        "baseline": {"errorReplies": 1.0, "evictedKeys": 0.0, "latencyMicroseconds": 12.5},
        "history": [{"at": "2026-11-23T12:00:00Z", "phase": "Canary", "message": "shard 0 is first"}],
    }
    parts = _schema(crd.UPGRADE)["properties"]["status"]["properties"]
    assert parts["shards"]["x-kubernetes-list-map-keys"] == ["shard"]
    assert parts["history"]["maxItems"] == HISTORY_MAX == 64
    assert parts["baseline"]["properties"]["errorReplies"]["type"] == "number"


@each_resource
def test_the_reference_names_every_field(resource: crd.CustomResource):
    whole = crd.files()[crd.REFERENCE_FILE]
    (text,) = (part for part in whole.split("\n# ") if part.startswith(f"{resource.kind} ("))
    for path, _ in _spec_nodes(resource):
        name = path.removeprefix("spec").removeprefix(".")
        assert not name or name.endswith("[]") or f"`{name}`" in text
