"""From a ValkeyCluster object to a cluster that serves, and what is told of it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import NODE, POD_DISRUPTION_BUDGET
from local import paths
from tests.e2e.clusters import CACHE
from tests.e2e.installation import SYSTEM, WATCHED
from tests.e2e.waiting import timed
from valkey_cluster import config, names

if TYPE_CHECKING:
    from local.cluster import Cluster as Kubernetes
    from tests.e2e.api import Api
    from tests.e2e.clusters import Cluster, Clusters
    from tests.e2e.figures import Figures
    from tests.e2e.installation import Installation

pytestmark = pytest.mark.e2e

STORY = ["HoldFinalizer", "Provision", "SetConfig", "AssignSlots", "Meet", "Replicate", "Steady"]
"""The steps of a creation, in the order in which each comes first."""


def kubectl(*command: str) -> str:
    # Without a cache: a definition that was there a minute ago under the same short name is remembered.
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(paths.KUBECONFIG), "--cache-dir", cache, "-n", WATCHED, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def logged_steps(api: Api, installed: Installation, cluster: str) -> list[tuple[str, str]]:
    """Step and reason of each log line about the cluster."""
    lines = "\n".join(api.log(SYSTEM, pod["metadata"]["name"], 5000) for pod in installed.daemons())
    entries = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return [
        (entry["event"], entry["because"])
        for entry in entries
        if entry.get("cluster") == f"{WATCHED}/{cluster}" and "because" in entry
    ]


def test_a_new_cluster_is_ready_in_time_and_tells_its_story(
    api: Api, installed: Installation, clusters: Clusters, figures: Figures
):
    cluster = clusters.make("fresh", shards=3, replicas=1)
    took_s = timed(cluster.is_done, "Ready", 90, cluster.explain)
    assert cluster.is_whole(), cluster.explain()
    figures.at_most("CR to Ready, 3 shards x 1 replica", took_s, 8)

    told = cluster.until(
        lambda: cluster.events("Steady") and cluster.events(), "the last event is that it is steady"
    )
    assert list(dict.fromkeys(event.partition(":")[0] for event in told)) == STORY
    steps = logged_steps(api, installed, cluster.name)
    assert list(dict.fromkeys(kind for kind, _ in steps if kind != "Wait")) == STORY
    assert {f"{kind}: {because}" for kind, because in steps if kind in STORY} == set(told)


def test_every_slot_has_one_owner_and_every_primary_its_replica(shared: Cluster):
    members = shared.members()
    assert shared.is_whole(), shared.explain()
    shards = [name.rpartition("-")[0] for name, member in members.items() if member.me.slots]
    assert sorted(shards) == ["shared-0", "shared-1", "shared-2"]
    owners = {member.me.node_id: name for name, member in members.items() if member.me.slots}
    for name, member in members.items():
        if not member.me.slots:
            assert member.me.primary_id is not None
            assert owners[member.me.primary_id].rpartition("-")[0] == name.rpartition("-")[0]


def test_the_node_timeout_is_the_specs_once_the_cluster_serves(shared: Cluster):
    timeouts = {member.node_timeout_ms for member in shared.members().values()}
    assert timeouts == {config.DEFAULT_NODE_TIMEOUT_MS}


def test_primaries_of_a_new_cluster_are_in_three_zones(api: Api, clusters: Clusters):
    cluster = clusters.make("spread", shards=3, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    zones = {
        node["metadata"]["name"]: node["metadata"]["labels"][names.LABEL_ZONE]
        for node in api.items(NODE, None)
    }
    primaries = cluster.primaries()
    places = [
        zones[pod["spec"]["nodeName"]] for pod in cluster.pods() if pod["metadata"]["name"] in primaries
    ]
    assert sorted(places) == sorted(set(zones.values()))


def test_status_says_what_the_servers_say(shared: Cluster):
    status = shared.status()
    assert status["phase"] == "Running"
    assert status["members"] == "6/6"
    assert status["version"] == "9.1.2"
    assert status["endpoint"] == f"shared.{WATCHED}.svc:6379"
    assert [shard["slots"] for shard in status["topology"]] == ["0-5460", "5461-10921", "10922-16383"]
    assert {shard["primary"] for shard in status["topology"]} == shared.primaries()
    assert {shard["health"] for shard in status["topology"]} == {"Ok"}
    assert status["observedGeneration"] == shared.raw()["metadata"]["generation"]


def test_conditions_are_in_the_standard_form(shared: Cluster):
    held = {one["type"]: one for one in shared.status()["conditions"]}
    states = {type_: held[type_]["status"] for type_ in ("Ready", "Progressing", "Degraded")}
    assert states == {"Ready": "True", "Progressing": "False", "Degraded": "False"}
    assert held["ConfigurationValid"]["status"] == "True"
    generation = shared.raw()["metadata"]["generation"]
    for one in held.values():
        assert one["observedGeneration"] == generation
        assert one["reason"]
        assert one["message"]
        assert one["lastTransitionTime"]


def test_kubectl_waits_for_it_and_shows_it_in_columns(shared: Cluster):
    said = kubectl("wait", "--for=condition=Ready", f"vkc/{shared.name}", "--timeout=30s")
    assert "condition met" in said
    header, row = kubectl("get", "vkc", shared.name).splitlines()
    assert header.split()[:6] == ["NAME", "PHASE", "SHARDS", "READY", "VERSION", "STEP"]
    assert row.split()[:6] == ["shared", "Running", "3", "6/6", "9.1.2", "Steady"]


def test_one_shard_without_replicas_serves(clusters: Clusters):
    cluster = clusters.make("single", shards=1, replicas=0, persistence=CACHE)
    cluster.wait_ready()
    client = cluster.client()
    assert client.missing(client.write(50)) == []
    client.close()
    assert len(cluster.objects(POD_DISRUPTION_BUDGET)) == 1


def test_an_older_version_serves(kubernetes: Kubernetes, clusters: Clusters):
    older = kubernetes.valkey_versions[0]
    cluster = clusters.make("older", shards=1, replicas=1, persistence=CACHE, version=older)
    cluster.wait_ready()
    assert cluster.status()["version"] == older
    assert {member.version for member in cluster.members().values()} == {older}
