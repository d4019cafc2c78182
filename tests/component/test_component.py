"""What the component makes of a stage: the tree in Pulumi's state, and nothing but the stage's manifests."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pulumi
import pytest
from pulumi.runtime.rpc import _special_secret_sig, _special_sig_key
from recording import STACK, Recording, Registered, record

from stacks.cluster import PROJECT, program
from valkey_cluster import ValkeyCluster, names
from valkey_cluster.component import shard_urn
from valkey_cluster.resources import Identity
from valkey_cluster.spec import parse
from valkey_cluster.stage import Stage, key, render

IDENTITY = Identity("shop", "orders", "5e1f0c9a-0000-4000-8000-000000000001")
CLUSTER = "valkeeper:index:ValkeyCluster"
SHARD = "valkeeper:index:ValkeyShard"
ADDED = {
    "pulumi.com/patchForce": "true",
    "pulumi.com/patchFieldManager": "valkeeper",
    "pulumi.com/skipAwait": "true",
}

# A URN that changes deletes the object it stood for and makes another: all pods of a shard die at once, and
# its claims are all that is left. No entry may ever change, also not together with the code; but for the
# ConfigMap's, which is another object with each edition of valkey.conf.
_IN = "urn:pulumi:shop.orders::valkeeper::valkeeper:index:ValkeyCluster"
_SHARD = "$valkeeper:index:ValkeyShard"
URNS = [
    "urn:pulumi:shop.orders::valkeeper::pulumi:providers:kubernetes::kubernetes",
    f"{_IN}$kubernetes:core/v1:ConfigMap::ConfigMap/orders-config-827d7cf0",
    f"{_IN}$kubernetes:core/v1:Service::Service/orders",
    f"{_IN}$kubernetes:core/v1:Service::Service/orders-headless",
    f"{_IN}$kubernetes:core/v1:ServiceAccount::ServiceAccount/orders-valkey",
    f"{_IN}$kubernetes:policy/v1:PodDisruptionBudget::PodDisruptionBudget/orders",
    f"{_IN}{_SHARD}$kubernetes:apps/v1:StatefulSet::StatefulSet/orders-0",
    f"{_IN}{_SHARD}$kubernetes:apps/v1:StatefulSet::StatefulSet/orders-1",
    f"{_IN}{_SHARD}$kubernetes:apps/v1:StatefulSet::StatefulSet/orders-2",
    f"{_IN}{_SHARD}::orders-0",
    f"{_IN}{_SHARD}::orders-1",
    f"{_IN}{_SHARD}::orders-2",
    f"{_IN}::orders",
]


def stage(**fields: Any) -> Stage:
    return render(IDENTITY, parse({"shards": 3, **fields}, IDENTITY.name))


@cache
def recorded() -> Recording:
    """The stack of a three-shard cluster."""
    return record(program(IDENTITY.name, stage()))


def manifest(one: Registered) -> dict[str, Any]:
    """What was registered, as it was before the component added its annotations."""
    metadata = dict(one.inputs["metadata"])
    annotations = {name: value for name, value in metadata.pop("annotations").items() if name not in ADDED}
    return {**one.inputs, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}


def test_urns_are_frozen() -> None:
    assert sorted(one.urn for one in recorded().resources) == URNS


def test_the_name_of_a_shards_set_in_the_state_is_known() -> None:
    assert shard_urn(STACK, PROJECT, "orders-1") in URNS


def test_every_object_of_the_stage_is_made_once_and_nothing_else() -> None:
    made = [key(one.inputs) for one in recorded().objects()]
    assert sorted(made) == sorted(map(key, stage().manifests))
    others = {one.type for one in recorded().resources if one not in recorded().objects()}
    assert others == {CLUSTER, SHARD, "pulumi:providers:kubernetes"}


def test_a_shard_holds_its_stateful_set_and_the_cluster_holds_the_rest() -> None:
    (cluster,) = recorded().of_type(CLUSTER)
    shards = {one.name: one for one in recorded().of_type(SHARD)}
    assert {one.parent for one in shards.values()} == {cluster.urn}
    for one in recorded().objects():
        name = one.inputs["metadata"]["name"]
        assert one.parent == (shards[name].urn if one.inputs["kind"] == "StatefulSet" else cluster.urn)


def test_stateful_sets_are_protected_and_nothing_else_is() -> None:
    protected = {one.type for one in recorded().resources if one.protect}
    assert protected == {"kubernetes:apps/v1:StatefulSet"}
    assert sum(one.protect for one in recorded().resources) == 3


def test_every_object_is_applied_under_one_name_by_force_and_not_awaited() -> None:
    for one in recorded().objects():
        assert one.inputs["metadata"]["annotations"].items() >= ADDED.items(), one.urn


def test_every_object_uses_the_one_explicit_provider() -> None:
    (provider,) = recorded().of_type("pulumi:providers:kubernetes")
    assert {one.provider for one in recorded().objects()} == {f"{provider.urn}::kubernetes-id"}
    assert provider.inputs["clusterIdentifier"] == "valkeeper"
    assert provider.inputs["enableServerSideApply"] == "true"
    assert provider.inputs["enableConfigMapMutable"] == "true"


def test_the_provider_takes_no_kubeconfig_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stand in the state, and another path would count as another cluster."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (provider,) = record(program("orders", stage())).of_type("pulumi:providers:kubernetes")
    assert set(provider.inputs) == {
        "clusterIdentifier",
        "enableConfigMapMutable",
        "enableSecretMutable",
        "enableServerSideApply",
        "suppressDeprecationWarnings",
    }


def test_no_input_is_a_secret() -> None:
    text = json.dumps([one.inputs for one in recorded().resources])
    assert _special_secret_sig not in text
    assert _special_sig_key not in text
    assert "Secret" not in {one.inputs.get("kind") for one in recorded().resources}


def test_manifests_arrive_unchanged() -> None:
    """Every field at every depth: Pulumi's classes rename what they take for Python names."""
    wanted = stage(
        labels={"cost_center": "42", "apiVersion": "x", "pod_name": "y"},
        annotations={"example.com/match_labels": "kept"},
        scheduling={
            "nodeSelector": {"node_pool": "valkey"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "tolerationSeconds": 5}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        },
    )
    made = {key(one.inputs): manifest(one) for one in record(program("orders", wanted)).objects()}
    assert made == wanted.by_key


def test_annotations_of_the_user_stay_beside_ours() -> None:
    recording = record(program("orders", stage(annotations={"example.com/team": "blue"})))
    for one in recording.objects():
        own = {names.ANNOTATION_LIMIT: str(256 * 2**20)} if one.inputs["kind"] == "ConfigMap" else {}
        assert one.inputs["metadata"]["annotations"] == {"example.com/team": "blue", **own, **ADDED}


def test_the_stage_itself_is_left_as_it_was() -> None:
    wanted = stage()
    before = wanted.hash
    record(program("orders", wanted))
    assert before == Stage(wanted.manifests).hash


def test_a_stage_with_fewer_objects_makes_fewer_resources() -> None:
    whole = stage()
    part = Stage(tuple(one for one in whole.manifests if one["metadata"]["name"] != "orders-2"))
    urns = {one.urn for one in record(program("orders", part)).resources}
    assert urns == {urn for urn in URNS if not urn.endswith("orders-2")}


def test_an_empty_stage_makes_only_the_cluster() -> None:
    recording = record(program("orders", Stage(())))
    assert [one.type for one in recording.resources] == ["pulumi:providers:kubernetes", CLUSTER]


def test_the_cluster_tells_its_stage() -> None:
    (cluster,) = recorded().of_type(CLUSTER)
    assert recorded().outputs[cluster.urn] == {"stageHash": stage().hash}


def test_the_component_works_in_a_users_own_program() -> None:
    """Without a provider of its own, under whatever the user gives."""

    def declare() -> None:
        ValkeyCluster("orders", stage(), pulumi.ResourceOptions(protect=False))

    recording = record(declare)
    assert len(recording.of_type(SHARD)) == 3
    assert {one.protect for one in recording.of_type("kubernetes:apps/v1:StatefulSet")} == {True}


def test_an_unknown_kind_is_an_error_and_not_left_out() -> None:
    odd = Stage(({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}},))
    with pytest.raises(KeyError, match="Pod"):
        record(program("orders", odd))
