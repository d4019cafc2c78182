"""What the end-to-end tests run on: one Kubernetes, one installed environment, clusters as they need them.

kubernetes ─> api ─> installed ─> clusters (each test's own) and shared (one for all, remade when broken)
                └──> own (test_crash and others: a daemon as a process, confined like an installed one)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from local import cluster as local_cluster
from local import network, paths, preflight, pulumi_parts
from tests.e2e import audit, namespaces
from tests.e2e.api import Api
from tests.e2e.clusters import Clusters
from tests.e2e.figures import FIGURES, Figures
from tests.e2e.installation import WATCHED, Installation
from tests.e2e.processes import OwnDaemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.cluster import Cluster as Kubernetes
    from tests.e2e.clusters import Cluster

_SKIPPED = pytest.StashKey[str]()
_LAST = "test_rights.py"
"""Judges what all the others did."""

SHARED = "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name == _LAST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if why := config.stash.get(_SKIPPED, ""):
        terminalreporter.section("END-TO-END TESTS SKIPPED")
        terminalreporter.line(why)
    for line in FIGURES:
        terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def kubernetes(request: pytest.FixtureRequest) -> Iterator[Kubernetes]:
    """The local Kubernetes, started when needed, or the one that KUBECONFIG names."""
    lacking = [] if os.environ.get("KUBECONFIG") else preflight.missing()
    if lacking:
        why = f"the local Kubernetes cannot run here: {'; '.join(lacking)}. Set KUBECONFIG to use another."
        request.config.stash[_SKIPPED] = why
        pytest.skip(why)
    found = local_cluster.up()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in network.without_proxy(os.environ).items():
            patch.setenv(name, value)
        for folder in pulumi_parts.ensure().behind:  # kubectl, for who has none
            patch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        yield found


@pytest.fixture(scope="session")
def kubeconfig(kubernetes: Kubernetes) -> Path:
    """The administrator's."""
    return kubernetes.kubeconfig


@pytest.fixture(scope="session")
def api(kubernetes: Kubernetes, request: pytest.FixtureRequest) -> Iterator[Api]:
    """The API server, as administrator; with all that only the local Kubernetes shows."""
    if kubernetes.daemon_image is None:
        why = (
            f"KUBECONFIG names {kubernetes.kubeconfig}: these tests need the local Kubernetes, for pods' "
            "addresses, the audit log and the daemon's processes. Unset KUBECONFIG to run them."
        )
        request.config.stash[_SKIPPED] = why
        pytest.skip(why)
    connected = Api.connect(kubernetes.kubeconfig)
    yield connected
    connected.http.close()


@pytest.fixture(scope="session")
def session_start() -> str:
    """When the tests began, as the audit log writes times."""
    return audit.now()


@pytest.fixture(scope="session")
def installed(
    kubernetes: Kubernetes, api: Api, session_start: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An environment with two daemons, under exactly the rights that its program grants."""
    folder = tmp_path_factory.mktemp("installation")
    installation = Installation(api, folder, str(kubernetes.daemon_image), paths.KUBECONFIG)
    installation.up()
    yield installation
    installation.destroy()


@pytest.fixture
def clusters(api: Api, installed: Installation) -> Iterator[Clusters]:
    """Makes clusters that end with the test."""
    maker = Clusters(api, WATCHED, installed.log)
    yield maker
    maker.remove()


@pytest.fixture(scope="session")
def _shared(api: Api, installed: Installation) -> Iterator[Clusters]:
    maker = Clusters(api, WATCHED, installed.log)
    yield maker
    maker.remove()


@pytest.fixture
def shared(_shared: Clusters) -> Cluster:
    """A Ready cluster of 3 shards with a replica each and persistence; each test leaves it Ready."""
    return _shared.ready(SHARED, shards=3, replicas=1)


@pytest.fixture(scope="session")
def _namespaces_of_own(api: Api) -> Iterator[set[str]]:
    """Their end is waited for once, at the end."""
    used: set[str] = set()
    yield used
    for name in used:
        namespaces.wait_gone(api, name)


@pytest.fixture
def own(
    request: pytest.FixtureRequest,
    api: Api,
    installed: Installation,
    tmp_path: Path,
    _namespaces_of_own: set[str],
) -> Iterator[OwnDaemon]:
    """A daemon as a process of this machine, in a namespace of this test module."""
    name = f"e2e-{request.path.stem.removeprefix('test_')}"
    _namespaces_of_own.add(name)
    daemon = OwnDaemon.confined(api, name, tmp_path)
    yield daemon
    daemon.remove()


@pytest.fixture
def figures(request: pytest.FixtureRequest, record_property) -> Figures:
    """Measured values: recorded, printed at the end, held against their limits."""
    return Figures(request.node.name, record_property)
