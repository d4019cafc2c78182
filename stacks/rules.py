"""What an environment asks of its ValkeyClusters: one tuple of pure rules, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stacks.config import ClusterConfig, Rules
from valkey_cluster.errors import SpecError
from valkey_cluster.spec import ValkeyClusterSpec, parse

Rule = Callable[[Rules, ValkeyClusterSpec], str | None]


def enough_replicas(rules: Rules, spec: ValkeyClusterSpec) -> str | None:
    """A shard with one copy loses data with its pod."""
    if spec.replicas_per_shard >= rules.min_replicas_per_shard:
        return None
    return f"spec.replicasPerShard: must be {rules.min_replicas_per_shard} or more in this environment"


def enough_shards(rules: Rules, spec: ValkeyClusterSpec) -> str | None:
    """Below three primaries there is no majority after one is lost, and so no automatic failover."""
    if spec.shards >= rules.min_shards:
        return None
    return f"spec.shards: must be {rules.min_shards} or more in this environment"


def persistent(rules: Rules, spec: ValkeyClusterSpec) -> str | None:
    """Data that must outlive all pods at once."""
    if spec.persistence.enabled or not rules.persistence_required:
        return None
    return "spec.persistence.enabled: must be true in this environment"


def spread(rules: Rules, spec: ValkeyClusterSpec) -> str | None:
    """Copies of a shard never on one node."""
    if spec.scheduling.nodes == "Required" or not rules.spread_required:
        return None
    return "spec.scheduling.nodes: must be Required in this environment"


def allowed_repository(rules: Rules, spec: ValkeyClusterSpec) -> str | None:
    """Images only from where the environment trusts them."""
    allowed = rules.allowed_repositories
    if not allowed or spec.image.repository.startswith(allowed):
        return None
    return f"spec.image.repository: must start with {' or '.join(allowed)} in this environment"


RULES: tuple[Rule, ...] = (enough_replicas, enough_shards, persistent, spread, allowed_repository)


def problems(rules: Rules, clusters: Iterable[ClusterConfig]) -> tuple[str, ...]:
    """Every problem of every cluster, each with the cluster's name and the field."""
    found: list[str] = []
    for cluster in clusters:
        name = f"{cluster.namespace}/{cluster.name}"
        try:
            spec = parse(cluster.spec, cluster.name)
        except SpecError as error:
            found.extend(f"{name}: {problem}" for problem in error.problems)
            continue
        found.extend(f"{name}: {text}" for rule in RULES if (text := rule(rules, spec)) is not None)
    return tuple(found)
