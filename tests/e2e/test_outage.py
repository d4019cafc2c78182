"""The Kubernetes API goes away and comes back with its watches' past compacted away (410)."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import httpx2
import pytest

from daemon.kube.kinds import POD_DISRUPTION_BUDGET
from local import cluster as local_cluster
from tests.e2e import audit
from tests.e2e.clusters import CACHE
from tests.e2e.metrics import CPU, LISTS
from tests.e2e.waiting import timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.figures import Figures
    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e

OUTAGE_S = float(os.environ.get("VALKEEPER_OUTAGE_S", "60"))
ETCD = "http://127.0.0.1:2379/v3"
WATCHES = 9
"""List-watches of a daemon with one namespace."""
HARMLESS = {"leases", "valkeyclusters/status", "events"}
OUT_OF_DATE = "too old resource version"


@pytest.fixture
def apiserver_back() -> Iterator[None]:
    """However the test ends, the API is there again."""
    yield
    local_cluster.start_program("apiserver")


def compact_the_past() -> None:
    """Let etcd forget all that is not the present: a watch from any earlier version is answered with 410."""
    revision = httpx2.post(f"{ETCD}/maintenance/status", json={}, trust_env=False).json()["header"][
        "revision"
    ]
    answer = httpx2.post(f"{ETCD}/kv/compaction", json={"revision": revision}, trust_env=False)
    assert answer.is_success, answer.text


def test_nothing_is_harmed_while_the_api_is_away_and_work_goes_on_after(
    own: OwnDaemon, apiserver_back: None, figures: Figures
):
    own.start()
    cluster = own.clusters().make("island", shards=3, replicas=1, persistence=CACHE)
    cluster.wait_ready()
    pods = cluster.pod_uids()
    since, metrics, lines = audit.now(), own.metrics(), len(own.log_lines())

    client = cluster.client()
    local_cluster.stop_program("apiserver")
    ends = time.monotonic() + OUTAGE_S
    rounds = 0
    while time.monotonic() < ends:
        rounds += 1
        assert client.missing(client.write(20, f"outage-{rounds}")) == [], "clients notice nothing"
        own.until(lambda: own.exit_code() is None, "it runs on", 1)
        time.sleep(0.5)
    client.close()
    cpu_s = own.metrics().get(CPU) - metrics.get(CPU)
    told = len(own.log_lines()) - lines
    assert own.metrics().get("valkeeper_leader") == 0, "it does not believe to lead any more"
    compact_the_past()
    local_cluster.start_program("apiserver")
    back = audit.now()

    started = time.monotonic()
    own.wait_leading()
    own.until(lambda: own.metrics().get("valkeeper_kubernetes_stale_watches") == 0, "it sees all again", 60)
    figures.at_most("API back: all is seen again", time.monotonic() - started, 30)
    cluster.wait_ready()
    requests = audit.requests(own.user, since)
    assert {one.resource for one in requests if one.writes} <= HARMLESS
    assert cluster.pod_uids() == pods
    figures.at_most("API away: CPU of the daemon", cpu_s / OUTAGE_S * 100, 5, "% of a core")
    figures.at_most("API away: log lines", told, 3 * WATCHES + OUTAGE_S / 5, "lines")
    expired = [line for line in own.log_lines()[lines:] if OUT_OF_DATE in line]
    relisted = own.metrics().get(LISTS) - metrics.get(LISTS)
    assert len(expired) >= WATCHES / 2, "watches were answered with 410"
    assert WATCHES / 2 <= relisted <= 3 * WATCHES, Counter((one.verb, one.resource) for one in requests)
    asked = [one for one in requests if one.at >= back and one.resource != "leases"]
    figures.at_most("API back: requests until all is seen again", len(asked), 10 * WATCHES, "requests")

    cluster.api.delete(POD_DISRUPTION_BUDGET, cluster.namespace, cluster.name)
    took_s = timed(lambda: cluster.objects(POD_DISRUPTION_BUDGET), "drift is put back", 60, cluster.explain)
    figures.at_most("API back: drift put back", took_s, 3)
    cluster.wait_ready()
