"""spec -> manifests: pinned whole by golden files, and by properties that hold for every spec.

A changed golden file means that users' objects change with the next version. `UPDATE_GOLDEN=1 pytest
tests/unit/test_resources.py` writes the files anew; read the diff before you commit it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from valkey_cluster import names
from valkey_cluster.resources import Identity, Manifest
from valkey_cluster.spec import NOT_SUPPORTED_YET, ValkeyClusterSpec, parse
from valkey_cluster.stage import Stage, config_of, key, render, template_of

IDENTITY = Identity("shop", "orders", "5e1f0c9a-0000-4000-8000-000000000001")
GOLDEN = Path(__file__).parent / "golden"

SHORTEST: dict[str, Any] = {"shards": 3}

# Changing it restarts the pods of every cluster that has this spec once its next roll comes: say so in
# CHANGELOG.md ("Rolls pods: yes") and in the commit, then pin the new one.
TEMPLATE_OF_THE_SHORTEST_SPEC = "3149d044e1ae9ad8"

WHOLE: dict[str, Any] = {
    "version": "9.1.2",
    "image": {
        "repository": "registry.example.com/valkey/valkey",
        "tag": "9.1.2-bookworm",
        "digest": f"sha256:{'ab' * 32}",
        "pullPolicy": "Always",
        "pullSecrets": ["registry", "mirror"],
    },
    "shards": 2,
    "replicasPerShard": 2,
    "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 2, "memory": "2048Mi"}},
    "resizePolicy": {"cpu": "NotRequired", "memory": "RestartContainer"},
    "persistence": {
        "size": "10240Mi",
        "storageClassName": "fast",
        "rdb": {"save": ["900 1", "300 100"]},
        "aof": {"fsync": "always"},
        "whenDeleted": "Delete",
        "whenScaled": "Retain",
    },
    "config": {"maxclients": "5000", "cluster-node-timeout": "3000", "repl-diskless-sync-delay": "2"},
    "maxmemory": {"percent": 50, "policy": "allkeys-lfu"},
    "scheduling": {
        "nodes": "Required",
        "zones": "Required",
        "nodeSelector": {"pool": "valkey"},
        "tolerations": [
            {"key": "dedicated", "value": "valkey", "effect": "NoSchedule"},
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30},
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "ssd", "operator": "Exists"}]}]
                }
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "rack", "labelSelector": {"matchLabels": {"app": "batch"}}}
                ]
            },
        },
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
    },
    "labels": {"team": "checkout"},
    "annotations": {"example.com/cost-center": "42"},
    "terminationGracePeriodSeconds": 120,
}

SPECS = {
    "shortest": SHORTEST,
    "whole": WHOLE,
    "cache": {"shards": 1, "replicasPerShard": 0, "persistence": {"enabled": False}},
    "no-budget-no-spread": {
        "shards": 1,
        "podDisruptionBudget": {"enabled": False},
        "scheduling": {"nodes": "Disabled", "zones": "Disabled"},
    },
    "version-8.1.1": {"shards": 1, "version": "8.1.1"},
    "version-9.1.2": {"shards": 1, "version": "9.1.2"},
}


def spec(fields: dict[str, Any]) -> ValkeyClusterSpec:
    return parse(fields, IDENTITY.name)


def stage(fields: dict[str, Any]) -> Stage:
    return render(IDENTITY, spec(fields))


def of_kind(of: Stage, kind: str) -> list[Manifest]:
    return [manifest for manifest in of.manifests if manifest["kind"] == kind]


def pods(of: Stage) -> list[Manifest]:
    return [manifest["spec"]["template"]["spec"] for manifest in of_kind(of, "StatefulSet")]


def containers(of: Stage) -> list[Manifest]:
    return [container for pod in pods(of) for container in pod["containers"]]


class _Text(yaml.SafeDumper):
    """YAML for people: no aliases, and texts of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Text.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


@pytest.mark.parametrize("name", SPECS)
def test_the_manifests_are_those_of_the_golden_file(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    made = stage(SPECS[name]).manifests
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(yaml.dump_all(made, Dumper=_Text, sort_keys=False, width=110))
    assert list(made) == list(yaml.safe_load_all(path.read_text()))


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(SPECS)


def test_the_pod_template_of_the_shortest_spec_is_pinned() -> None:
    templates = [template_of(manifest) for manifest in of_kind(stage(SHORTEST), "StatefulSet")]
    assert templates[0] == TEMPLATE_OF_THE_SHORTEST_SPEC
    assert len(set(templates)) == 3, "each shard's template names its own shard"


def test_the_two_versions_differ_in_nothing_but_image_shutdown_and_what_is_named_after_them() -> None:
    old, new = (
        (GOLDEN / f"version-{version}.yaml").read_text().splitlines() for version in ("8.1.1", "9.1.2")
    )
    named = ("orders-config-", names.ANNOTATION_TEMPLATE, "image: ")
    assert {line for line in set(new) - set(old) if not any(name in line for name in named)} == {
        "    shutdown-on-sigterm failover"
    }
    assert not {line for line in set(old) - set(new) if not any(name in line for name in named)}


SPREAD = st.sampled_from(["Preferred", "Required", "Disabled"])
LABELS = st.dictionaries(
    st.sampled_from(["team", "app", "example.com/tier", "shard"]), st.sampled_from(["a", ""])
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    memory = draw(st.sampled_from(["64Mi", "128Mi", "1Gi", "1500M"]))
    return {
        "shards": draw(st.integers(1, 4)),
        "replicasPerShard": draw(st.integers(0, 2)),
        "version": draw(st.sampled_from(["8.0.0", "8.1.1", "9.0.0", "9.1.2"])),
        "persistence": draw(
            st.sampled_from([{}, {"enabled": False}, {"size": "2Gi", "aof": {"enabled": False}}])
        ),
        "resources": draw(
            st.sampled_from(
                [
                    {},
                    {"limits": {"memory": memory}},
                    {"requests": {"memory": memory}},
                    {"limits": {"cpu": "50m"}},
                ]
            )
        ),
        "labels": draw(LABELS),
        "annotations": draw(LABELS),
        "podDisruptionBudget": {"enabled": draw(st.booleans())},
        "scheduling": {"nodes": draw(SPREAD), "zones": draw(SPREAD), "nodeSelector": draw(LABELS)},
    }


anything = given(specs())
few = settings(max_examples=40, deadline=None)


@anything
@few
def test_the_same_spec_gives_the_same_bytes(fields: dict[str, Any]) -> None:
    again = json.loads(json.dumps(fields))
    backwards = dict(reversed(list(again.items())))
    assert json.dumps(stage(fields).manifests) == json.dumps(stage(again).manifests)
    assert stage(fields).hash == stage(backwards).hash


@anything
@few
def test_a_stage_is_plain_json(fields: dict[str, Any]) -> None:
    made = stage(fields).manifests
    assert json.loads(json.dumps(made)) == list(made)


@anything
@few
def test_no_two_objects_have_the_same_kind_and_name(fields: dict[str, Any]) -> None:
    assert set(Counter(map(key, stage(fields).manifests)).values()) == {1}


@anything
@few
def test_every_object_says_whose_it_is(fields: dict[str, Any]) -> None:
    for manifest in stage(fields).manifests:
        metadata = manifest["metadata"]
        assert metadata["namespace"] == "shop"
        assert metadata["labels"].items() >= {**fields["labels"], **names.cluster_labels("orders")}.items()
        own = {name for name in metadata.get("annotations", {}) if name.startswith("valkeeper.io/")}
        assert own == ({names.ANNOTATION_LIMIT} if manifest["kind"] == "ConfigMap" else set())
        given = {name: text for name, text in metadata.get("annotations", {}).items() if name not in own}
        assert given == fields["annotations"]
        (owner,) = metadata["ownerReferences"]
        assert owner == {
            "apiVersion": "valkeeper.io/v1alpha1",
            "kind": "ValkeyCluster",
            "name": "orders",
            "uid": IDENTITY.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


@anything
@few
def test_selectors_match_the_pods_of_their_shard_or_cluster_and_no_others(fields: dict[str, Any]) -> None:
    made = stage(fields)
    templates = {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["metadata"]["labels"]
        for manifest in of_kind(made, "StatefulSet")
    }
    for manifest in made.manifests:
        selector = manifest.get("spec", {}).get("selector")
        if selector is None:
            continue
        wanted = selector.get("matchLabels", selector).items()
        matched = {name for name, labels in templates.items() if labels.items() >= wanted}
        name = manifest["metadata"]["name"]
        assert matched == ({name} if manifest["kind"] == "StatefulSet" else set(templates))


@anything
@few
def test_a_users_label_can_not_take_a_pod_out_of_a_selector(fields: dict[str, Any]) -> None:
    for manifest in of_kind(stage(fields), "StatefulSet"):
        labels = manifest["spec"]["template"]["metadata"]["labels"]
        assert labels.items() >= {**fields["labels"]}.items()
        assert labels.items() >= manifest["spec"]["selector"]["matchLabels"].items()


@anything
@few
def test_requests_are_always_set(fields: dict[str, Any]) -> None:
    for container in containers(stage(fields)):
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert {one["resourceName"] for one in container["resizePolicy"]} == {"cpu", "memory"}


@anything
@few
def test_pods_meet_pod_security_restricted(fields: dict[str, Any]) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards; and no token, and no writable root."""
    for pod in pods(stage(fields)):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"configMap", "emptyDir"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in container["ports"])


@anything
@few
def test_spread_constraints_are_unique(fields: dict[str, Any]) -> None:
    """The API server refuses two of the same topologyKey and whenUnsatisfiable."""
    for pod in pods(stage(fields)):
        pairs = [(one["topologyKey"], one["whenUnsatisfiable"]) for one in pod["topologySpreadConstraints"]]
        assert len(pairs) == len(set(pairs)) == 2


@anything
@few
def test_every_mount_has_its_volume(fields: dict[str, Any]) -> None:
    for manifest in of_kind(stage(fields), "StatefulSet"):
        pod = manifest["spec"]["template"]["spec"]
        claims = [claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", [])]
        volumes = [volume["name"] for volume in pod["volumes"]] + claims
        mounts = [mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]]
        assert sorted(mounts) == sorted(volumes)


@anything
@few
def test_every_pod_says_which_template_it_is_of(fields: dict[str, Any]) -> None:
    marks = [template_of(manifest) for manifest in of_kind(stage(fields), "StatefulSet")]
    assert all(marks)
    assert len(set(marks)) == fields["shards"]


@anything
@few
def test_pods_read_the_config_map_of_their_edition(fields: dict[str, Any]) -> None:
    (config,) = of_kind(stage(fields), "ConfigMap")
    assert {config_of(one) for one in of_kind(stage(fields), "StatefulSet")} == {config["metadata"]["name"]}


SAME_EDITION: dict[str, dict[str, Any]] = {
    "live directives": {"config": {"maxclients": "99", "hz": "20"}},
    "memory": {"resources": {"limits": {"memory": "1Gi"}}},
    "shards": {"shards": 5},
}
OTHER_EDITION: dict[str, dict[str, Any]] = {
    "a directive that takes a restart": {"config": {"databases": "32"}},
    "another version": {"version": "9.1.1"},
}


@pytest.mark.parametrize("fields", SAME_EDITION.values(), ids=SAME_EDITION)
def test_what_a_running_server_can_be_told_makes_no_new_edition(fields: dict[str, Any]) -> None:
    assert _config_map_of(fields) == _config_map_of({})


@pytest.mark.parametrize("fields", OTHER_EDITION.values(), ids=OTHER_EDITION)
def test_what_it_cannot_be_told_makes_one(fields: dict[str, Any]) -> None:
    assert _config_map_of(fields) != _config_map_of({})


def _config_map_of(fields: dict[str, Any]) -> str:
    (config,) = of_kind(stage({"shards": 3, **fields}), "ConfigMap")
    name: str = config["metadata"]["name"]
    return name


@anything
@few
def test_sigterm_reaches_a_server_at_any_moment(fields: dict[str, Any]) -> None:
    """Not as process 1, which is deaf to it until it has a handler."""
    assert {pod["shareProcessNamespace"] for pod in pods(stage(fields))} == {True}


@anything
@few
def test_only_the_daemon_restarts_pods(fields: dict[str, Any]) -> None:
    for manifest in of_kind(stage(fields), "StatefulSet"):
        assert manifest["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert manifest["spec"]["podManagementPolicy"] == "Parallel"
        assert manifest["spec"]["replicas"] == 1 + fields["replicasPerShard"]


def test_the_users_affinity_stays_and_ours_stands_beside_it() -> None:
    given_affinity = WHOLE["scheduling"]["affinity"]
    affinity = pods(stage(WHOLE))[0]["affinity"]
    assert affinity["nodeAffinity"] == given_affinity["nodeAffinity"]
    terms = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [term["topologyKey"] for term in terms] == ["rack", names.LABEL_HOST, names.LABEL_ZONE]
    assert terms[0] == given_affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]


def test_making_manifests_leaves_the_users_affinity_alone() -> None:
    whole = spec(WHOLE)
    render(IDENTITY, whole)
    assert whole == spec(WHOLE)


@pytest.mark.parametrize("part", [None, {"preferredDuringSchedulingIgnoredDuringExecution": None}])
def test_a_null_in_the_users_affinity_counts_as_absent(part: Any) -> None:
    fields = {"shards": 1, "scheduling": {"affinity": {"podAntiAffinity": part}}}
    assert pods(stage(fields))[0]["affinity"] == pods(stage({"shards": 1}))[0]["affinity"]


@pytest.mark.parametrize("sizes", [("1024Mi", "1Gi"), ("1048576Ki", "1Gi")])
def test_quantities_are_written_as_the_api_server_keeps_them(sizes: tuple[str, str]) -> None:
    written, kept = sizes
    (claim,) = of_kind(stage({"shards": 1, "persistence": {"size": written}}), "StatefulSet")[0]["spec"][
        "volumeClaimTemplates"
    ]
    assert claim["spec"]["resources"]["requests"]["storage"] == kept


# One other value of each field that can be set; its manifests must differ, or the field is ignored.
OTHER: dict[str, Any] = {
    "version": "8.1.1",
    "image": {"tag": "other"},
    "shards": 5,
    "replicasPerShard": 2,
    "resources": {"limits": {"memory": "1Gi"}},
    "resizePolicy": {"memory": "RestartContainer"},
    "persistence": {"size": "5Gi"},
    "config": {"maxclients": "17"},
    "maxmemory": {"percent": 33},
    "scheduling": {"nodes": "Required"},
    "podDisruptionBudget": {"enabled": False},
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "terminationGracePeriodSeconds": 77,
}


WHEN = {"updatePolicy", "rebalance"}
"""Fields that say when and how something is done, and not what is made."""


def test_every_field_of_the_spec_is_either_refused_or_stands_in_the_table_above() -> None:
    fields = {field.alias or name for name, field in ValkeyClusterSpec.model_fields.items()}
    refused = {row.field.partition(".")[0] for row in NOT_SUPPORTED_YET}
    assert fields - refused - WHEN == set(OTHER), "when to follow changes nothing that is made"


@pytest.mark.parametrize("field", OTHER)
def test_each_field_changes_what_is_made(field: str) -> None:
    assert stage({"shards": 3, field: OTHER[field]}).hash != stage(SHORTEST).hash
