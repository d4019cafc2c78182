"""Resources change in place, directives change live, and what cannot be is refused with nothing touched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from valkey.exceptions import ValkeyError

from tests.e2e.clusters import CACHE
from tests.e2e.test_roll import traffic_on
from tests.e2e.valkeys import connect
from tests.e2e.waiting import timed

if TYPE_CHECKING:
    from tests.e2e.clusters import Cluster, Clusters
    from tests.e2e.figures import Figures
    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e


def memory(amount: str) -> dict[str, Any]:
    return {"resources": {"requests": {"memory": amount}, "limits": {"memory": amount}}}


def limits(cluster: Cluster) -> set[str]:
    """The memory limits that are in force, by the runtime's word."""
    return {
        pod["status"]["containerStatuses"][0].get("resources", {}).get("limits", {}).get("memory", "")
        for pod in cluster.pods()
    }


def directive(cluster: Cluster, name: str) -> set[str]:
    """The values that the servers have; empty for one that does not answer."""
    return {_directive(pod["status"].get("podIP", ""), name) for pod in cluster.pods()}


def _directive(ip: str, name: str) -> str:
    try:
        with connect(ip) as client:
            answer: Any = client.config_get(name)
    except (ValkeyError, OSError):
        return ""
    return str(answer.get(name, ""))


def restarts(cluster: Cluster) -> int:
    return sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.pods())


def test_memory_goes_up_and_down_in_place(clusters: Clusters, figures: Figures):
    cluster = clusters.make("stretch", shards=3, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    before = cluster.pod_uids()
    with traffic_on(cluster) as traffic:
        for amount, maxmemory in (("160Mi", 160 * 2**20 * 75 // 100), ("96Mi", 96 * 2**20 * 75 // 100)):
            cluster.edit(memory(amount))
            wanted = str(maxmemory)
            took_s = timed(
                lambda amount=amount, wanted=wanted: (
                    limits(cluster) == {amount} and directive(cluster, "maxmemory") == {wanted}
                ),
                f"every pod has {amount}",
                60,
                cluster.explain,
            )
            figures.at_most(f"resize of 6 pods to {amount}", took_s, 6)
            cluster.wait_ready()
    assert traffic.result.lost == ()
    figures.note("resize: longest gap", traffic.result.longest_gap_ms, 50, "ms")
    assert cluster.pod_uids() == before
    assert restarts(cluster) == 0


def test_a_daemon_killed_at_each_resize_leaves_one_that_ends(own: OwnDaemon):
    cluster = own.clusters().make("again", shards=1, replicas=1, persistence=CACHE)
    own.start()
    cluster.wait_ready()
    before = cluster.pod_uids()
    own.stop()
    cluster.edit(memory("128Mi"))
    for moment in ("before", "after"):
        own.start(failpoint=f"{moment}:Resize")
        own.wait_killed()
    own.start()
    cluster.until(lambda: limits(cluster) == {"128Mi"}, "resized")
    cluster.wait_ready()
    assert cluster.pod_uids() == before
    assert restarts(cluster) == 0


def test_resources_that_no_node_has_are_refused_before_anything_is_touched(clusters: Clusters):
    cluster = clusters.make("giant", shards=1, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    before = cluster.pod_uids(), limits(cluster)
    cluster.edit(memory("4Ti"))
    cluster.until(lambda: cluster.condition("Blocked").get("status") == "True", "Blocked")
    assert cluster.condition("Blocked")["reason"] == "NoNodeFits", cluster.condition("Blocked")
    cluster.edit(memory("96Mi"))
    cluster.wait_ready()
    assert (cluster.pod_uids(), limits(cluster)) == before


def test_less_memory_than_the_data_take_is_refused_and_nothing_is_lost(clusters: Clusters):
    cluster = clusters.make("stuffed", shards=1, replicas=1, persistence=CACHE, **memory("160Mi"))
    cluster.wait_ready()
    client = connect(next(pod["status"]["podIP"] for pod in cluster.pods() if _is_primary(cluster, pod)))
    for number in range(60):
        client.set(f"big:{number}", b"x" * 2**20)
    cluster.edit(memory("64Mi"))
    cluster.until(lambda: cluster.condition("Blocked").get("status") == "True", "Blocked")
    assert cluster.condition("Blocked")["reason"] == "DataTooLarge", cluster.condition("Blocked")
    assert client.dbsize() == 60
    assert directive(cluster, "maxmemory") == {str(160 * 2**20 * 75 // 100)}
    client.close()
    cluster.edit(memory("160Mi"))
    cluster.wait_ready()


def _is_primary(cluster: Cluster, pod: dict[str, Any]) -> bool:
    return pod["metadata"]["name"] in cluster.primaries()


def test_a_live_directive_is_in_force_at_once_and_others_by_a_roll(clusters: Clusters, figures: Figures):
    cluster = clusters.make("tuned", shards=3, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    before = cluster.pod_uids()
    cluster.edit({"config": {"maxclients": "5000"}})
    took_s = timed(lambda: directive(cluster, "maxclients") == {"5000"}, "in force", 30, cluster.explain)
    figures.at_most("live directive on 6 pods", took_s, 2)
    cluster.wait_ready()
    assert cluster.pod_uids() == before
    assert restarts(cluster) == 0

    cluster.edit({"config": {"maxclients": "5000", "databases": "4"}})
    cluster.until(lambda: directive(cluster, "databases") == {"4"}, "rolled", 120)
    cluster.wait_ready()
    assert not set(before.values()) & set(cluster.pod_uids().values())


def test_directives_are_checked_all_together_before_anything_changes(clusters: Clusters):
    cluster = clusters.make("typo", shards=1, replicas=0, persistence=CACHE)
    cluster.wait_ready()
    started = time.time()
    cluster.edit({"config": {"maxclient": "5000", "maxmemory-samples": "many"}})
    cluster.until(lambda: cluster.condition("ConfigurationValid").get("status") == "False", "refused")
    message = cluster.condition("ConfigurationValid")["message"]
    assert "maxclient:" in message, message
    assert "maxclients" in message, message
    assert "maxmemory-samples" in message, message
    assert not [event for event in cluster.events("SetConfig") if "maxmemory-samples" in event], started
    cluster.edit({"config": {"maxclient": None, "maxmemory-samples": None}})
    cluster.wait_ready()
