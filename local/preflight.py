"""What this machine must be able to do for the local Kubernetes to run, tried out rather than guessed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local import cgroups, debian, oci
from local.errors import MissingFeaturesError

if TYPE_CHECKING:
    from collections.abc import Callable

_PROBE = "vkprobe0"
_PROBE_PEER = "vkprobe1"
_RULES = """\
table ip valkeeper-probe {
  map services {
    type ipv4_addr . inet_proto . inet_service : verdict
  }
  chain nat {
    type nat hook output priority -100
    fib daddr type local counter
    ip daddr . meta l4proto . th dport vmap @services
    numgen random mod 2 vmap { 0 : accept, 1 : accept }
    mark and 0x4000 == 0x4000 masquerade
  }
}
"""
"""What kube-proxy's own rules are made of."""


def missing() -> list[str]:
    """One sentence per thing that is missing; empty when the local Kubernetes can run here.

    Programs that `up` installs by itself do not count. Features that need one of them are only tried once
    it is there.
    """
    basics = missing_basics()
    if basics:
        return basics
    checks: tuple[Callable[[], str | None], ...] = (_control_groups, _overlay, _bridge, _links, _packet_rules)
    return [sentence for check in checks if (sentence := check())]


def missing_basics() -> list[str]:
    """What `down` needs too: Linux and root."""
    return [sentence for check in (_linux, _root) if (sentence := check())]


def prepare() -> None:
    """Install the programs that are missing, and see that this machine can do what is needed.

    Raises:
        MissingFeaturesError: it cannot; the message says what is missing and what to use instead.
    """
    before = missing()
    if before:
        raise MissingFeaturesError(before)
    if debian.missing_tools():
        debian.install_tools()
        after = missing()
        if after:
            raise MissingFeaturesError(after)


def _linux() -> str | None:
    if platform.system() != "Linux" or platform.machine() not in oci.ARCHITECTURES:
        return f"Linux on {' or '.join(oci.ARCHITECTURES)} is needed; this is {platform.platform()}"
    return None


def _root() -> str | None:
    if os.geteuid():
        return "root is needed, to start containers and to set up their network (try sudo)"
    return None


def _control_groups() -> str | None:
    absent = cgroups.missing_controllers()
    if absent:
        return f"control groups: no tree below /sys/fs/cgroup has the controllers {', '.join(absent)}"
    trees = [tree.mount for tree in cgroups.hierarchies() if tree.controllers]
    if not all(os.access(tree, os.W_OK) for tree in trees):
        return "control groups are mounted read-only, as in a container that is not privileged"
    return None


def _overlay() -> str | None:
    with tempfile.TemporaryDirectory(dir="/var/lib") as folder:
        lower, upper, work, merged = (Path(folder) / name for name in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        problem = _refused("mount", "-t", "overlay", "overlay", "-o", options, str(merged))
        if problem is None:
            subprocess.run(["umount", merged], check=True)
            return None
        return f"overlayfs cannot be mounted below /var/lib ({problem})"


def _bridge() -> str | None:
    if not shutil.which("ip"):
        return None
    problem = _refused("ip", "link", "add", _PROBE, "type", "bridge")
    if problem is None:
        subprocess.run(["ip", "link", "delete", _PROBE], check=True)
        return None
    return f"the kernel cannot make network bridges ({problem})"


def _links() -> str | None:
    if not shutil.which("ip"):
        return None
    problem = _refused("ip", "link", "add", _PROBE, "type", "veth", "peer", "name", _PROBE_PEER)
    if problem is None:
        subprocess.run(["ip", "link", "delete", _PROBE], check=True)
        return None
    return f"the kernel cannot make veth links ({problem})"


def _packet_rules() -> str | None:
    if not shutil.which("nft"):
        return None
    problem = _refused("nft", "--check", "--file", "-", text=_RULES)
    return problem and f"nftables: the kernel refuses rules like kube-proxy's ({problem})"


def _refused(*command: str, text: str = "") -> str | None:
    """Why the command failed; None when it worked."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[0] if lines else f"{command[0]} ended with {done.returncode}"
