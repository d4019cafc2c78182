"""A backend of the user's own keeps the lock and the half-done operations of a daemon that died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import POD_DISRUPTION_BUDGET
from tests.e2e.clusters import CACHE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.processes import OwnDaemon

pytestmark = pytest.mark.e2e


def locks(backend: Path) -> list[Path]:
    return [path for path in backend.rglob("locks/**/*.json") if path.is_file()]


def test_what_a_dead_daemon_left_in_the_backend_is_cleared_and_the_update_runs(
    own: OwnDaemon, tmp_path: Path
):
    backend = tmp_path / "backend"
    backend.mkdir()
    url = f"file://{backend}"
    own.start(backend_url=url)
    cluster = own.clusters().make("elsewhere", shards=1, replicas=0, persistence=CACHE)
    cluster.wait_ready()
    pods = cluster.pod_uids()

    cluster.edit({"podDisruptionBudget": {"enabled": False}})
    own.until(lambda: locks(backend), "an update holds its lock", 30)
    own.kill()
    assert locks(backend), "the lock outlives its holder"
    state = next(path for path in backend.rglob("stacks/**/*.elsewhere.json"))
    plant_pending_operation(state)

    own.start(backend_url=url)
    cluster.until(lambda: not cluster.objects(POD_DISRUPTION_BUDGET), "the update has run", 60)
    cluster.wait_ready()
    assert locks(backend) == []
    assert pending_operations(state) == []
    assert cluster.pod_uids() == pods

    cluster.delete()
    cluster.wait_gone()
    assert list(backend.rglob("stacks/**/*.elsewhere.json")) == []


def pending_operations(state: Path) -> list[object]:
    latest = json.loads(state.read_text())["checkpoint"]["latest"]
    found: list[object] = latest.get("pending_operations") or []
    return found


def plant_pending_operation(state: Path) -> None:
    """As if the daemon had died while a resource was being updated."""
    content = json.loads(state.read_text())
    latest = content["checkpoint"]["latest"]
    resource = next(one for one in latest["resources"] if one["type"] == "kubernetes:core/v1:Service")
    latest["pending_operations"] = [{"resource": resource, "type": "updating"}]
    state.write_text(json.dumps(content))
