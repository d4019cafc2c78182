"""spec -> valkey.conf.

The order of lines is fixed, so that the same spec gives the same text and the same stage. What the
user sets in `spec.config` comes last, in place of our value where there is one: the spec's rules have
refused every key that must be ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import names
from valkey_cluster.digest import digest
from valkey_cluster.directives import is_live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from valkey_cluster.spec import ValkeyClusterSpec

NODE_TIMEOUT = "cluster-node-timeout"
DEFAULT_NODE_TIMEOUT_MS = 5000
"""Shorter, a throttled pod is taken for dead; longer, a dead one is replaced later (the server's own
default is 15000)."""

FORMING_NODE_TIMEOUT_MS = 500
"""In force on a node only while a cluster that serves nobody is put together: a primary that was in a
minority answers CLUSTERDOWN for min(max(node-timeout, 0.5 s), 5 s) after it is in the majority again.
Measured with 8 nodes of 9.1.2: 1.1 s until cluster_state is ok everywhere, against 7.9 s at 5000 ms."""

SIGTERM_FAILOVER_SINCE = (9, 0, 0)


def node_timeout_ms(spec: ValkeyClusterSpec) -> int:
    """`cluster-node-timeout` of a formed cluster, in milliseconds."""
    return int(spec.config.get(NODE_TIMEOUT, DEFAULT_NODE_TIMEOUT_MS))


def valkey_conf(spec: ValkeyClusterSpec) -> str:
    """The whole valkey.conf of a cluster's pods, one directive a line."""
    ours = [(key, value) for key, value in [*_base(spec), *_persistence(spec)] if key not in spec.config]
    pairs = [*ours, *sorted(spec.config.items())]
    return "".join(f"{key} {value}\n" for key, value in pairs)


def edition(spec: ValkeyClusterSpec) -> str:
    """Short hash of what in valkey.conf takes a restart, and of the version that reads it.

    A ConfigMap is named after it, so a server that restarts finds the file that it was made for, whatever
    the spec has become since; live directives change within an edition.
    """
    version = spec.version_tuple
    frozen = [line for line in valkey_conf(spec).splitlines() if not is_live(line.split(" ")[0], version)]
    return digest([spec.version, frozen])[:8]


def directives_of(conf: str) -> Mapping[str, str]:
    """Name -> arguments, of a text that `valkey_conf` made."""
    return dict(line.split(" ", 1) for line in conf.splitlines())


def _base(spec: ValkeyClusterSpec) -> list[tuple[str, str]]:
    pairs = [
        ("port", str(names.PORT)),
        ("bind", "* -::*"),
        ("protected-mode", "no"),
        ("dir", names.DATA_DIR),
        ("cluster-enabled", "yes"),
        ("cluster-config-file", f"{names.DATA_DIR}/nodes.conf"),
        # Replicas stay in the shard whose StatefulSet they belong to.
        ("cluster-allow-replica-migration", "no"),
        (NODE_TIMEOUT, str(DEFAULT_NODE_TIMEOUT_MS)),
        # Above zero, a replica that never reached its primary since its own start is not elected:
        # it may be hours behind.
        ("cluster-replica-validity-factor", "10"),
        # A replica joins at once instead of after 5 s; with several, they share one snapshot.
        ("repl-diskless-sync-delay", "0" if spec.replicas_per_shard <= 1 else "1"),
        ("maxmemory", str(spec.maxmemory_bytes)),
        ("maxmemory-policy", spec.maxmemory.policy),
    ]
    if spec.version_tuple >= SIGTERM_FAILOVER_SINCE:
        # A primary that Kubernetes stops hands over first, also in a drain that nobody announced.
        pairs.append(("shutdown-on-sigterm", "failover"))
    return pairs


def _persistence(spec: ValkeyClusterSpec) -> list[tuple[str, str]]:
    persistence = spec.persistence
    rdb = persistence.enabled and persistence.rdb.enabled
    aof = persistence.enabled and persistence.aof.enabled
    pairs = [("save", " ".join(persistence.rdb.save) if rdb else '""')]
    pairs.append(("appendonly", "yes" if aof else "no"))
    if aof:
        pairs.append(("appendfsync", persistence.aof.fsync))
    return pairs
