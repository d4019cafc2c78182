"""Of two daemons one acts; when it goes, in order or not, the other does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from daemon.kube.kinds import POD, POD_DISRUPTION_BUDGET
from local import cluster as local_cluster
from tests.e2e import audit
from tests.e2e.installation import SYSTEM
from tests.e2e.metrics import Metrics
from tests.e2e.waiting import until

if TYPE_CHECKING:
    from tests.e2e.api import Obj
    from tests.e2e.clusters import Cluster
    from tests.e2e.figures import Figures
    from tests.e2e.installation import Installation

pytestmark = pytest.mark.e2e

TAKEN_OVER_S = 20.0
HANDED_OVER_S = 5.0


def both_ready(installed: Installation) -> list[Obj]:
    """Both daemons' pods once they are ready and one leads."""

    def ready() -> bool:
        pods = installed.daemons()
        conditions = [one for pod in pods for one in pod["status"].get("conditions", [])]
        healthy = [one for one in conditions if one["type"] == "Ready" and one["status"] == "True"]
        return len(healthy) == len(pods) == 2 and installed.leader() in names_of(pods)

    until(ready, "both daemons are ready", 60, installed.log)
    return installed.daemons()


def names_of(pods: list[Obj]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def leads(pod: Obj) -> bool:
    answer = httpx2.get(f"http://{pod['status']['podIP']}:8080/metrics", trust_env=False)
    return Metrics.parse(answer.text).get("valkeeper_leader") == 1


def put_back_after_s(cluster: Cluster, installed: Installation, started: float) -> float:
    """Seconds from `started` until somebody has put back the budget that is deleted here."""
    cluster.api.delete(POD_DISRUPTION_BUDGET, cluster.namespace, cluster.name)
    until(lambda: cluster.objects(POD_DISRUPTION_BUDGET), "the budget is put back", 60, installed.log)
    return time.monotonic() - started


def test_one_of_two_daemons_leads_and_only_it_writes(shared: Cluster, installed: Installation):
    pods = both_ready(installed)
    assert [pod["metadata"]["name"] for pod in pods if leads(pod)] == [installed.leader()]
    since = audit.now()
    put_back_after_s(shared, installed, time.monotonic())
    shared.wait_ready()
    requests = audit.requests(audit.account(SYSTEM), since)
    assert {one.pod for one in requests if one.writes} == {installed.leader()}


def test_when_the_leader_is_killed_the_other_acts(shared: Cluster, installed: Installation, figures: Figures):
    pods = both_ready(installed)
    leader = next(pod for pod in pods if pod["metadata"]["name"] == installed.leader())
    name = leader["metadata"]["name"]
    started = time.monotonic()
    container = leader["status"]["containerStatuses"][0]["containerID"]
    local_cluster.kill_container(leader["spec"]["nodeName"], container)
    shared.api.delete(POD, SYSTEM, name, now=True)  # so that it is not started again as the same one
    took_s = put_back_after_s(shared, installed, started)
    assert installed.leader() in names_of(pods) - {name}
    figures.at_most("leader killed: the other has acted", took_s, TAKEN_OVER_S)
    both_ready(installed)
    shared.wait_ready()


def test_a_leader_that_is_told_to_end_hands_over_at_once(
    shared: Cluster, installed: Installation, figures: Figures
):
    pods = both_ready(installed)
    leader = installed.leader()
    started = time.monotonic()
    shared.api.delete(POD, SYSTEM, leader)
    until(lambda: installed.leader() not in {"", leader}, "the other leads", 60, installed.log)
    figures.at_most("leader ended by SIGTERM: the other leads", time.monotonic() - started, HANDED_OVER_S)
    assert installed.leader() in names_of(pods) - {leader}
    put_back_after_s(shared, installed, started)
    both_ready(installed)
    shared.wait_ready()
