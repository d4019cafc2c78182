"""The spec of a ValkeyCluster: its fields, defaults and all validation that needs no other object.

rule      one rule, said in Python and in CEL
formats   kinds of text and quantity
server, placement, directives, later   parts of the spec
cluster   the spec as a whole
parsing   JSON in, spec or all problems out (explaining finds the words)
"""

from __future__ import annotations

from valkey_cluster.spec.cluster import DEFAULT_VERSION, ValkeyClusterSpec, immutable_changes, version_tuple
from valkey_cluster.spec.directives import CLUSTER_TUNABLES, MANAGED
from valkey_cluster.spec.later import NOT_SUPPORTED_YET
from valkey_cluster.spec.parsing import NAME_RULES, parse

__all__ = [
    "CLUSTER_TUNABLES",
    "DEFAULT_VERSION",
    "MANAGED",
    "NAME_RULES",
    "NOT_SUPPORTED_YET",
    "ValkeyClusterSpec",
    "immutable_changes",
    "parse",
    "version_tuple",
]
