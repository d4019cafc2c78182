"""Where things are: the machine's one cluster below STATE and RUN, what outlives it in the cache."""

from __future__ import annotations

import os
from pathlib import Path

STATE = Path("/var/lib/valkeeper/local")
"""The cluster's data: keys, etcd, volumes, logs, process records. `down` removes it."""
RUN = Path("/run/valkeeper")
"""What does not survive a reboot: sockets, mounts, addresses given to pods. `down` removes it."""
LOCK = Path("/run/lock/valkeeper-local.lock")

LOGS = STATE / "logs"
AUDIT_LOG = LOGS / "audit.log"
PKI = STATE / "pki"
CONFIG = STATE / "config"
PROCESSES = STATE / "processes"
KUBECONFIG = STATE / "kubeconfig"
PULUMI_STATE = STATE / "pulumi-state"
"""Pulumi's file backend of the environment stack `local`: it lives and dies with the cluster it describes."""

CHECKOUT = Path(__file__).resolve().parent.parent
"""The working copy that this package is part of."""
PARTS = CHECKOUT / "local" / "parts"


def cache() -> Path:
    """Folder of build outputs, shared by checkouts: $VALKEEPER_CACHE or ~/.cache/valkeeper."""
    return Path(os.environ.get("VALKEEPER_CACHE") or Path.home() / ".cache" / "valkeeper")


def write_if_changed(path: Path, text: str, mode: int = 0o644) -> None:
    """Make `path` hold `text`; readers see the old or the new content, never a part of it."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=mode)
    fresh.write_text(text)
    fresh.replace(path)
