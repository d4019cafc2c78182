"""The specs of ValkeyCluster and ValkeyUpgrade: fields, defaults, all validation that needs no other object.

rule       one rule, said in Python and in CEL
formats    kinds of text and quantity
versions   versions of Valkey, and which may follow which
naming     names of the resources
server, placement, directives, later   parts of a cluster's spec
cluster    the spec of a cluster as a whole
upgrade    the spec of an upgrade
parsing    JSON in, spec or all problems out (explaining finds the words)
"""

from __future__ import annotations

from valkey_cluster.spec.cluster import DEFAULT_VERSION, ValkeyClusterSpec
from valkey_cluster.spec.directives import CLUSTER_TUNABLES, MANAGED
from valkey_cluster.spec.later import NOT_SUPPORTED_YET
from valkey_cluster.spec.naming import NAME_RULES, UPGRADE_NAME_RULES
from valkey_cluster.spec.parsing import parse, parse_upgrade
from valkey_cluster.spec.rule import immutable_changes
from valkey_cluster.spec.upgrade import ValkeyUpgradeSpec
from valkey_cluster.spec.versions import edge_problem, version_tuple

__all__ = [
    "CLUSTER_TUNABLES",
    "DEFAULT_VERSION",
    "MANAGED",
    "NAME_RULES",
    "NOT_SUPPORTED_YET",
    "UPGRADE_NAME_RULES",
    "ValkeyClusterSpec",
    "ValkeyUpgradeSpec",
    "edge_problem",
    "immutable_changes",
    "parse",
    "parse_upgrade",
    "version_tuple",
]
