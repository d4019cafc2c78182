"""A daemon whose cluster is as it should be does next to nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from daemon.kube.kinds import VALKEY_CLUSTER
from tests.e2e import audit
from tests.e2e.installation import SYSTEM
from tests.e2e.metrics import CPU, PASSES, Metrics
from tests.e2e.processes import command_line, descendants
from tests.e2e.waiting import until

if TYPE_CHECKING:
    from tests.e2e.clusters import Cluster
    from tests.e2e.figures import Figures
    from tests.e2e.installation import Installation

pytestmark = pytest.mark.e2e

WINDOW_S = 30.0
"""What is measured is a time in which nothing happens."""
BURST = 20


def writes(since: str) -> list[str]:
    """What the installed daemons changed, Leases aside."""
    found = audit.requests(audit.account(SYSTEM), since)
    return [
        f"{one.verb} {one.resource} {one.name}" for one in found if one.writes and one.resource != "leases"
    ]


def leader_metrics(installed: Installation) -> Metrics:
    leader = next(pod for pod in installed.daemons() if pod["metadata"]["name"] == installed.leader())
    answer = httpx2.get(f"http://{leader['status']['podIP']}:8080/metrics", trust_env=False)
    return Metrics.parse(answer.text)


def process_of(identity: str) -> int:
    """The daemon's process on this machine: the one that was given the pod's name."""
    wanted = f"VALKEEPER_IDENTITY={identity}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment and command_line(int(folder.name))[0].endswith("python3"):
            return int(folder.name)
    raise AssertionError(f"no process of {identity}")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def test_an_unchanged_cluster_costs_no_write_no_process_and_hardly_any_cpu(
    shared: Cluster, installed: Installation, figures: Figures
):
    shared.wait_ready()
    quiet_since = [audit.now()]

    def is_quiet() -> bool:
        before, quiet_since[0] = quiet_since[0], audit.now()
        return not writes(before)

    until(is_quiet, "events are written out", 30, look_s=2.0)
    pid = process_of(installed.leader())
    since, cpu_before, until_s = audit.now(), cpu_s(pid), time.monotonic() + WINDOW_S
    passes_before = leader_metrics(installed).get(PASSES)
    processes: set[str] = set()
    while time.monotonic() < until_s:
        processes |= {" ".join(command_line(child)) for child in descendants(pid)}
        time.sleep(0.5)
    assert leader_metrics(installed).get(PASSES) > passes_before, "it did look at the cluster"
    assert writes(since) == []
    assert processes == set()
    figures.at_most("idle daemon: CPU", (cpu_s(pid) - cpu_before) / WINDOW_S * 100, 2, "% of a core")
    figures.at_most("idle daemon: memory", memory_mb(pid), 150, "MB")


def test_a_pass_over_an_unchanged_cluster_is_cheap(
    shared: Cluster, installed: Installation, figures: Figures
):
    before = leader_metrics(installed)
    for number in range(BURST):
        change = {"metadata": {"annotations": {"e2e/look": str(number)}}}
        shared.api.patch(VALKEY_CLUSTER, shared.namespace, shared.name, change)
        wanted = before.get(PASSES) + number + 1
        until(lambda: leader_metrics(installed).get(PASSES) >= wanted, "a pass", 10, look_s=0.02)  # noqa: B023
    after = leader_metrics(installed)
    passes = after.get(PASSES) - before.get(PASSES)
    per_pass_ms = (after.get(CPU) - before.get(CPU)) / passes * 1000
    figures.at_most("a pass over an unchanged cluster of 6: CPU", per_pass_ms, 50, "ms")
