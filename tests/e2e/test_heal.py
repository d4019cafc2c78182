"""Members that go away come back, and no key goes with them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import PERSISTENT_VOLUME_CLAIM, POD
from local import cluster as local_cluster
from tests.e2e.clusters import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.clusters import Cluster, Clusters
    from tests.e2e.figures import Figures

pytestmark = pytest.mark.e2e

KEYS = 300
READY_S = 10.0
"""After the pods run."""


@contextmanager
def keys_that_must_stay(cluster: Cluster) -> Iterator[None]:
    """Keys over all slots, on primaries and replicas before, and still there after."""
    client = cluster.client()
    written = client.write(KEYS)
    client.wait_for_replicas(1)
    client.close()
    yield
    client = cluster.client()
    assert client.missing(written) == [], cluster.explain()
    client.close()


def delete_pods(cluster: Cluster, names: set[str]) -> None:
    for name in names:
        cluster.api.delete(POD, cluster.namespace, name)


def are_replaced(cluster: Cluster, before: dict[str, str], names: set[str]) -> bool:
    """New pods run under these names."""
    running = {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in cluster.pods()
        if "deletionTimestamp" not in pod["metadata"]
        and all("running" in one["state"] for one in pod["status"].get("containerStatuses", [{"state": {}}]))
    }
    return all(name in running and running[name] != before[name] for name in names)


def ready_again_s(cluster: Cluster, before: dict[str, str], names: set[str]) -> float:
    """Seconds from when the last new pod runs until the cluster is Ready."""
    cluster.until(lambda: are_replaced(cluster, before, names), "new pods run", 90)
    started = time.monotonic()
    cluster.until(lambda: cluster.is_whole() and cluster.is_done(), "Ready again", 90)
    return time.monotonic() - started


def primary_of(cluster: Cluster, shard: int) -> str:
    return next(name for name in cluster.primaries() if name.startswith(f"{cluster.name}-{shard}-"))


def test_a_deleted_primary_hands_over_and_comes_back_as_replica(shared: Cluster, figures: Figures):
    before = shared.pod_uids()
    primary = primary_of(shared, 0)
    with keys_that_must_stay(shared):
        delete_pods(shared, {primary})
        took_s = ready_again_s(shared, before, {primary})
    figures.at_most("one pod deleted: Ready after it runs", took_s, READY_S)
    now = primary_of(shared, 0)
    assert now != primary or was_put_back(shared, primary), "the one that was elected stays primary"
    topology = shared.status()["topology"][0]
    assert {topology["primary"], *topology["replicas"]} == {f"{shared.name}-0-0", f"{shared.name}-0-1"}
    assert {uid for name, uid in shared.pod_uids().items() if name != primary} == {
        uid for name, uid in before.items() if name != primary
    }


def test_all_pods_deleted_at_once_come_back_with_their_data(shared: Cluster, figures: Figures):
    before = shared.pod_uids()
    identities = {member.me.node_id for member in shared.members().values()}
    with keys_that_must_stay(shared):
        delete_pods(shared, set(before))
        took_s = ready_again_s(shared, before, set(before))
    figures.at_most("all pods deleted: Ready after they run", took_s, READY_S)
    members = shared.members()
    assert {member.me.node_id for member in members.values()} == identities
    told = {shard["primary"] for shard in shared.status()["topology"]}
    assert told == shared.primaries()


def test_a_killed_primary_of_a_cache_loses_no_acknowledged_key(clusters: Clusters, figures: Figures):
    config = {"cluster-node-timeout": "2000"}
    cluster = clusters.make("cache", shards=3, replicas=1, persistence=CACHE, config=config)
    cluster.wait_ready()
    primary = primary_of(cluster, 1)
    pod = next(pod for pod in cluster.pods() if pod["metadata"]["name"] == primary)
    container = pod["status"]["containerStatuses"][0]["containerID"]
    with keys_that_must_stay(cluster):
        local_cluster.kill_container(pod["spec"]["nodeName"], container)
        started = time.monotonic()
        cluster.until(lambda: was_restarted(cluster, primary), "its container is started again", 60)
        cluster.until(lambda: cluster.is_whole() and cluster.is_done(), "Ready again", 90)
        took_s = time.monotonic() - started
    figures.at_most("primary of a cache SIGKILLed, node-timeout 2 s: Ready", took_s, 20)
    assert primary_of(cluster, 1) != primary or was_put_back(cluster, primary)


def was_put_back(cluster: Cluster, name: str) -> bool:
    """The role went back to the pod, because its place had fewer primaries than could be."""
    return any(f"primaries: {name} takes over" in event for event in cluster.events("Failover"))


def was_restarted(cluster: Cluster, name: str) -> bool:
    pod = next(pod for pod in cluster.pods() if pod["metadata"]["name"] == name)
    return bool(pod["status"]["containerStatuses"][0]["restartCount"] == 1)


def test_a_member_that_lost_its_claim_is_replaced_and_forgotten_by_all(shared: Cluster):
    before, members = shared.pod_uids(), shared.members()
    replica = next(name for name, member in members.items() if not member.me.slots)
    gone = members[replica].me.node_id
    with keys_that_must_stay(shared):
        shared.api.delete(PERSISTENT_VOLUME_CLAIM, shared.namespace, f"data-{replica}")
        delete_pods(shared, {replica})
        ready_again_s(shared, before, {replica})
    after = shared.members()
    assert after[replica].me.node_id != gone
    known = {peer.node_id for member in after.values() for peer in member.all_known}
    assert gone not in known
    assert shared.events("Forget")
