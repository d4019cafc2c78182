"""Versions change by a ValkeyUpgrade: a canary, a soak, the rest; and back when it does not go well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.kube.kinds import VALKEY_UPGRADE
from local import images
from tests.e2e import bad_images
from tests.e2e.clusters import CACHE
from tests.e2e.test_roll import traffic_on
from valkey_cluster import names

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.clusters import Cluster, Clusters
    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e

KEEP: dict[str, Any] = {"size": "64Mi", "whenDeleted": "Delete"}
MISSING = "9.1.99"
"""A version of which there is no image."""


def versions() -> tuple[str, str]:
    """The older and the newer version that the nodes have."""
    older, newer = (image.reference.rpartition(":")[2] for image in images.ensure_base()[-2:])
    return older, newer


def upgrade(cluster: Cluster, version: str, **spec: Any) -> str:
    """A ValkeyUpgrade of the cluster; its name."""
    name = f"{cluster.name}-by-hand"
    body = {"clusterRef": {"name": cluster.name}, "version": version, "soakSeconds": 1, **spec}
    metadata = {"namespace": cluster.namespace, "name": name}
    cluster.api.create(VALKEY_UPGRADE, {"metadata": metadata, "spec": body})
    return name


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.api.get(VALKEY_UPGRADE, cluster.namespace, name) or {}
    told: dict[str, Any] = found.get("status", {})
    return told


def wait_phase(cluster: Cluster, name: str, phase: str, within_s: float = 120) -> dict[str, Any]:
    def reached() -> bool:
        return bool(status(cluster, name).get("phase") == phase)

    cluster.until(reached, f"ValkeyUpgrade {name} is {phase}, not {status(cluster, name)}", within_s)
    return status(cluster, name)


def annotate(cluster: Cluster, name: str, annotation: str, value: str | None = "true") -> None:
    patch = {"metadata": {"annotations": {annotation: value}}}
    cluster.api.patch(VALKEY_UPGRADE, cluster.namespace, name, patch)


def running(cluster: Cluster) -> set[str]:
    return {member.version for member in cluster.members().values()}


def test_an_edited_version_goes_by_way_of_an_upgrade_and_loses_nothing(clusters: Clusters):
    older, newer = versions()
    cluster = clusters.make("newer", shards=3, replicas=1, persistence=KEEP, version=older)
    cluster.wait_ready()
    with traffic_on(cluster) as traffic:
        cluster.edit({"version": newer})
        made = f"newer-{newer.replace('.', '-')}"
        told = wait_phase(cluster, made, "Succeeded", 180)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    assert running(cluster) == {newer}
    assert told["fromVersion"] == older
    assert [one["phase"] for one in told["history"]] == [
        "Pending",
        "Canary",
        "Soaking",
        "Rolling",
        "Succeeded",
    ]


def test_an_upgrade_waits_for_approval_and_an_abort_takes_pods_and_data_back(clusters: Clusters):
    """The way back leads from data files that the version before cannot read."""
    older, newer = versions()
    cluster = clusters.make("second", shards=3, replicas=1, persistence=KEEP, version=older)
    cluster.wait_ready()
    with traffic_on(cluster) as traffic:
        name = upgrade(cluster, newer, approval="AfterCanary")
        wait_phase(cluster, name, "WaitingForApproval")
        assert running(cluster) == {older, newer}
        cluster.edit({"annotations": {"example.com/later": "1"}})
        annotate(cluster, name, names.ANNOTATION_ABORT)
        wait_phase(cluster, name, "Aborted")
        cluster.wait_ready(120)
    assert traffic.result.lost == ()
    assert running(cluster) == {older}
    assert all(pod["metadata"]["annotations"]["example.com/later"] == "1" for pod in cluster.pods())


def test_an_upgrade_by_hand_is_paused_and_writes_the_version_when_it_is_done(clusters: Clusters):
    older, newer = versions()
    cluster = clusters.make("paused", shards=2, replicas=1, persistence=CACHE, version=older)
    cluster.wait_ready()
    name = upgrade(cluster, newer, canary={"shards": 1}, soakSeconds=3)
    wait_phase(cluster, name, "Soaking")
    annotate(cluster, name, names.ANNOTATION_PAUSE)
    wait_phase(cluster, name, "Paused")
    assert running(cluster) == {older, newer}
    annotate(cluster, name, names.ANNOTATION_PAUSE, None)
    wait_phase(cluster, name, "Succeeded")
    cluster.wait_ready()
    assert running(cluster) == {newer}
    assert cluster.raw()["spec"]["version"] == newer


def test_an_image_that_cannot_be_pulled_is_taken_back(clusters: Clusters):
    _, newer = versions()
    cluster = clusters.make("unpulled", shards=3, replicas=1, persistence=CACHE, version=newer)
    cluster.wait_ready()
    with traffic_on(cluster) as traffic:
        cluster.edit({"version": MISSING})
        name = f"unpulled-{MISSING.replace('.', '-')}"
        told = wait_phase(cluster, name, "RolledBack")
        cluster.until(lambda: cluster.condition("Blocked").get("status") == "True", "says why")
    assert traffic.result.lost == ()
    assert "does not start" in told["message"]
    assert cluster.condition("Blocked")["reason"] == "UpgradeFailed"
    assert running(cluster) == {newer}
    assert len(cluster.members()) == 6
    cluster.edit({"version": newer})
    cluster.wait_ready()


def test_a_version_that_the_data_do_not_survive_is_refused(clusters: Clusters):
    older, newer = versions()
    cluster = clusters.make("backwards", shards=1, replicas=0, persistence=KEEP, version=newer)
    cluster.wait_ready()
    name = upgrade(cluster, older)
    told = wait_phase(cluster, name, "Refused")
    assert "data files" in told["message"]
    assert running(cluster) == {newer}


BAD_IMAGES = {
    "starts and dies": ("9.1.97", bad_images.DIES, {}, "ended"),
    "never syncs": ("9.1.98", bad_images.NEVER_SYNCS, {"shardTimeoutSeconds": 60}, "took longer than 60 s"),
}


@pytest.mark.parametrize("way", BAD_IMAGES)
def test_an_image_that_goes_wrong_is_taken_back_and_nothing_is_lost(
    clusters: Clusters, tmp_path: Path, way: str
):
    version, script, spec, word = BAD_IMAGES[way]
    bad_images.load(version, script, tmp_path)
    _, newer = versions()
    cluster = clusters.make(f"bad-{version[-1]}", shards=3, replicas=1, persistence=KEEP, version=newer)
    cluster.wait_ready()
    before = cluster.pod_uids()
    with traffic_on(cluster) as traffic:
        name = upgrade(cluster, version, **spec)
        told = wait_phase(cluster, name, "RolledBack", 240)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    assert any(part in told["message"] for part in (word, "does not start")), told
    assert running(cluster) == {newer}
    changed = {pod for pod, uid in cluster.pod_uids().items() if before[pod] != uid}
    assert len(changed) == 1, "one pod tried it, and no other was touched"


def test_a_daemon_killed_at_each_step_of_an_upgrade_leaves_one_that_ends(own: OwnDaemon):
    older, newer = versions()
    cluster = own.clusters().make("undaunted", shards=2, replicas=1, persistence=CACHE, version=older)
    own.start()
    cluster.wait_ready()
    own.stop()
    with traffic_on(cluster, shards=2) as traffic:
        name = upgrade(cluster, newer)
        for kind in ("Provision", "Evict", "Failover", "WriteVersion"):
            for moment in ("before", "after"):
                own.start(failpoint=f"{moment}:{kind}")
                own.wait_killed(120)
        own.start()
        wait_phase(cluster, name, "Succeeded", 180)
        cluster.wait_ready()
    assert traffic.result.lost == ()
    assert running(cluster) == {newer}
