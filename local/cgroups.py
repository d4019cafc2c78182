"""One control group per node, below which its kubelet puts the pods: version 1 and version 2.

The group's processes are exactly the node's containers, so it is also how `down` finds them.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.errors import LocalError
from local.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NEEDED = ("cpu", "cpuset", "memory", "pids")
"""Controllers without which the kubelet does not start."""
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
_HOST_GROUP = "valkeeper-host"
_CPU_WEIGHTS = {"cpu.shares": "10240", "cpu.weight": "1000"}
"""Ten times that of a group of which nothing is said, in version 1 and version 2."""
_KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree of control groups."""

    mount: Path
    is_v2: bool
    controllers: frozenset[str]


def hierarchies(mounts: str | None = None) -> list[Hierarchy]:
    """The mounted trees, from the text of /proc/self/mounts."""
    text = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    found = []
    for line in text.splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup":
            found.append(Hierarchy(Path(mount), False, frozenset(options.split(","))))
        elif kind == "cgroup2":
            controllers = Path(mount) / "cgroup.controllers"
            names = controllers.read_text().split() if controllers.exists() else []
            found.append(Hierarchy(Path(mount), True, frozenset(names)))
    return found


def missing_controllers() -> list[str]:
    """Controllers that the kubelet needs and that no mounted tree has."""
    there = {name for tree in hierarchies() for name in tree.controllers}
    return [name for name in NEEDED if name not in there]


def ensure(groups: Iterable[str]) -> bool:
    """Make each group in every tree; True when one was missing."""
    changed = False
    names = list(groups)
    for tree in hierarchies():
        absent = [name for name in names if not (tree.mount / name).exists()]
        if absent and tree.is_v2 and tree.controllers.issuperset(NEEDED):
            _delegate(tree)
        for name in absent:
            (tree.mount / name).mkdir()
            changed = True
        for name in names:
            _inherit_cpuset(tree.mount, tree.mount / name)
            _prefer(tree.mount / name)
    return changed


def remove(groups: Iterable[str]) -> None:
    """Kill what runs in the groups and take the groups away, from every tree."""
    for name in list(groups):
        for tree in hierarchies():
            top = tree.mount / name
            if not top.exists():
                continue
            if not wait_until(lambda top=top: not _kill_all(top), _KILL_TIMEOUT_S):  # type: ignore[misc]
                raise RuntimeError(f"processes in {top} outlive SIGKILL: {sorted(_processes(top))}")
            for folder in _bottom_up(top):
                folder.rmdir()


def _delegate(tree: Hierarchy) -> None:
    """Let groups below the root of a version 2 tree use its controllers.

    In a container's own root group this is refused while processes are in it; they move to a leaf first.

    Raises:
        LocalError: it is refused even then.
    """
    wanted = " ".join(f"+{name}" for name in sorted(tree.controllers))
    control = tree.mount / "cgroup.subtree_control"
    try:
        control.write_text(wanted)
    except OSError as refused:
        if refused.errno != errno.EBUSY:
            raise
        leaf = tree.mount / _HOST_GROUP
        leaf.mkdir(exist_ok=True)
        try:
            for pid in (tree.mount / "cgroup.procs").read_text().split():
                (leaf / "cgroup.procs").write_text(pid)
            control.write_text(wanted)
        except OSError as again:
            raise LocalError(
                f"{control} does not take {wanted} ({again}): these control groups belong to someone else. "
                "Set KUBECONFIG to use a cluster of your own."
            ) from refused


def _inherit_cpuset(parent: Path, group: Path) -> None:
    """Version 1 starts a group with no processors and no memory nodes at all."""
    for name in _CPUSET_FILES:
        file = group / name
        if file.exists() and (parent / name).exists() and not file.read_text().strip():
            file.write_text((parent / name).read_text())


def _prefer(group: Path) -> None:
    """Pods get the CPU before what runs the cluster: on real machines the two do not share one."""
    for name, value in _CPU_WEIGHTS.items():
        file = group / name
        if file.exists():
            file.write_text(value)


def _bottom_up(top: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)


def _processes(top: Path) -> set[int]:
    found: set[int] = set()
    for folder in _bottom_up(top):
        found.update(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
    return found


def _kill_all(top: Path) -> set[int]:
    """Kill every process in the tree; those that were still there."""
    found = _processes(top)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found
