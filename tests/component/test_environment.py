"""What an environment declares, under Pulumi's mocks, and what it refuses before declaring anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from recording import Recording, record

from stacks import rights
from stacks.config import parse
from stacks.environment import deploy
from stacks.ready import is_done, refusal
from stacks.rules import problems

STACKS = Path(__file__).parents[2] / "stacks"
ENVIRONMENTS = ("local", "dev", "staging", "prod")


def config(environment: str) -> dict[str, Any]:
    given = yaml.safe_load((STACKS / f"Pulumi.{environment}.yaml").read_text())["config"]
    return {name.removeprefix("valkeeper:"): value for name, value in given.items()}


def declared(given: dict[str, Any]) -> Recording:
    return record(lambda: deploy(parse(given), lambda namespace, name, _: f"{name}.{namespace}.svc:6379"))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_declares_its_daemon_and_its_clusters(environment: str) -> None:
    given = config(environment)
    made = declared(given)
    (daemon,) = made.of_type("kubernetes:apps/v1:Deployment")
    assert daemon.inputs["spec"]["replicas"] == given["daemon"]["replicas"]
    clusters = made.of_type("kubernetes:valkeeper.io/v1alpha1:ValkeyCluster")
    assert [one.name for one in clusters] == [
        f"{one['namespace']}/{one['name']}" for one in given["clusters"]
    ]
    assert [one.inputs["spec"] for one in clusters] == [one["spec"] for one in given["clusters"]]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_pods_of_every_namespace_it_makes_must_be_restricted(environment: str) -> None:
    spaces = declared(config(environment)).of_type("kubernetes:core/v1:Namespace")
    assert spaces
    for space in spaces:
        assert space.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_definition_is_installed_before_the_daemon_and_under_its_frozen_name(environment: str) -> None:
    made = declared(config(environment))
    kind = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
    definitions = {one.urn.rpartition("::")[2]: one for one in made.of_type(kind)}
    assert set(definitions) == {"valkeyclusters.valkeeper.io", "valkeyupgrades.valkeeper.io"}
    for name, definition in definitions.items():
        assert definition.urn == f"urn:pulumi:shop.orders::valkeeper::{kind}::{name}"
        assert definition.inputs["metadata"]["name"] == name
        assert definition.inputs["metadata"]["annotations"] == {"pulumi.com/patchForce": "true"}
    types = [one.type for one in made.resources]
    assert kind not in types[types.index("kubernetes:apps/v1:Deployment") :]


def test_no_path_of_this_machine_enters_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/somebody/.kube/config")
    made = declared(config("local"))
    (provider,) = made.of_type("pulumi:providers:kubernetes")
    assert "kubeconfig" not in provider.inputs
    assert os.environ["KUBECONFIG"] == "/home/somebody/.kube/config"


def test_a_daemon_that_watches_named_namespaces_has_rights_in_no_other() -> None:
    made = declared(config("prod"))
    (wide,) = made.of_type("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")
    assert [rule["resources"] for rule in wide.inputs["rules"]] == [["nodes"]]
    spaces = {one.inputs["metadata"]["namespace"] for one in _roles(made)}
    assert spaces == {"valkeeper-system", "valkey-prod"}


def test_a_daemon_that_watches_all_has_the_same_rights_everywhere() -> None:
    (wide,) = declared(config("dev")).of_type("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")
    granted = [tuple(rule["resources"]) for rule in wide.inputs["rules"]]
    assert granted == [tuple(rule["resources"]) for rule in (*rights.NAMESPACED, *rights.CLUSTER_WIDE)]


def _roles(made: Recording) -> list[Any]:
    return made.of_type("kubernetes:rbac.authorization.k8s.io/v1:Role")


def test_no_right_is_a_wildcard_and_pods_are_only_read() -> None:
    rules = (*rights.NAMESPACED, *rights.CLUSTER_WIDE, *rights.OWN)
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "pods/exec" not in rule["resources"]
        if "pods" in rule["resources"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
        if "secrets" in rule["resources"]:
            assert not {"list", "watch"} & set(rule["verbs"])


def test_the_daemons_pod_meets_the_restricted_standard() -> None:
    (daemon,) = declared(config("local")).of_type("kubernetes:apps/v1:Deployment")
    pod = daemon.inputs["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_cluster_that_breaks_the_rules_is_refused_with_all_problems_before_anything_is_made() -> None:
    given = config("prod")
    bad = {"name": "bad", "namespace": "valkey-prod", "spec": {"shards": 1, "replicasPerShard": 0}}
    worse = {"name": "worse", "namespace": "valkey-prod", "spec": {"shards": "three"}}
    given = {**given, "clusters": [*given["clusters"], bad, worse]}
    with pytest.raises(pulumi.RunError) as refused:
        declared(given)
    for field in ("spec.shards", "spec.replicasPerShard", "spec.scheduling.nodes"):
        assert f"valkey-prod/bad: {field}" in str(refused.value)
    assert "valkey-prod/worse: spec.shards" in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "value", "spec", "field"),
    [
        ("minReplicasPerShard", 2, {}, "spec.replicasPerShard"),
        ("minShards", 4, {}, "spec.shards"),
        ("persistenceRequired", True, {"persistence": {"enabled": False}}, "spec.persistence.enabled"),
        ("spreadRequired", True, {}, "spec.scheduling.nodes"),
        ("allowedRepositories", ["registry.example.com/"], {}, "spec.image.repository"),
    ],
)
def test_each_rule_names_the_field(rule: str, value: Any, spec: dict[str, Any], field: str) -> None:
    cluster = {"name": "c", "namespace": "n", "spec": {"shards": 3, **spec}}
    plain = parse({"daemon": {"image": "i:1"}, "clusters": [cluster]})
    strict = parse({"daemon": {"image": "i:1"}, "clusters": [cluster], "rules": {rule: value}})
    assert problems(plain.rules, plain.clusters) == ()
    (problem,) = problems(strict.rules, strict.clusters)
    assert problem.startswith(f"n/c: {field}: ")


def test_a_configuration_with_several_mistakes_says_all_of_them() -> None:
    with pytest.raises(pulumi.RunError) as refused:
        parse({"daemon": {"imagee": "i:1", "replicas": 0}, "rules": {"minShards": "x"}})
    for place in ("daemon.image:", "daemon.imagee", "daemon.replicas", "rules.minShards"):
        assert f"valkeeper:{place}" in str(refused.value)


def _cluster(
    generation: int = 1, observed: int = 1, phase: str = "Running", **conditions: str
) -> dict[str, Any]:
    told = [{"type": type_, "status": status, "message": f"{type_}!"} for type_, status in conditions.items()]
    status = {"observedGeneration": observed, "phase": phase, "conditions": told}
    return {"metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("cluster", "done"),
    [
        pytest.param(_cluster(Ready="True", Progressing="False"), True, id="ready"),
        pytest.param(_cluster(2, 1, Ready="True", Progressing="False"), False, id="an older spec is ready"),
        pytest.param(_cluster(Ready="True", Progressing="True"), False, id="still at work"),
        pytest.param(_cluster(phase="Updating", Ready="True", Progressing="False"), False, id="updating"),
        pytest.param(_cluster(Ready="False", Progressing="False"), False, id="not ready"),
        pytest.param({"metadata": {"generation": 1}}, False, id="nobody has looked yet"),
    ],
)
def test_done_means_that_the_present_spec_is_ready(cluster: dict[str, Any], done: bool) -> None:
    assert is_done(cluster) is done


def test_a_blocked_cluster_is_not_waited_for() -> None:
    assert refusal(_cluster(Blocked="True")) == "Blocked!"
    assert refusal(_cluster(2, 1, Blocked="True")) == ""
    assert refusal(_cluster(Ready="True")) == ""
    assert refusal({"metadata": {}}) == ""
