"""The three nodes: what each of them owns, and its two programs, containerd and the kubelet.

Each node has a containerd of its own: kubelets that share one delete each other's pods.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local import paths, pki
from local.health import answers
from local.network import node_address
from local.processes import Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
NAMESPACE = "k8s.io"
"""The containerd namespace in which the kubelet looks for images and containers."""


@dataclass(frozen=True)
class Node:
    """One node and everything that is named after it."""

    number: int

    @property
    def name(self) -> str:
        """Name of the Node object."""
        return f"n{self.number}"

    @property
    def zone(self) -> str:
        """Its availability zone."""
        return f"z{self.number}"

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return node_address(self.number)

    @property
    def pod_range(self) -> str:
        """Addresses of its pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def folder(self) -> Path:
        """What it keeps over a reboot."""
        return paths.STATE / "nodes" / self.name

    @property
    def run(self) -> Path:
        """What it loses at a reboot."""
        return paths.RUN / self.name

    @property
    def socket(self) -> Path:
        """Its containerd's socket."""
        return self.run / "containerd.sock"

    @property
    def shims(self) -> Path:
        """Where its containers' shims listen; containerd takes at most 42 characters."""
        return self.run / "shims"

    @property
    def control_group(self) -> str:
        """Control group of its pods, relative to the root of each tree."""
        return f"valkeeper-{self.name}"

    @property
    def volumes(self) -> Path:
        """Where its persistent volumes are."""
        return self.folder / "volumes"


NODES = tuple(Node(number) for number in (1, 2, 3))


def config_file(node: Node, name: str) -> Path:
    """One of the node's configuration files."""
    return paths.CONFIG / node.name / name


def ctr(parts: Mapping[str, Path], node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the node's containerd."""
    program = parts["containerd"] / "bin" / "ctr"
    command = [str(program), "--address", str(node.socket), "--namespace", NAMESPACE]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def containerd(parts: Mapping[str, Path], node: Node) -> Program:
    """The node's container runtime."""
    programs = parts["containerd"] / "bin"
    config = config_file(node, "containerd.toml")
    return Program(
        name=f"containerd-{node.name}",
        command=(str(programs / "containerd"), "--config", str(config)),
        healthy=lambda: node.socket.exists() and ctr(parts, node, "version").returncode == 0,
        inputs=(config,),
        search_path=str(programs),
    )


def kubelet(parts: Mapping[str, Path], node: Node) -> Program:
    """The node's kubelet."""
    config = config_file(node, "kubelet.yaml")
    kubeconfig = config_file(node, "kubeconfig")
    return Program(
        name=f"kubelet-{node.name}",
        command=(
            str(parts["kubernetes"] / "bin" / "kubelet"),
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--root-dir={node.folder / 'kubelet'}",
            f"--node-labels=topology.kubernetes.io/zone={node.zone},topology.kubernetes.io/region=local",
        ),
        healthy=lambda: answers(f"http://{node.address}:{KUBELET_HEALTH_PORT}/healthz"),
        inputs=(config, kubeconfig),
    )


def identities() -> tuple[pki.Identity, ...]:
    """Identities of the kubelets."""
    return tuple(pki.node_identity(node.name, node.address) for node in NODES)
