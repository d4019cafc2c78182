"""Leaves nothing of the local Kubernetes behind: no process, no mount, no link, no control group, no data.

Everything here finds what to remove by looking at the machine, so it also cleans up after a start that broke
off, and after processes whose records were lost.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from local import cgroups, network, paths, processes
from local.errors import LocalError
from local.nodes import NODES
from local.parts import KUBERNETES_PARTS

_CONTAINER_LOGS = Path("/var/log/containers")
_END_TIMEOUT_S = 10.0


def stop_programs() -> None:
    """Stop every program of the cluster; its data goes as well, so none is asked kindly."""
    for record in sorted(paths.PROCESSES.glob("*.json")):
        processes.stop(record.stem, grace_s=0)
    if not processes.wait_until(lambda: not _kill_leftovers(), _END_TIMEOUT_S):
        raise LocalError(f"Processes {sorted(_leftovers())} do not end, not even by SIGKILL")


def remove_containers() -> None:
    """Kill what runs in the pods and take away their control groups."""
    cgroups.remove(node.control_group for node in NODES)


def unmount() -> None:
    """Unmount everything below the cluster's folders, the innermost first.

    Raises:
        LocalError: something stays mounted; nothing may be deleted then.
    """
    for point in reversed(mounts()):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    left = mounts()
    if left:
        raise LocalError(f"These stay mounted, so the data below them is left alone: {left}")


def mounts(table: str | None = None) -> list[str]:
    """Mount points below the cluster's folders in the order they were mounted, from /proc/self/mountinfo."""
    text = Path("/proc/self/mountinfo").read_text() if table is None else table
    points = [line.split()[4].replace("\\040", " ") for line in text.splitlines()]
    tops = (f"{paths.STATE}/", f"{paths.RUN}/")
    return [point for point in points if point.startswith(tops)]


def remove_network() -> None:
    """Remove bridge and rules, and see the pods' links go: the kernel removes them after their namespaces."""
    network.remove()
    for link in network.pod_links():
        subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
    if not processes.wait_until(lambda: not network.pod_links(), _END_TIMEOUT_S):
        raise LocalError(f"These network links stay: {network.pod_links()}")


def remove_files() -> None:
    """Delete the cluster's data and the links that kubelets put elsewhere."""
    for link in _CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{paths.STATE}/"):
            link.unlink()
    if _CONTAINER_LOGS.exists() and not any(_CONTAINER_LOGS.iterdir()):
        _CONTAINER_LOGS.rmdir()
    shutil.rmtree(paths.RUN, ignore_errors=True)
    if paths.STATE.exists():
        shutil.rmtree(paths.STATE)


def forget_boot() -> None:
    """Drop what only made sense before the machine was started again."""
    unmount()
    shutil.rmtree(paths.RUN, ignore_errors=True)
    shutil.rmtree(paths.PROCESSES, ignore_errors=True)


def _leftovers() -> set[int]:
    """Programs of the cluster without a record: the containers' shims, and those that lost theirs."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if _is_ours(words):
            found.add(int(entry.name))
    return {pid for pid in found if processes.start_time(pid) is not None}


def _is_ours(words: list[bytes]) -> bool:
    """Whether it is one of the parts' programs, run with a file of the cluster; kubectl is a person's."""
    names = {name for part in KUBERNETES_PARTS for name in (*dict(part.binaries), *part.links)}
    if Path(os.fsdecode(words[0])).name not in names - {"kubectl", "ctr"}:
        return False
    tops = (f"{paths.STATE}/".encode(), f"{paths.RUN}/".encode())
    return any(top in word for word in words[1:] for top in tops)


def _kill_leftovers() -> set[int]:
    found = _leftovers()
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found
