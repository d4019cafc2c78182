"""Which valkey.conf directives a user may write under spec.config, and which field to use for the others.

valkeeper writes the refused ones itself (config.py): from another field of the spec, or because a cluster
in pods works in one way only. Directive names are lower case here; valkey.conf itself ignores case, so the
rule on the keys' spelling is what makes these tables complete.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from valkey_cluster.spec.formats import ARGUMENTS
from valkey_cluster.spec.rule import Rule, Rules, each_key

NODE_TIMEOUT = "cluster-node-timeout"
NODE_TIMEOUT_MIN_MS = 1000
NODE_TIMEOUT_MAX_MS = 60000

CLUSTER_TUNABLES = (
    "cluster-allow-pubsubshard-when-down",
    "cluster-allow-reads-when-down",
    "cluster-databases",
    "cluster-link-sendbuf-limit",
    "cluster-manual-failover-timeout",
    NODE_TIMEOUT,
    "cluster-ping-interval",
    "cluster-require-full-coverage",
    "cluster-slot-migration-log-max-len",
    "cluster-slot-stats-enabled",
)
"""The cluster-* directives that tune and do not steer: free to set. All others are valkeeper's."""

MANAGED = {
    "use spec.persistence.aof": ("appendonly", "appendfsync"),
    "use spec.persistence.rdb": ("save",),
    "use spec.maxmemory": ("maxmemory", "maxmemory-policy"),
    "use spec.users": (
        "aclfile", "masterauth", "masteruser", "primaryauth", "primaryuser", "requirepass", "user",
    ),
    "use spec.replicasPerShard; roles follow the live cluster": ("replicaof", "slaveof"),
    "use spec.terminationGracePeriodSeconds": (
        "shutdown-on-sigint", "shutdown-on-sigterm", "shutdown-timeout",
    ),
    "valkeeper decides where files lie": (
        "appenddirname", "appendfilename", "dbfilename", "dir", "logfile", "pidfile",
        "unixsocket", "unixsocketgroup", "unixsocketperm",
    ),
    "valkeeper decides which addresses and ports nodes use and announce": (
        "availability-zone", "bind", "bind-source-addr", "port", "protected-mode", "replica-announce-ip",
        "replica-announce-port", "slave-announce-ip", "slave-announce-port",
    ),
    "the container decides how the server is run": (
        "daemonize", "supervised", "syslog-enabled", "syslog-facility", "syslog-ident",
    ),
    "a server in a pod loads nothing from elsewhere and renames nothing": (
        "enable-debug-command", "enable-module-command", "enable-protected-configs", "include", "loadmodule",
        "rename-command",
    ),
}  # fmt: skip
"""What to do instead -> the directives that are refused for it."""

_SPELLING = "^[a-z0-9-]{1,64}$"
_MILLISECONDS = "^[0-9]{4,5}$"


def _cel_list(texts: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{text}'" for text in texts) + "]"


def _managed_rule(instead: str, names: tuple[str, ...]) -> Rule:
    return Rule(
        holds=lambda config: not any(name in config for name in names),
        cel=f"{_cel_list(names)}.all(name, !(name in self))",
        message=f"{', '.join(names)} cannot be set here: {instead}",
    )


def _is_node_timeout(text: str) -> bool:
    written = re.fullmatch(_MILLISECONDS, text, re.ASCII)
    return bool(written) and NODE_TIMEOUT_MIN_MS <= int(text) <= NODE_TIMEOUT_MAX_MS


_NAMES = Rules(
    Rule(
        holds=lambda config: all(re.fullmatch(_SPELLING, key, re.ASCII) for key in config),
        cel=f"self.all(key, key.matches('{_SPELLING}'))",
        message="a key is a valkey.conf directive in lower case, such as maxclients; correct the spelling",
    ),
    *(_managed_rule(instead, names) for instead, names in MANAGED.items()),
    Rule(
        holds=lambda config: not any(key.startswith("tls-") for key in config),
        cel="self.all(key, !key.startsWith('tls-'))",
        message="tls-* directives cannot be set here: use spec.tls",
    ),
    Rule(
        holds=lambda config: all(key in CLUSTER_TUNABLES for key in config if key.startswith("cluster-")),
        cel=f"self.all(key, !key.startsWith('cluster-') || key in {_cel_list(CLUSTER_TUNABLES)})",
        message=f"of the cluster-* directives only these can be set: {', '.join(CLUSTER_TUNABLES)}; "
        "valkeeper sets the others",
    ),
)
_NODE_TIMEOUT_BOUNDS = Rule(
    holds=lambda config: NODE_TIMEOUT not in config or _is_node_timeout(config[NODE_TIMEOUT]),
    cel=f"!('{NODE_TIMEOUT}' in self) || (self['{NODE_TIMEOUT}'].matches('{_MILLISECONDS}')"
    f" && int(self['{NODE_TIMEOUT}']) >= {NODE_TIMEOUT_MIN_MS}"
    f" && int(self['{NODE_TIMEOUT}']) <= {NODE_TIMEOUT_MAX_MS})",
    message=f"{NODE_TIMEOUT} must be from {NODE_TIMEOUT_MIN_MS} to {NODE_TIMEOUT_MAX_MS} milliseconds; "
    "choose a value in that range",
)

Directives = Annotated[
    dict[Annotated[str, each_key(_NAMES)], Annotated[str, Field(max_length=1024, pattern=ARGUMENTS)]],
    Field(max_length=128),
    Rules(*_NAMES.rules, _NODE_TIMEOUT_BOUNDS),
]
"""valkey.conf directives: name -> arguments as they stand in valkey.conf."""
