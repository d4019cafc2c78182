"""`make up`: a Kubernetes, the environment `local` on it, a Ready ValkeyCluster, and what each took."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import cluster, paths, pulumi_parts
from local.console import say
from local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.cluster import Cluster

STACK = "local"
IMAGE_VARIABLE = "VALKEEPER_DAEMON_IMAGE"


def run() -> None:
    """Make all of it, or find that it is there.

    Raises:
        LocalError: a part failed; its own output stands above.
    """
    took: dict[str, float] = {}
    with _timed(took, "Kubernetes"):
        kubernetes = cluster.up()
    environment = _environment(kubernetes)
    with _timed(took, "pulumi up"):
        pulumi_up(environment)
    for found in _clusters(environment):
        say("")
        for line in shard_map(found):
            say(line)
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
        kubectl = f"kubectl --kubeconfig {environment['KUBECONFIG']} -n {namespace}"
        say(f"Connect: {kubectl} exec -it {name}-0-0 -- valkey-cli -c")
    say("")
    say("Took: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items()))


def pulumi_up(environment: Mapping[str, str]) -> None:
    """The environment stack on the command line, as a user would run it.

    Raises:
        LocalError: Pulumi ended with an error, which it has printed.
    """
    for command in (
        ["stack", "select", "--create", STACK],
        ["up", "--yes", "--skip-preview", "--refresh", "--suppress-progress", "--stack", STACK],
    ):
        done = subprocess.run(
            ["pulumi", *command], cwd=paths.CHECKOUT, env={**os.environ, **environment}, check=False
        )
        if done.returncode:
            raise LocalError(
                "`pulumi up` failed; what it printed says why. Run `make up` again when it is mended."
            )


def shard_map(found: Mapping[str, Any]) -> list[str]:
    """A ValkeyCluster's status for people."""
    meta, status = found["metadata"], found["status"]
    name = f"{meta['namespace']}/{meta['name']}"
    lines = [f"{name}: {status['phase']}, {status['members']} members ready, Valkey {status['version']}"]
    lines += [
        f"  shard {shard['shard']}  slots {shard['slots']:<13}  primary {shard['primary']}"
        f"  replicas {', '.join(shard['replicas']) or 'none'}  {shard['health']}"
        for shard in status["topology"]
    ]
    return lines


def _environment(kubernetes: Cluster) -> dict[str, str]:
    settings = pulumi_parts.environment(os.environ, pulumi_parts.ensure())
    settings["KUBECONFIG"] = str(kubernetes.kubeconfig)
    if kubernetes.daemon_image:
        settings[IMAGE_VARIABLE] = kubernetes.daemon_image
    elif IMAGE_VARIABLE not in os.environ:
        raise LocalError(
            f"KUBECONFIG names a cluster of yours: set {IMAGE_VARIABLE} to a daemon image that it can pull "
            "(docker build . makes one), or unset KUBECONFIG for the local Kubernetes."
        )
    return settings


def _clusters(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The clusters that the stack declares, by its outputs' names."""
    outputs = _json(["pulumi", "stack", "output", "--json", "--stack", STACK], environment)
    found = []
    for place in outputs:
        namespace, _, name = place.partition("/")
        command = ["kubectl", "-n", namespace, "get", "valkeyclusters.valkeeper.io", name, "-o", "json"]
        found.append(_json(command, environment))
    return found


def _json(command: list[str], environment: Mapping[str, str]) -> Any:
    done = subprocess.run(
        command,
        cwd=paths.CHECKOUT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LocalError(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


@contextmanager
def _timed(took: dict[str, float], what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    took[what] = time.monotonic() - started


def session(command: list[str]) -> int:
    """Run a command that needs the local Kubernetes; afterwards only what ran before is left running.

    Returns:
        The command's exit code.
    """
    ran_before = Path(paths.KUBECONFIG).exists() and cluster.is_running()
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        if not ran_before and not os.environ.get("KUBECONFIG"):
            cluster.down()
