"""What counts as drift, and who is named for it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from daemon.drift import differences, find_drift, owners
from daemon.topology import Drift
from valkey_cluster.resources import Identity, Manifest
from valkey_cluster.spec import parse
from valkey_cluster.stage import Key, Stage, render

STAGE = render(Identity("shop", "orders", "uid-orders"), parse({"shards": 1}, "orders"))
STATEFUL_SET = ("StatefulSet", "orders-0")
SERVICE = ("Service", "orders")
CONFIG_MAP = next(place for place in STAGE.by_key if place[0] == "ConfigMap")


def fields_of(value: Any) -> dict[str, Any]:
    """A FieldsV1 tree of a whole value, with lists as the API server keys them."""
    if isinstance(value, dict):
        return {f"f:{name}": fields_of(part) for name, part in value.items()}
    return {}


def entry(
    manager: str, fields: dict[str, Any], *, at: str = "2026-11-23T10:00:00Z", part: str = ""
) -> Manifest:
    made = {
        "manager": manager,
        "operation": "Apply" if manager == "valkeeper" else "Update",
        "apiVersion": "v1",
        "time": at,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return made | ({"subresource": part} if part else {})


def as_applied() -> dict[Key, Manifest]:
    """The objects as an API server has them right after an update of ours: ours, and its own defaults."""
    live = copy.deepcopy(dict(STAGE.by_key))
    for manifest in live.values():
        metadata = manifest["metadata"]
        metadata |= {"uid": "u", "resourceVersion": "1", "generation": 1}
        metadata["annotations"] = {**metadata.get("annotations", {}), "pulumi.com/skipAwait": "true"}
        metadata["managedFields"] = [entry("valkeeper", fields_of(manifest))]
    live[SERVICE]["spec"] |= {"clusterIP": "10.1.2.3", "sessionAffinity": "None"}
    live[STATEFUL_SET]["spec"]["template"]["spec"] |= {"schedulerName": "default-scheduler"}
    live[STATEFUL_SET]["status"] = {"replicas": 2}
    return live


@pytest.fixture
def live() -> dict[Key, Manifest]:
    return as_applied()


def test_what_is_as_applied_is_no_drift(live: dict[Key, Manifest]) -> None:
    assert find_drift(STAGE, live) == ()


def test_a_scaled_stateful_set_names_field_and_manager(live: dict[Key, Manifest]) -> None:
    scaled = live[STATEFUL_SET]
    scaled["spec"]["replicas"] = 0
    del scaled["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:replicas"]
    scaled["metadata"]["managedFields"].append(
        entry("kubectl", {"f:spec": {"f:replicas": {}}}, part="scale", at="2026-11-23T10:00:05Z")
    )
    (drift,) = find_drift(STAGE, live)
    assert drift == Drift("StatefulSet", "orders-0", ("spec.replicas",), ("kubectl",))
    assert drift.sentence() == "StatefulSet orders-0: spec.replicas changed by kubectl"


def test_an_edited_service_port_names_its_editor(live: dict[Key, Manifest]) -> None:
    """Ports have no name in FieldsV1: they are known by port and protocol, the new port's."""
    service = live[SERVICE]
    service["spec"]["ports"][0]["port"] = 6380
    service["metadata"]["managedFields"] = [
        entry("valkeeper", {"f:spec": {"f:type": {}, "f:selector": {}}}),
        entry("controller", {"f:metadata": {"f:annotations": {"f:seen": {}}}}, at="2026-11-23T12:00:00Z"),
        entry(
            "kubectl-edit",
            {
                "f:spec": {
                    "f:ports": {
                        'k:{"port":6379,"protocol":"UDP"}': {".": {}, "f:port": {}},
                        'k:{"port":6380,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}},
                    }
                }
            },
            at="2026-11-23T11:00:00Z",
        ),
    ]
    assert find_drift(STAGE, live) == (
        Drift("Service", "orders", ("spec.ports.valkey.port",), ("kubectl-edit",)),
    )


def test_a_changed_image_names_its_editor(live: dict[Key, Manifest]) -> None:
    container = live[STATEFUL_SET]["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "other"
    tree: dict[str, Any] = {"f:spec": {"f:containers": {'k:{"name":"valkey"}': {"f:image": {}}}}}
    live[STATEFUL_SET]["metadata"]["managedFields"].append(entry("rancher", {"f:spec": {"f:template": tree}}))
    (drift,) = find_drift(STAGE, live)
    assert drift.fields == ("spec.template.spec.containers.valkey.image",)
    assert drift.managers == ("rancher",)


def test_edited_data_of_the_config_map_is_drift(live: dict[Key, Manifest]) -> None:
    live[CONFIG_MAP]["data"]["valkey.conf"] += "maxclients 1\n"
    live[CONFIG_MAP]["metadata"]["managedFields"] = [
        entry("kubectl-patch", {"f:data": {"f:valkey.conf": {}}}),
    ]
    (drift,) = find_drift(STAGE, live)
    assert drift == Drift(*CONFIG_MAP, ("data.valkey.conf",), ("kubectl-patch",))


@pytest.mark.parametrize("place", sorted(STAGE.by_key), ids=lambda place: place[0] + " " + place[1])
def test_a_deleted_object_is_drift(live: dict[Key, Manifest], place: Key) -> None:
    del live[place]
    (drift,) = find_drift(STAGE, live)
    assert (drift.kind, drift.name, drift.fields, drift.managers) == (*place, (), ())
    assert drift.sentence() == f"{place[0]} {place[1]} was deleted"


def test_an_object_of_the_same_name_and_another_kind_is_no_substitute(live: dict[Key, Manifest]) -> None:
    del live["PodDisruptionBudget", "orders"]
    assert [drift.kind for drift in find_drift(STAGE, live)] == ["PodDisruptionBudget"]


def test_several_changes_of_one_object_are_told_together(live: dict[Key, Manifest]) -> None:
    spec = live["PodDisruptionBudget", "orders"]["spec"]
    spec |= {"maxUnavailable": 3, "selector": {"matchLabels": {}}}
    live["PodDisruptionBudget", "orders"]["metadata"]["managedFields"] = [
        entry("helm", {"f:spec": {"f:maxUnavailable": {}}}),
        entry("argo", {"f:spec": {"f:selector": {}}}),
    ]
    (drift,) = find_drift(STAGE, live)
    assert drift.fields == (
        "spec.maxUnavailable",
        "spec.selector.matchLabels.valkeeper.io/cluster",
        "spec.selector.matchLabels.app.kubernetes.io/component",
    )
    assert drift.managers == ("argo", "helm")


def test_what_others_added_beside_ours_is_no_drift(live: dict[Key, Manifest]) -> None:
    live[SERVICE]["metadata"]["labels"]["argocd"] = "x"
    live[SERVICE]["spec"]["ports"].append({"name": "extra", "port": 1, "protocol": "TCP"})
    pod = live[STATEFUL_SET]["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "istio-proxy", "image": "x"})
    pod["containers"][1]["env"].insert(0, {"name": "INJECTED", "value": "1"})
    live[CONFIG_MAP]["data"]["other"] = "x"
    assert find_drift(STAGE, live) == ()


def test_an_object_of_nobodys_stage_is_no_drift(live: dict[Key, Manifest]) -> None:
    live["ConfigMap", "another"] = {"kind": "ConfigMap", "metadata": {"name": "another"}}
    assert find_drift(STAGE, live) == ()


def test_a_difference_that_only_our_own_manager_holds_is_no_drift(live: dict[Key, Manifest]) -> None:
    """An update of ours that did not come to its end."""
    live[STATEFUL_SET]["spec"]["replicas"] = 5
    assert owners(live[STATEFUL_SET], ("spec", "replicas")) == ("valkeeper",)
    assert find_drift(STAGE, live) == ()


def test_a_field_taken_away_is_drift_even_if_nobody_owns_it(live: dict[Key, Manifest]) -> None:
    del live[SERVICE]["metadata"]["labels"]["valkeeper.io/cluster"]
    del live[SERVICE]["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]
    (drift,) = find_drift(STAGE, live)
    assert drift.fields == ("metadata.labels.valkeeper.io/cluster",)
    assert drift.managers == ()
    assert drift.sentence() == "Service orders: metadata.labels.valkeeper.io/cluster changed"


def test_for_a_field_that_nobody_owns_the_last_foreign_manager_is_named(live: dict[Key, Manifest]) -> None:
    budget = live["PodDisruptionBudget", "orders"]
    del budget["spec"]["maxUnavailable"]
    budget["metadata"]["managedFields"] = [
        entry("valkeeper", {"f:metadata": {}}, at="2026-11-23T13:00:00Z"),
        entry("early", {"f:metadata": {"f:labels": {"f:a": {}}}}, at="2026-11-23T09:00:00Z"),
        entry("late", {"f:spec": {"f:minAvailable": {}}}, at="2026-11-23T10:00:00Z"),
        entry("kube-controller-manager", {"f:status": {}}, at="2026-11-23T12:00:00Z", part="status"),
    ]
    (drift,) = find_drift(STAGE, live)
    assert drift.managers == ("late",)


def test_an_item_that_is_gone_is_told_as_a_whole(live: dict[Key, Manifest]) -> None:
    headless = live["Service", "orders-headless"]
    headless["spec"]["ports"] = headless["spec"]["ports"][:1]
    headless["metadata"]["managedFields"] = [entry("k9s", {"f:spec": {"f:type": {}}})]
    (drift,) = find_drift(STAGE, live)
    assert (drift.fields, drift.managers) == (("spec.ports.bus",), ("k9s",))


@pytest.mark.parametrize(
    ("declared", "there"),
    [
        ({"requests": {"memory": "1024Mi"}}, {"requests": {"memory": "1Gi"}}),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "2000m"}}),
        ({"requests": {"storage": "1e3"}}, {"requests": {"storage": "1k"}}),
        ({"value": "", "terms": [], "data": {}, "gone": None}, {}),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "y"}, {"name": "x", "v": 1, "w": 2}]}),
        ({"a": [{"v": 1}]}, {"a": [{"v": 1, "w": 2}]}),
    ],
    ids=["bytes", "cpu", "storage", "empty is absent", "appended", "by name", "by place"],
)
def test_these_are_the_same(declared: Any, there: Any) -> None:
    assert list(differences(declared, there)) == []


@pytest.mark.parametrize(
    ("declared", "there", "path"),
    [
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "2Gi"}}, ("requests", "memory")),
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "lots"}}, ("requests", "memory")),
        ({"requests": {"memory": "1Gi"}}, {"requests": {}}, ("requests", "memory")),
        ({"data": {"size": "1024Mi"}}, {"data": {"size": "1Gi"}}, ("data", "size")),
        ({"a": {"b": 1}}, {"a": "text"}, ("a",)),
        ({"a": {"b": 1}}, {}, ("a",)),
        ({"a": [1]}, {"a": "text"}, ("a",)),
        ({"a": [1]}, {}, ("a",)),
        ({"a": [1, 2]}, {"a": [1]}, ("a",)),
        ({"a": [1, 2]}, {"a": [2, 1]}, ("a", 0)),
        ({"a": False}, {}, ("a",)),
        ({"a": ""}, {"a": "x"}, ("a",)),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "x", "v": 2}]}, ("a", "x", "v")),
    ],
)
def test_these_differ_at(declared: Any, there: Any, path: tuple[str | int, ...]) -> None:
    assert next(differences(declared, there)) == path


OWNED = {
    "metadata": {"managedFields": []},
    "spec": {
        "command": ["sh", "-c"],
        "list": [
            {"topologyKey": "zone", "whenUnsatisfiable": "x"},
            {"topologyKey": "host", "whenUnsatisfiable": "x"},
        ],
        "mounts": [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/etc"}],
    },
}


@pytest.mark.parametrize(
    ("tree", "path", "holds"),
    [
        ({"f:spec": {"f:command": {}}}, ("spec", "command", 1), True),
        (
            {"f:spec": {"f:list": {'k:{"topologyKey":"host","whenUnsatisfiable":"x"}': {}}}},
            ("spec", "list", 1),
            True,
        ),
        (
            {"f:spec": {"f:list": {'k:{"topologyKey":"host","whenUnsatisfiable":"x"}': {}}}},
            ("spec", "list", 0),
            False,
        ),
        (
            {"f:spec": {"f:mounts": {'k:{"mountPath":"/data"}': {"f:name": {}}}}},
            ("spec", "mounts", "data", "name"),
            True,
        ),
        ({"f:spec": {".": {}}}, ("spec", "command"), False),
        ({"f:spec": {"f:list": {'v:"x"': {}}}}, ("spec", "list", 7), False),
        (None, ("spec",), False),
    ],
)
def test_managed_fields_are_walked_along_the_live_object(
    tree: dict[str, Any] | None,
    path: tuple[str | int, ...],
    holds: bool,
) -> None:
    other = entry("later", {"f:metadata": {}}, at="2027-01-01T00:00:00Z")
    obj = OWNED | {"metadata": {"managedFields": [entry("editor", tree or {}) | {"fieldsV1": tree}, other]}}
    assert owners(obj, path) == (("editor",) if holds else ("later",))


def test_an_object_without_managed_fields_has_no_owners() -> None:
    assert owners({"metadata": {}, "spec": {}}, ("spec",)) == ()


def test_an_empty_stage_has_no_drift(live: dict[Key, Manifest]) -> None:
    assert find_drift(Stage(()), live) == ()
