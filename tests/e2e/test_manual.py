"""With `updatePolicy.mode: Manual` an edit is shown before it is made, and made when it is approved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import VALKEY_CLUSTER
from tests.e2e.clusters import CACHE
from valkey_cluster import names

if TYPE_CHECKING:
    from tests.e2e.clusters import Clusters

pytestmark = pytest.mark.e2e


def test_an_edit_waits_with_its_plan_and_pulumis_own_diff_until_it_is_approved(clusters: Clusters):
    policy = {"mode": "Manual"}
    cluster = clusters.make("asked", shards=1, replicas=1, persistence=CACHE, updatePolicy=policy)
    cluster.wait_ready()
    before = cluster.pod_uids()
    cluster.edit({"annotations": {"example.com/roll": "1"}})
    cluster.until(lambda: "waits for approval" in cluster.status()["step"]["because"], "it waits")
    status = cluster.status()
    assert "2 pods restart" in status["plan"][0], status["plan"]
    assert any(line.startswith("update StatefulSet/asked-0: ") for line in status["diff"]), status["diff"]
    assert cluster.pod_uids() == before
    assert cluster.condition("Ready")["status"] == "True"

    asked = status["step"]["because"].rpartition("(of ")[2].rstrip(")")
    patch = {"metadata": {"annotations": {names.ANNOTATION_APPROVE: asked}}}
    cluster.api.patch(VALKEY_CLUSTER, cluster.namespace, cluster.name, patch)
    cluster.until(lambda: not set(before.values()) & set(cluster.pod_uids().values()), "rolled", 90)
    cluster.wait_ready()
    assert cluster.status()["plan"] == []
    assert cluster.status()["diff"] == []
