"""Deletion removes what was made, keeps or removes the data as asked, and works at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import STATEFUL_SET
from tests.e2e.waiting import timed

if TYPE_CHECKING:
    from tests.e2e.clusters import Clusters
    from tests.e2e.figures import Figures

pytestmark = pytest.mark.e2e


def test_deletion_keeps_the_claims_and_a_cluster_of_that_name_finds_its_data(
    clusters: Clusters, figures: Figures
):
    cluster = clusters.make("kept", shards=1, replicas=1)
    cluster.wait_ready()
    client = cluster.client()
    written = client.write(100)
    client.close()
    cluster.delete()
    took_s = timed(lambda: not cluster.raw(), "deleted", 60, cluster.explain)
    cluster.wait_gone()
    figures.at_most("deletion of 1 shard x 1 replica", took_s, 10)
    assert cluster.claims() == ["data-kept-0-0", "data-kept-0-1"]

    again = clusters.make("kept", shards=1, replicas=1)
    again.wait_ready()
    client = again.client()
    assert client.missing(written) == []
    client.close()


def test_deletion_removes_the_claims_when_asked(clusters: Clusters):
    persistence = {"size": "64Mi", "whenDeleted": "Delete"}
    cluster = clusters.make("dropped", shards=1, replicas=0, persistence=persistence)
    cluster.wait_ready()
    assert len(cluster.claims()) == 1
    cluster.delete()
    cluster.wait_gone()
    cluster.until(lambda: cluster.claims() == [], "no claim is left")


@pytest.mark.parametrize("moment", ["before its first object", "with its first object", "with its first pod"])
def test_deletion_during_creation_leaves_nothing(clusters: Clusters, moment: str):
    persistence = {"size": "64Mi", "whenDeleted": "Delete"}
    cluster = clusters.make("early", shards=2, replicas=0, persistence=persistence)
    if moment == "with its first object":
        cluster.until(lambda: cluster.objects(STATEFUL_SET), moment)
    elif moment == "with its first pod":
        cluster.until(cluster.pods, moment)
    cluster.delete()
    cluster.wait_gone()
    cluster.until(lambda: cluster.claims() == [], "no claim is left")
