"""A daemon as a process of this machine, under a ServiceAccount with exactly the rights of an installed one.

So a test can kill it at a place of its choosing, see its processes, and give it another backend.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import yaml

from daemon.kube.kinds import SERVICE_ACCOUNT, Resource
from local import paths, pulumi_parts
from stacks import rights
from tests.e2e import audit, namespaces
from tests.e2e.clusters import Clusters
from tests.e2e.metrics import Metrics
from tests.e2e.namespaces import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, NAMESPACE
from tests.e2e.waiting import until

if TYPE_CHECKING:
    from tests.e2e.api import Api

ROLE = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
_NAME = "valkeeper"
_STARTS_WITHIN_S = 30.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class OwnDaemon:
    """At most one process at a time; a second start goes on where the first was killed."""

    api: Api
    namespace: str
    folder: Path
    kubeconfig: Path
    user: str
    port: int = field(default_factory=_free_port)
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def confined(cls, api: Api, namespace: str, folder: Path) -> OwnDaemon:
        """With a fresh namespace that is all it may see, and a kubeconfig of its ServiceAccount."""
        namespaces.let_go(api, namespace)
        namespaces.wait_gone(api, namespace)
        _clear_cluster_wide(api, namespace)
        api.create(NAMESPACE, {"metadata": {"name": namespace}})
        api.create(SERVICE_ACCOUNT, {"metadata": {"namespace": namespace, "name": _NAME}})
        _grant(api, namespace, (*rights.NAMESPACED, *rights.OWN), (ROLE, ROLE_BINDING))
        _grant(api, namespace, rights.CLUSTER_WIDE, (CLUSTER_ROLE, CLUSTER_ROLE_BINDING))
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(_token(api, namespace))))
        return cls(api, namespace, folder, kubeconfig, audit.account(namespace))

    def clusters(self) -> Clusters:
        """Makes clusters in its namespace."""
        return Clusters(self.api, self.namespace, self.log)

    def start(self, **settings: str) -> None:
        """Start it, with VALKEEPER_<name in upper case> for each setting; ready when it serves /readyz."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        with (self.folder / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daemon"],
                cwd=paths.CHECKOUT,
                env=self._environment(settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_leading(self) -> None:
        """Until it holds the Lease and has read what it watches."""
        self.until(lambda: self.metrics().get("valkeeper_leader") == 1, "leads", _STARTS_WITHIN_S)

    def wait_killed(self, within_s: float = 60.0) -> None:
        """Until its failpoint has killed it."""
        self.until(lambda: self.exit_code() is not None, "died at its failpoint", within_s)
        assert self.exit_code() == -signal.SIGKILL, self.log()

    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        assert self._process is not None
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL it and every process that it started, as when its container is killed."""
        if self._process is None:
            return
        for pid in (self._process.pid, *descendants(self._process.pid)):
            _kill(pid)
        self._process.wait()

    def stop(self, within_s: float = 30.0) -> None:
        """SIGTERM, and wait until it has come to an orderly end."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(within_s) == 0, self.log()

    def remove(self) -> None:
        """Kill it and let its namespace go, which is not waited for."""
        self.kill()
        namespaces.let_go(self.api, self.namespace)
        _clear_cluster_wide(self.api, self.namespace)

    @property
    def pid(self) -> int:
        """Of the process started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def work(self) -> Path:
        """Its folder for updates."""
        return self.folder / "work"

    def metrics(self) -> Metrics:
        """What it serves; empty while it does not."""
        try:
            return Metrics.parse(httpx2.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text)
        except httpx2.TransportError:
            return Metrics({})

    def log(self) -> str:
        """The end of what its processes wrote."""
        return "\n".join(self.log_lines()[-40:])

    def log_lines(self) -> list[str]:
        """All that its processes wrote."""
        file = self.folder / "daemon.log"
        return file.read_text().splitlines() if file.exists() else []

    def until(self, holds: Any, what: str, within_s: float = 30.0) -> Any:
        """Wait for it, and tell the daemon's log if it does not come."""
        return until(holds, f"the daemon of {self.namespace}: {what}", within_s, self.log)

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        parts = pulumi_parts.ensure()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VALKEEPER_", "PULUMI_"))
        }
        own = {
            "NAMESPACES": self.namespace,
            "LEASE_NAMESPACE": self.namespace,
            "IDENTITY": "the-only-one",  # as a pod whose container is started again
            "PORT": str(self.port),
            "WORK_DIR": str(self.work),
            **{name.upper(): value for name, value in settings.items()},
        }
        return {
            **kept,
            **{f"VALKEEPER_{name}": value for name, value in own.items()},
            "PATH": f"{parts.cli.parent}:{parts.provider.parent}:{kept.get('PATH', os.defpath)}",
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
        }


def descendants(pid: int) -> list[int]:
    """Every process below it, parents first."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        below.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        children = below.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def command_line(pid: int) -> list[str]:
    """Program and arguments; a single empty text when the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return [""]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _grant(
    api: Api, namespace: str, rules: tuple[rights.Rule, ...], kinds: tuple[Resource, Resource]
) -> None:
    role, binding = kinds
    metadata = (
        {"name": _NAME, "namespace": namespace} if role.namespaced else {"name": _cluster_wide(namespace)}
    )
    api.create(role, {"metadata": metadata, "rules": list(rules)})
    reference = {"apiGroup": role.group, "kind": role.kind, "name": metadata["name"]}
    subject = {"kind": "ServiceAccount", "name": _NAME, "namespace": namespace}
    api.create(binding, {"metadata": metadata, "roleRef": reference, "subjects": [subject]})


def _cluster_wide(namespace: str) -> str:
    return f"valkeeper-{namespace}-nodes"


def _clear_cluster_wide(api: Api, namespace: str) -> None:
    for kind in (CLUSTER_ROLE_BINDING, CLUSTER_ROLE):
        api.delete(kind, None, _cluster_wide(namespace))


def _token(api: Api, namespace: str) -> str:
    path = SERVICE_ACCOUNT.path(namespace, _NAME, "token")
    answer = api.http.post(path, json={"spec": {"expirationSeconds": 7200}})
    assert answer.is_success, answer.text
    return str(answer.json()["status"]["token"])


def _kubeconfig(token: str) -> dict[str, Any]:
    """The administrator's, with another user."""
    config: dict[str, Any] = yaml.safe_load(paths.KUBECONFIG.read_text())
    context = next(one for one in config["contexts"] if one["name"] == config["current-context"])
    config["users"] = [{"name": context["context"]["user"], "user": {"token": token}}]
    return config
