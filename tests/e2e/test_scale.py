"""Shards and replicas more and less under traffic: slots arrive, nothing is lost, nothing is left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from daemon.kube.kinds import PERSISTENT_VOLUME_CLAIM, VALKEY_CLUSTER
from local import cluster as local_cluster
from tests.e2e.clusters import CACHE
from tests.e2e.test_heal import delete_pods, keys_that_must_stay, primary_of, ready_again_s
from tests.e2e.test_roll import traffic_on
from valkey_cluster import slots

if TYPE_CHECKING:
    from tests.e2e.clusters import Cluster, Clusters
    from tests.e2e.figures import Figures
    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e

KEEP: dict[str, Any] = {"size": "64Mi", "whenDeleted": "Delete"}


def shares(cluster: Cluster) -> list[int]:
    """How many slots each primary owns."""
    owned = (slots.count(member.me.slots) for member in cluster.members().values())
    return sorted(count for count in owned if count)


def is_even(cluster: Cluster, shards: int) -> bool:
    found = shares(cluster)
    return len(found) == shards and found[-1] - found[0] <= 1


def test_shards_come_and_go_under_traffic_and_nothing_is_lost(clusters: Clusters, figures: Figures):
    cluster = clusters.make("elastic", shards=3, replicas=1, persistence=KEEP)
    cluster.wait_ready()
    before = cluster.pod_uids()
    with traffic_on(cluster) as traffic:
        started = time.monotonic()
        cluster.edit({"shards": 4})
        cluster.until(lambda: is_even(cluster, 4), "four shards share the slots", 120)
        cluster.wait_ready()
        figures.note("3 to 4 shards", time.monotonic() - started, 10, "s")
    assert traffic.result.lost == ()
    assert not any("CLUSTERDOWN" in error for error in traffic.result.errors)
    figures.note("3 to 4 shards: longest gap", traffic.result.longest_gap_ms, 120, "ms")
    assert before.items() <= cluster.pod_uids().items(), "no pod of the others was touched"
    assert cluster.condition("Rebalancing")["status"] == "False"
    assert cluster.status()["shards"] == 4

    with traffic_on(cluster, shards=4) as traffic:
        started = time.monotonic()
        cluster.edit({"shards": 3})
        cluster.until(lambda: is_even(cluster, 3), "three shards share the slots", 120)
        cluster.wait_ready()
        figures.note("4 to 3 shards", time.monotonic() - started, 6, "s")
    assert traffic.result.lost == ()
    figures.note("4 to 3 shards: longest gap", traffic.result.longest_gap_ms, 120, "ms")
    assert cluster.pod_uids() == before, "the pods of the shard that went, and no others"
    cluster.until(lambda: len(cluster.claims()) == 6, "and their volumes")
    assert len(cluster.events("Retire")) == 2


def test_replicas_come_and_go_whoever_is_primary(clusters: Clusters):
    cluster = clusters.make("doubled", shards=2, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    with traffic_on(cluster, shards=2) as traffic:
        cluster.edit({"replicasPerShard": 2})
        cluster.until(lambda: len(cluster.members()) == 6, "two more members", 60)
        cluster.wait_ready()
        cluster.edit({"replicasPerShard": 0})
        cluster.until(lambda: len(cluster.pods()) == 2, "only primaries are left", 90)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    assert sorted(cluster.pod_uids()) == ["doubled-0-0", "doubled-1-0"]


def test_the_scale_subresource_changes_the_number_of_shards(clusters: Clusters):
    cluster = clusters.make("scaled", shards=1, replicas=0, persistence=CACHE)
    cluster.wait_ready()
    path = VALKEY_CLUSTER.path(cluster.namespace, cluster.name, "scale")
    scale = cluster.api.http.get(path).json()
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
    assert scale["status"]["selector"]
    scale["spec"]["replicas"] = 2
    assert cluster.api.http.put(path, json=scale).status_code == 200
    cluster.until(lambda: is_even(cluster, 2), "two shards share the slots", 60)
    cluster.wait_ready()
    assert cluster.api.http.get(path).json()["status"]["replicas"] == 2


def test_a_daemon_killed_every_few_seconds_still_brings_it_about(own: OwnDaemon):
    cluster = own.clusters().make("restless", shards=3, replicas=1, persistence=CACHE)
    own.start()
    cluster.wait_ready()
    with traffic_on(cluster) as traffic:
        cluster.edit({"shards": 5})
        killed_until(own, cluster, 5)
        cluster.edit({"shards": 2})
        killed_until(own, cluster, 2)
    assert traffic.result.lost == ()
    assert len(cluster.pods()) == 4


def killed_until(own: OwnDaemon, cluster: Cluster, shards: int) -> None:
    """Kill the daemon 5 s after each of its starts until the slots are even; then let it come to its end."""
    deadline = time.monotonic() + 180
    while not is_even(cluster, shards):
        assert time.monotonic() < deadline, cluster.explain()
        kill_at = time.monotonic() + 5
        cluster.until(lambda at=kill_at: time.monotonic() > at or is_even(cluster, shards), "5 s", 10)
        own.kill()
        own.start()
    cluster.wait_ready()


def kill(pod: Any) -> None:
    """SIGKILL its server."""
    container = pod["status"]["containerStatuses"][0]["containerID"]
    local_cluster.kill_container(pod["spec"]["nodeName"], container)


def test_two_primaries_of_three_lost_with_their_volumes_are_replaced_without_a_vote(
    clusters: Clusters, figures: Figures
):
    cluster = clusters.make("orphaned", shards=3, replicas=1, persistence=KEEP)
    cluster.wait_ready()
    before = cluster.pod_uids()
    lost = {primary_of(cluster, shard) for shard in (0, 1)}
    with keys_that_must_stay(cluster):
        for name in lost:
            cluster.api.delete(PERSISTENT_VOLUME_CLAIM, cluster.namespace, f"data-{name}")
        victims = [pod for pod in cluster.pods() if pod["metadata"]["name"] in lost]
        with ThreadPoolExecutor(2) as both:
            list(both.map(kill, victims))
        delete_pods(cluster, lost)
        took_s = ready_again_s(cluster, before, lost)
    figures.note("two of three primaries lost: Ready after the pods run", took_s, 15, "s")
    told = cluster.events("TakeOver")
    assert told, cluster.explain()  # of the one that died first, the replica may have had its votes
    assert all("writes that it had not received are lost" in event for event in told)
