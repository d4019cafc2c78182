"""The daemon SIGKILLed at each of its steps and inside an update: the next one finishes.

One cluster's life carries all the deaths of a kind, one after the other: each start goes on where the last
was killed, as a container that is started again does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import POD_DISRUPTION_BUDGET, SERVICE_ACCOUNT, STATEFUL_SET
from tests.e2e import audit
from tests.e2e.clusters import CACHE
from tests.e2e.processes import command_line, descendants
from valkey_cluster import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clusters import Cluster
    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e

CREATION = ("HoldFinalizer", "Provision", "SetConfig", "AssignSlots", "Meet", "Replicate")
DELETION = ("Destroy", "ReleaseFinalizer")


def die_at_each(own: OwnDaemon, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        for moment in ("before", "after"):
            own.start(failpoint=f"{moment}:{kind}")
            own.wait_killed()


def made(own: OwnDaemon, since: str) -> Counter[tuple[str, str]]:
    """How often each object was made new by the daemon; the answer to an apply that creates is 201."""
    return Counter(
        (request.resource, request.name)
        for request in audit.requests(own.user, since)
        if request.code == 201 and request.resource not in {"events", "leases"}
    )


def check_made_once(own: OwnDaemon, cluster: Cluster, since: str) -> None:
    counts = made(own, since)
    assert counts["statefulsets", names.stateful_set(cluster.name, 0)] == 1
    assert set(counts.values()) == {1}, counts
    restarts = {pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.pods()}
    assert restarts == {0}


def locks(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("locks/**/*.json") if path.is_file()]


def test_a_creation_and_a_deletion_survive_a_death_at_every_step(own: OwnDaemon):
    since = audit.now()
    clusters = own.clusters()
    cluster = clusters.make("phoenix", shards=3, replicas=1, persistence=CACHE)
    die_at_each(own, CREATION)
    own.start()
    cluster.wait_ready()
    check_made_once(own, cluster, since)
    assert locks(own.work) == []
    own.stop()

    cluster.delete()
    die_at_each(own, DELETION[:1])
    own.start(failpoint="before:ReleaseFinalizer")
    own.wait_killed()
    assert cluster.raw()
    assert cluster.left() == []
    own.start(failpoint="after:ReleaseFinalizer")
    own.wait_killed()
    cluster.wait_gone()


def test_a_death_inside_the_first_update_leaves_nothing_twice_and_no_lock(own: OwnDaemon):
    since = audit.now()
    cluster = own.clusters().make("cut", shards=3, replicas=1, persistence=CACHE)
    own.start()
    kill_inside_an_update(own, lambda: cluster.objects(SERVICE_ACCOUNT))
    own.start()
    cluster.wait_ready()
    check_made_once(own, cluster, since)
    assert locks(own.work) == []
    assert any("stopped in the middle of this update" in event for event in cluster.events("Provision"))


def test_a_death_inside_a_later_update_is_made_good(own: OwnDaemon):
    cluster = own.clusters().make("later", shards=1, replicas=0, persistence=CACHE)
    own.start()
    cluster.wait_ready()
    pods = cluster.pod_uids()
    cluster.edit({"podDisruptionBudget": {"enabled": False}})
    kill_inside_an_update(own, lambda: True)
    own.start()
    cluster.until(lambda: not cluster.objects(POD_DISRUPTION_BUDGET), "the update has run")
    cluster.wait_ready()
    assert any("stopped in the middle of this update" in event for event in cluster.events("Provision"))
    assert cluster.pod_uids() == pods
    assert [one["metadata"]["name"] for one in cluster.objects(STATEFUL_SET)] == ["later-0"]
    assert locks(own.work) == []


def kill_inside_an_update(own: OwnDaemon, late_enough: Callable[[], object]) -> None:
    """SIGKILL the daemon and its children while Pulumi runs and `late_enough` holds."""
    own.until(lambda: updating(own.pid) and late_enough(), "an update runs", 60)
    own.kill()


def updating(pid: int) -> bool:
    """A `pulumi up` runs below the process."""
    return any("up" in command_line(child) for child in descendants(pid))
