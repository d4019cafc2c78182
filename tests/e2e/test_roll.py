"""Pods of a running cluster are replaced, and no acknowledged write is lost, whatever happens beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.kube.kinds import NODE, POD
from local import cluster as local_cluster
from tests.bench.traffic import running_traffic
from tests.e2e.clusters import CACHE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.bench.traffic import Running
    from tests.e2e.clusters import Cluster, Clusters
    from tests.e2e.figures import Figures
    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e

KEEP: dict[str, Any] = {"size": "64Mi", "whenDeleted": "Delete"}


def traffic_on(cluster: Cluster, shards: int = 3) -> AbstractContextManager[Running]:
    """Writers to every shard until the block ends; then all that was acknowledged is read back."""
    return running_traffic(lambda: [one["status"].get("podIP", "") for one in cluster.pods()], shards=shards)


def annotate(cluster: Cluster, value: str) -> None:
    """An edit of the pods' template."""
    cluster.edit({"annotations": {"example.com/roll": value}})


def on_template(cluster: Cluster, value: str) -> set[str]:
    """Names of the pods that have the edit."""
    return {
        pod["metadata"]["name"]
        for pod in cluster.pods()
        if pod["metadata"].get("annotations", {}).get("example.com/roll") == value
    }


def test_a_roll_replaces_each_pod_once_and_loses_nothing(clusters: Clusters, figures: Figures):
    cluster = clusters.make("rolled", shards=3, replicas=1, persistence=KEEP)
    cluster.wait_ready()
    before = cluster.pod_uids()
    with traffic_on(cluster) as traffic:
        annotate(cluster, "1")
        cluster.until(lambda: len(on_template(cluster, "1")) == len(before), "all pods are new", 120)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    figures.note("roll of 6 pods: longest gap", traffic.result.longest_gap_ms, 80, "ms")
    assert not set(before.values()) & set(cluster.pod_uids().values())
    evictions = cluster.events("Evict")
    assert len(evictions) == len(before), evictions
    assert len(cluster.events("Failover")) >= 3

    # A second one right after, when the roles have moved.
    again = cluster.pod_uids()
    with traffic_on(cluster) as traffic:
        annotate(cluster, "2")
        cluster.until(lambda: len(on_template(cluster, "2")) == len(before), "all pods are new", 120)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    assert not set(again.values()) & set(cluster.pod_uids().values())


def test_a_shard_without_replicas_is_rolled_by_way_of_one_that_is_added(clusters: Clusters):
    cluster = clusters.make("single", shards=2, replicas=0, persistence=KEEP)
    cluster.wait_ready()
    before = cluster.pod_uids()
    with traffic_on(cluster, shards=2) as traffic:
        annotate(cluster, "1")
        cluster.until(lambda: on_template(cluster, "1") >= set(before), "both pods are new", 120)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    assert set(cluster.pod_uids()) == set(before), "the added replicas are gone"
    assert cluster.claims() == ["data-single-0-0", "data-single-1-0"], "and their volumes"


def test_a_pod_that_is_lost_in_a_roll_comes_back_as_its_shard_is(clusters: Clusters):
    cluster = clusters.make("crossed", shards=3, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    with traffic_on(cluster) as traffic:
        annotate(cluster, "1")
        cluster.until(lambda: on_template(cluster, "1"), "shard 0 is being rolled", 60)
        lost = next(iter(sorted(name for name in cluster.pod_uids() if name.startswith("crossed-2-"))))
        uid = cluster.pod_uids()[lost]
        cluster.api.delete(POD, cluster.namespace, lost)
        cluster.until(lambda: cluster.pod_uids().get(lost, uid) != uid, "it is back")
        first = next(pod for pod in cluster.pods() if pod["metadata"]["name"] == lost)
        assert "example.com/roll" not in first["metadata"]["annotations"], "it ran ahead of its shard"
        cluster.until(lambda: len(on_template(cluster, "1")) == len(cluster.pods()), "all are new", 120)
        cluster.wait_ready()
    assert traffic.result.lost == ()


def test_a_daemon_killed_at_each_step_of_a_roll_leaves_a_roll_that_ends(own: OwnDaemon):
    cluster = own.clusters().make("reborn", shards=2, replicas=1, persistence=CACHE)
    own.start()
    cluster.wait_ready()
    own.stop()
    annotate(cluster, "1")
    with traffic_on(cluster, shards=2) as traffic:
        for kind in ("Provision", "Evict", "Failover"):
            for moment in ("before", "after"):
                own.start(failpoint=f"{moment}:{kind}")
                own.wait_killed()
        own.start()
        cluster.until(lambda: len(on_template(cluster, "1")) == len(cluster.pods()), "all are new", 120)
        cluster.wait_ready()
    assert traffic.result.lost == ()


def test_a_roll_goes_on_after_the_api_server_was_restarted(own: OwnDaemon):
    cluster = own.clusters().make("paused", shards=2, replicas=1, persistence=CACHE)
    own.start()
    cluster.wait_ready()
    with traffic_on(cluster, shards=2) as traffic:
        annotate(cluster, "1")
        cluster.until(lambda: cluster.events("Evict"), "it has begun", 60)
        local_cluster.stop_program("apiserver")
        local_cluster.start_program("apiserver")
        cluster.until(lambda: len(on_template(cluster, "1")) == len(cluster.pods()), "all are new", 180)
        cluster.wait_ready()
    assert traffic.result.lost == ()


def test_a_roll_goes_on_while_each_node_is_drained_in_turn(clusters: Clusters):
    cluster = clusters.make("drained", shards=3, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    with traffic_on(cluster) as traffic:
        annotate(cluster, "1")
        for node in sorted({pod["spec"]["nodeName"] for pod in cluster.pods()}):
            drain(cluster, node)
        cluster.until(lambda: len(on_template(cluster, "1")) == 6, "all are new", 180)
        cluster.wait_ready(120)
    assert traffic.result.lost == ()


def drain(cluster: Cluster, node: str) -> None:
    """What `kubectl drain` does to the cluster's pods on the node; then the node is open again."""
    cluster.api.patch(NODE, None, node, {"spec": {"unschedulable": True}})
    try:
        cluster.until(lambda: not evict_all(cluster, node), f"{node} is drained", 120)
    finally:
        cluster.api.patch(NODE, None, node, {"spec": {"unschedulable": False}})


def evict_all(cluster: Cluster, node: str) -> int:
    """Ask for each pod of the cluster on the node to go; how many there were. A budget may say no for now."""
    there = [pod["metadata"]["name"] for pod in cluster.pods() if pod["spec"].get("nodeName") == node]
    for name in there:
        path = POD.path(cluster.namespace, name, "eviction")
        metadata = {"namespace": cluster.namespace, "name": name}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        answer = cluster.api.http.post(path, json=body)
        assert answer.status_code in {201, 404, 429}, answer.text
    return len(there)


def test_a_primary_killed_is_replaced_at_the_kubelets_word_and_loses_nothing(
    clusters: Clusters, figures: Figures
):
    """Without persistence, at a node-timeout that the servers' own election would take much longer than."""
    cluster = clusters.make(
        "struck", shards=3, replicas=1, persistence=CACHE, config={"cluster-node-timeout": "15000"}
    )
    cluster.wait_ready()
    victim = next(pod for pod in cluster.pods() if pod["metadata"]["name"] in cluster.primaries())
    with traffic_on(cluster) as traffic:
        node = victim["spec"]["nodeName"]
        local_cluster.kill_container(node, victim["status"]["containerStatuses"][0]["containerID"])
        cluster.until(lambda: cluster.events("Failover"), "its replica takes over")
        cluster.wait_ready()
    assert traffic.result.lost == ()
    figures.note("primary killed, node-timeout 15 s: gap", traffic.result.longest_gap_ms, 1000, "ms")
    assert any("the kubelet says" in event for event in cluster.events("Failover"))
