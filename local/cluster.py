"""The order in which the local Kubernetes comes up, what `up` promises, and how it goes away.

`up` is idempotent: it looks at each thing and does only what is missing, so it serves a fresh machine, a
start that broke off, a reboot, killed processes and a healthy cluster alike.
"""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local import (
    addons,
    build,
    cgroups,
    config,
    control_plane,
    daemon_image,
    images,
    kube,
    network,
    node_images,
    paths,
    pki,
    preflight,
    processes,
    pulumi_parts,
    teardown,
)
from local.console import progress, say
from local.errors import LocalError, MissingFeaturesError, NotRunningError
from local.nodes import NODES, containerd, ctr, kubelet
from local.parts import KUBERNETES_PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from local.nodes import Node
    from local.oci import Image
    from local.processes import Program

PUBLISHED_VERSIONS = ("8.1.1", "9.1.2")
"""Versions of Valkey to use where images come from a registry."""
_NODES_TIMEOUT_S = 90.0
_BOOT = paths.STATE / "boot-id"


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes to work with."""

    kubeconfig: Path
    valkey_versions: tuple[str, str]
    """An older and a newer one that its nodes can run."""
    daemon_image: str | None
    """Image of this checkout's daemon, on every node; None on a cluster that is not ours."""


def up() -> Cluster:
    """Make sure that there is a Kubernetes with everything that valkeeper needs.

    With KUBECONFIG set that cluster is used, and only Pulumi's parts are made.

    Raises:
        LocalError: it cannot be; the message says why and what to try.
    """
    given = _other_kubeconfig()
    if given:
        pulumi_parts.ensure()
        return Cluster(given, PUBLISHED_VERSIONS, None)
    with _alone():
        if not is_running():
            preflight.prepare()
        parts = build.ensure([*KUBERNETES_PARTS, *pulumi_parts.needed()])
        pulumi = pulumi_parts.ensure()
        base = images.ensure_base()
        daemon = daemon_image.ensure(pulumi)
        _start(parts, base, daemon)
    older, newer = (image.reference.rpartition(":")[2] for image in base[-2:])
    return Cluster(paths.KUBECONFIG, (older, newer), daemon[-1].reference)


def is_running() -> bool:
    """Whether the local Kubernetes is there and its API answers."""
    record = processes.find("apiserver")
    return record is not None and control_plane.apiserver({"kubernetes": Path("/")}).healthy()


def down() -> None:
    """Stop everything and leave nothing running, mounted or configured; caches stay.

    Raises:
        LocalError: something could not be removed; the message says what.
    """
    with _alone():
        teardown.stop_programs()
        teardown.remove_containers()
        teardown.unmount()
        teardown.remove_network()
        teardown.remove_files()


def programs() -> dict[str, Program]:
    """Every program by its name, in the order of their start."""
    return {program.name: program for program in _programs(build.ensure(KUBERNETES_PARTS))}


def stop_program(name: str) -> None:
    """Stop one program and leave the rest running; `start_program` or `up` bring it back.

    Raises:
        LocalError: there is no such program.
    """
    _known(name)
    processes.stop(name)


def start_program(name: str) -> None:
    """Start one program and wait until it does its work.

    Raises:
        LocalError: there is no such program, or it does not start.
    """
    if not paths.KUBECONFIG.exists():
        raise NotRunningError("The local Kubernetes was not started yet: `make up` does.")
    processes.ensure(_known(name))


def kill_container(node: str, container: str) -> None:
    """SIGKILL a container's first process, as if it had crashed; its pod and node carry on.

    Args:
        node: name of its node.
        container: its id, as in the pod's status, with or without the scheme.

    Raises:
        LocalError: there is no such node or container.
    """
    parts = build.ensure(KUBERNETES_PARTS)
    found = next((one for one in NODES if one.name == node), None)
    if not found:
        raise LocalError(f"There is no node {node}")
    identity = container.removeprefix("containerd://")
    done = ctr(parts, found, "tasks", "kill", "--signal", "SIGKILL", identity)
    if done.returncode:
        raise LocalError(f"Container {identity} on {node} was not killed: {done.stderr.strip()}")


def load(archive: Path) -> None:
    """Put the images of an archive (docker save, or an OCI layout) on every node.

    Raises:
        LocalError: the cluster does not run, or the archive cannot be imported.
    """
    if not is_running():
        raise NotRunningError("The local Kubernetes is not running: `make up` starts it.")
    parts = build.ensure(KUBERNETES_PARTS)
    with ThreadPoolExecutor(len(NODES)) as pool:
        list(pool.map(lambda node: node_images.load(parts, node, archive), NODES))


def _other_kubeconfig() -> Path | None:
    """The kubeconfig that the user has set, unless it is the local cluster's own."""
    given = os.environ.get("KUBECONFIG")
    return Path(given) if given and Path(given) != paths.KUBECONFIG else None


def _known(name: str) -> Program:
    known = programs()
    if name not in known:
        raise LocalError(f"There is no program {name}; there are: {', '.join(known)}")
    return known[name]


def _programs(parts: Mapping[str, Path]) -> Iterator[Program]:
    for make in (*control_plane.API, *control_plane.CONTROLLERS, *control_plane.ADDONS):
        yield make(parts)
    for node in NODES:
        yield containerd(parts, node)
        yield kubelet(parts, node)


def _start(parts: Mapping[str, Path], base: Sequence[Image], daemon: Sequence[Image]) -> None:
    """Start what does not run: the API, and beside it the nodes.

    A kubelet waits for the API, since it tries again ever more slowly where there is none, but not for the
    daemon's large image.
    """
    _host()
    _write_configuration()
    with _workers() as pool:
        api = pool.submit(_start_api, parts)
        nodes = [pool.submit(_start_node, parts, node, (base, daemon), api) for node in NODES]
        api.result()
        controllers = [pool.submit(processes.ensure, make(parts)) for make in control_plane.CONTROLLERS]
        _start_addons(parts)
        for controller in controllers:
            controller.result()
        for node in nodes:
            node.result()
        _await_nodes(parts)


def _start_api(parts: Mapping[str, Path]) -> None:
    for make in control_plane.API:
        processes.ensure(make(parts))


def _start_node(
    parts: Mapping[str, Path], node: Node, needed: tuple[Sequence[Image], Sequence[Image]], api: Future[None]
) -> None:
    before, after = needed
    processes.ensure(containerd(parts, node))
    node_images.load_missing(parts, node, before)
    api.result()
    processes.ensure(kubelet(parts, node))
    node_images.load_missing(parts, node, after)


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Threads for what starts side by side; says so only when a start is due."""
    with ThreadPoolExecutor(max_workers=12) as pool:
        if is_running():
            yield pool
        else:
            with progress("local Kubernetes"):
                yield pool


def _host() -> None:
    """Network, control groups, and a clean slate after a reboot."""
    paths.STATE.mkdir(parents=True, exist_ok=True)
    if _BOOT.exists() and _BOOT.read_text() != processes.boot_id():
        say("The machine was started again since the last time: repairing what that took away.")
        teardown.forget_boot()
    paths.write_if_changed(_BOOT, processes.boot_id())
    network.ensure([node.address for node in NODES])
    cgroups.ensure(node.control_group for node in NODES)


def _write_configuration() -> None:
    pki.ensure((*pki.CONTROL_PLANE, *(pki.node_identity(node.name, node.address) for node in NODES)))
    for file, content in config.files(NODES).items():
        paths.write_if_changed(file, content, mode=0o600)
    paths.write_if_changed(paths.KUBECONFIG, pki.kubeconfig("admin"), mode=0o600)
    paths.PULUMI_STATE.mkdir(exist_ok=True, mode=0o700)
    for node in NODES:
        for folder in (node.volumes, node.shims):
            folder.mkdir(parents=True, exist_ok=True)


def _start_addons(parts: Mapping[str, Path]) -> None:
    applied = addons.is_applied(parts)
    if not applied:
        addons.apply_before_programs(parts)
    for make in control_plane.ADDONS:
        processes.ensure(make(parts))
    if not applied:
        addons.apply_issuers(parts)


def _await_nodes(parts: Mapping[str, Path]) -> None:
    """Wait until every node is Ready; a kubelet that ended meanwhile is started again.

    Kubelets that start in the same moment can end over the socket of their device plugins: its path is fixed
    (/var/lib/kubelet/device-plugins, whatever --root-dir says), and each removes it before it listens.
    """

    def all_ready() -> bool:
        ready = kube.ready_nodes()
        late = [node for node in NODES if node.name not in ready]
        for node in late:
            if processes.find(kubelet(parts, node).name) is None:
                processes.ensure(kubelet(parts, node))
        return not late

    if not processes.wait_until(all_ready, _NODES_TIMEOUT_S):
        late = ", ".join(sorted({node.name for node in NODES} - kube.ready_nodes()))
        raise LocalError(
            f"Not Ready after {_NODES_TIMEOUT_S:.0f} s: {late}. "
            f"The kubelets say why in {paths.LOGS}/kubelet-*.log. "
            "If nothing else helps: `python -m local down`, then `up`."
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the machine's lock: one command at a time, from whichever checkout, changes the cluster."""
    basics = preflight.missing_basics()
    if basics:
        raise MissingFeaturesError(basics)
    paths.LOCK.parent.mkdir(parents=True, exist_ok=True)
    with paths.LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another command works on the local Kubernetes; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
