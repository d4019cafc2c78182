"""An environment installed by the real program and the real `pulumi`, with nothing left in the checkout.

The project file of the tests lies in a folder of their own and names the checkout as the place of the
program: so stack file, state and the CLI's choice of stack stay out of the user's.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.kube.kinds import LEASE, POD, Resource
from local import paths, pulumi_parts
from tests.e2e import namespaces
from tests.e2e.namespaces import CLUSTER_ROLE, CLUSTER_ROLE_BINDING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.api import Api, Obj

STACK = "e2e"
SYSTEM = "valkeeper-e2e"
"""Where its daemons run."""
WATCHED = "e2e"
"""Where its clusters are; no other daemon looks here."""

DEFINITION = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)


@dataclass(frozen=True)
class Installation:
    """A running environment with two daemons, of which one leads."""

    api: Api
    folder: Path
    image: str
    kubeconfig: Path

    def up(self) -> None:
        """Install it from nothing; ends when the daemons are ready."""
        self._clear()
        (self.folder / "state").mkdir()
        project = {"name": "valkeeper", "runtime": "python", "main": str(paths.CHECKOUT)}
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project))
        (self.folder / f"Pulumi.{STACK}.yaml").write_text(json.dumps({"config": self._config()}))
        self._pulumi("stack", "init", STACK, "--no-select")
        self._pulumi("up", "--yes", "--skip-preview", "--stack", STACK)

    def destroy(self) -> None:
        """Remove all of it; the definition of ValkeyCluster stays, as for every environment."""
        self._pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK)

    def daemons(self) -> list[Obj]:
        """The daemons' pods that are not on their way out."""
        found = self.api.items(POD, SYSTEM, "app.kubernetes.io/name=valkeeper")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """Name of the pod that holds the Lease; empty for none."""
        lease = self.api.get(LEASE, SYSTEM, "valkeeper") or {"spec": {}}
        return str(lease["spec"].get("holderIdentity") or "")

    def log(self) -> str:
        """The end of what each daemon wrote."""
        pods = self.api.items(POD, SYSTEM, "app.kubernetes.io/name=valkeeper")
        found = (pod["metadata"]["name"] for pod in pods)
        return "\n".join(f"--- {name}\n{self.api.log(SYSTEM, name)}" for name in found)

    def _config(self) -> dict[str, Any]:
        daemon = {"image": self.image, "replicas": 2, "namespace": SYSTEM, "watch": [WATCHED]}
        return {"valkeeper:daemon": daemon, "valkeeper:namespaces": [WATCHED], "valkeeper:clusters": []}

    def _clear(self) -> None:
        """What a run that was killed has left: its state is lost, so it cannot be destroyed in order."""
        there = self.api.get(DEFINITION, None, "valkeyclusters.valkeeper.io") is not None
        for namespace in (WATCHED, SYSTEM):
            namespaces.let_go(self.api, namespace, definition_there=there)
        for namespace in (WATCHED, SYSTEM):
            namespaces.wait_gone(self.api, namespace)
        for kind in (CLUSTER_ROLE_BINDING, CLUSTER_ROLE):
            self.api.delete(kind, None, f"valkeeper-{SYSTEM}-nodes")

    def _pulumi(self, *command: str) -> None:
        environment = {**os.environ, **pulumi_parts.environment(os.environ, pulumi_parts.ensure())}
        environment |= {
            "KUBECONFIG": str(self.kubeconfig),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
        }
        environment.pop("VALKEEPER_DAEMON_IMAGE", None)
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"pulumi {' '.join(command)}:\n{done.stdout}\n{done.stderr}\n{self.log()}"
        )
