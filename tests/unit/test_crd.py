from __future__ import annotations

from typing import Any

import pytest

from valkey_cluster import crd, names
from valkey_cluster.spec import ValkeyClusterSpec
from valkey_cluster.status_model import ClusterStatus, ConditionStatus, Health, ShardStatus

SCHEMA: dict[str, Any] = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, schema)]
    for name, part in schema.get("properties", {}).items():
        found += _nodes(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += _nodes(schema[key], f"{path}[]")
    return found


SPEC_NODES = _nodes(SCHEMA["properties"]["spec"], "spec")


def test_the_generated_files_are_those_in_the_repository():
    for path, text in crd.files().items():
        assert path.read_text() == text, f"{path}: run `python -m valkey_cluster.crd`"


def test_check_fails_when_a_file_differs_and_writing_repairs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crd, "CRD_FILE", tmp_path / "crd.yaml")
    monkeypatch.setattr(crd, "REFERENCE_FILE", tmp_path / "reference.md")
    assert crd.main(["--check"]) == 1
    assert "crd.yaml differs" in capsys.readouterr().err
    assert crd.main([]) == 0
    assert crd.main(["--check"]) == 0
    (tmp_path / "crd.yaml").write_text("other")
    assert crd.main(["--check"]) == 1


def test_no_reference_union_or_title_is_left():
    for path, node in SPEC_NODES:
        left = {"$ref", "$defs", "title", "allOf", "oneOf", "const", "prefixItems"} & node.keys()
        assert not left, path
        assert "x-kubernetes-int-or-string" in node or "anyOf" not in node, path
        assert "x-kubernetes-int-or-string" in node or "type" in node, path


def test_everything_in_the_spec_is_bounded_and_described():
    for path, node in SPEC_NODES:
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


def test_each_rule_of_the_models_is_in_the_schema():
    messages = {
        rule["message"] for _, node in SPEC_NODES for rule in node.get("x-kubernetes-validations", ())
    }
    for rule in (*ValkeyClusterSpec.RULES.rules, *ValkeyClusterSpec.TRANSITIONS):
        assert rule.message in messages


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("spec.version", "9.1.2"),
        ("spec.replicasPerShard", 1),
        ("spec.image", {"repository": "docker.io/valkey/valkey", "pullPolicy": "IfNotPresent"}),
        ("spec.persistence.rdb.save", ["3600 1"]),
        ("spec.tls", {"enabled": False, "clientCertificates": "None"}),
        ("spec.readService", {"enabled": False}),
    ],
)
def test_defaults_are_in_the_schema(path, default):
    assert dict(SPEC_NODES)[path]["default"] == default


@pytest.mark.parametrize(
    "path", ["spec.shards", "spec.resources", "spec.backup", "spec.config", "spec.image.tag"]
)
def test_what_has_no_default_gets_none(path):
    assert "default" not in dict(SPEC_NODES)[path]


def test_scale_columns_and_names():
    definition = crd.crd()
    version = definition["spec"]["versions"][0]
    assert definition["spec"]["names"]["shortNames"] == ["vkc"]
    assert definition["spec"]["names"]["categories"] == ["valkeeper"]
    assert version["name"] == names.VERSION
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.shards"
    shown = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["Phase", "Shards", "Ready", "Version", "Step", "Age"]


def test_the_status_schema_has_conditions_as_a_map_by_type():
    conditions = SCHEMA["properties"]["status"]["properties"]["conditions"]
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
    }


def test_the_reference_names_every_field():
    text = crd.files()[crd.REFERENCE_FILE]
    for path, _ in SPEC_NODES:
        name = path.removeprefix("spec").removeprefix(".")
        assert not name or name.endswith("[]") or f"`{name}`" in text
