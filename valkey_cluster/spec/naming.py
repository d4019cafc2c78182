"""What must hold of the names that users give their resources."""

from __future__ import annotations

import re

from valkey_cluster import names
from valkey_cluster.spec.formats import DNS_LABEL
from valkey_cluster.spec.rule import Rule, Rules

_NAME = "^[a-z]([a-z0-9-]*[a-z0-9])?$"
_SUFFIXES = tuple(
    name("") for name in (names.headless_service, names.read_service, names.config_map, names.service_account)
)

NAME_RULES = Rules(
    Rule(
        holds=lambda name: len(name) <= names.CLUSTER_NAME_MAX,
        cel=f"size(self.metadata.name) <= {names.CLUSTER_NAME_MAX}",
        message=f"the name is longer than {names.CLUSTER_NAME_MAX} characters, which names of its objects "
        "are made from; choose a shorter one",
    ),
    Rule(
        holds=lambda name: re.fullmatch(_NAME, name, re.ASCII) is not None,
        cel=f"self.metadata.name.matches('{_NAME}')",
        message="the name must be lower-case letters, digits and '-', start with a letter and end with a "
        "letter or digit, because Services are named after it; choose another",
    ),
    Rule(
        holds=lambda name: not name.endswith(_SUFFIXES),
        cel=" && ".join(f"!self.metadata.name.endsWith('{suffix}')" for suffix in _SUFFIXES),
        message=f"a name that ends in {', '.join(_SUFFIXES)} collides with objects of another cluster; "
        "choose another",
    ),
)
"""What must hold of a ValkeyCluster's name."""

UPGRADE_NAME_RULES = Rules(
    Rule(
        holds=lambda name: re.fullmatch(DNS_LABEL, name, re.ASCII) is not None,
        cel=f"self.metadata.name.matches('{DNS_LABEL}')",
        message="the name must be at most 63 lower-case letters, digits and '-', start and end with a letter "
        "or digit; choose another",
    ),
)
"""What must hold of a ValkeyUpgrade's name: nothing is named after it, so it need only be one label."""
