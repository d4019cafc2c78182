"""The nodes' network on this machine: one bridge that carries their addresses.

All nodes share the machine's network namespace. Pods hang on point-to-point links, so that every packet
between two pods is routed, also on one node: a Service's address is then always translated back, with or
without the kernel's br_netfilter.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BRIDGE = "br-node"
API_ADDRESS = "172.30.0.1"
"""Address of the first node, of the API server and of the cluster's DNS; it may not be a loopback one."""
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
POD_RANGE = "10.244.0.0/16"

_LEAST = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288}
"""Kernel settings that are raised to this when they are lower: each kubelet and containerd watches files."""
_KUBE_PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def node_address(number: int) -> str:
    """Address of node `number` on the bridge."""
    return f"172.30.0.{number}"


def without_proxy(given: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that keep a proxy, if one is set, out of the cluster's own traffic."""
    there = given.get("NO_PROXY") or given.get("no_proxy") or ""
    own = ["127.0.0.1", "localhost", "172.30.0.0/24", SERVICE_RANGE, POD_RANGE, ".svc", ".cluster.local"]
    names = [name for name in there.split(",") if name]
    value = ",".join([*names, *(name for name in own if name not in names)])
    return {"NO_PROXY": value, "no_proxy": value}


def ensure(addresses: Sequence[str]) -> bool:
    """Bridge, addresses, the way to the Services and the kernel settings; True when something was missing."""
    changed = _ensure_settings()
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        _ip("link", "add", BRIDGE, "type", "bridge")
        changed = True
    there = _addresses()
    for address in addresses:
        if address not in there:
            _ip("address", "add", f"{address}/24", "dev", BRIDGE)
            changed = True
    if not _is_up():
        _ip("link", "set", BRIDGE, "up")
        changed = True
    if not json.loads(_ip("-json", "route", "show", SERVICE_RANGE)):
        # Host processes reach Services even where the machine has no default route.
        _ip("route", "add", SERVICE_RANGE, "dev", BRIDGE, "src", API_ADDRESS)
        changed = True
    return changed


def remove() -> None:
    """Take away the bridge and kube-proxy's rules."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        _ip("link", "delete", BRIDGE)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    for family, table in _KUBE_PROXY_TABLES:
        if f"table {family} {table}" in tables.splitlines():
            subprocess.run(["nft", "delete", "table", family, table], check=True)


def pod_links() -> list[str]:
    """The machine's ends of the pods' links, known by the address of a pod network's gateway."""
    links = json.loads(_ip("-json", "-4", "address", "show", "type", "veth"))
    prefix = POD_RANGE.split("0.0/", maxsplit=1)[0]
    return [
        link["ifname"]
        for link in links
        if link and any(entry["local"].startswith(prefix) for entry in link["addr_info"])
    ]


def _ensure_settings() -> bool:
    changed = False
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    if forward.read_text().strip() != "1":
        forward.write_text("1")
        changed = True
    for name, least in _LEAST.items():
        setting = Path("/proc/sys") / name
        if int(setting.read_text()) < least:
            setting.write_text(str(least))
            changed = True
    return changed


def _addresses() -> set[str]:
    links = json.loads(_ip("-json", "-4", "address", "show", "dev", BRIDGE))
    return {entry["local"] for link in links for entry in link.get("addr_info", [])}


def _is_up() -> bool:
    return bool(int(Path(f"/sys/class/net/{BRIDGE}/flags").read_text(), 16) & 1)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
