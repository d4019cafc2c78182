"""spec -> valkey.conf."""

from __future__ import annotations

from typing import Any

import pytest

from valkey_cluster.config import node_timeout_ms, valkey_conf
from valkey_cluster.spec import MANAGED, ValkeyClusterSpec, parse


def spec(**fields: Any) -> ValkeyClusterSpec:
    return parse({"shards": 3, **fields}, "orders")


def directives(**fields: Any) -> dict[str, str]:
    lines = [line.partition(" ") for line in valkey_conf(spec(**fields)).splitlines()]
    found = {name: value for name, _, value in lines}
    assert len(found) == len(lines), "each directive once"
    return found


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, {"port": "6379", "cluster-enabled": "yes", "cluster-node-timeout": "5000"}),
        ({}, {"save": "3600 1", "appendonly": "yes", "appendfsync": "everysec"}),
        ({"persistence": {"enabled": False}}, {"save": '""', "appendonly": "no"}),
        ({"persistence": {"rdb": {"enabled": False}}}, {"save": '""', "appendonly": "yes"}),
        ({"persistence": {"aof": {"enabled": False}}}, {"save": "3600 1", "appendonly": "no"}),
        ({"persistence": {"rdb": {"save": ["900 1", "60 1000"]}}}, {"save": "900 1 60 1000"}),
        ({"persistence": {"aof": {"fsync": "always"}}}, {"appendfsync": "always"}),
        ({"resources": {"limits": {"memory": "1000Mi"}}}, {"maxmemory": str(1000 * 2**20 * 65 // 100)}),
        ({"persistence": {"enabled": False}}, {"maxmemory": str(256 * 2**20 * 75 // 100)}),
        ({"maxmemory": {"percent": 10, "policy": "volatile-ttl"}}, {"maxmemory-policy": "volatile-ttl"}),
        ({"replicasPerShard": 0}, {"repl-diskless-sync-delay": "0"}),
        ({"replicasPerShard": 2}, {"repl-diskless-sync-delay": "1"}),
        ({"version": "9.0.0"}, {"shutdown-on-sigterm": "failover"}),
        ({"config": {"maxclients": "77"}}, {"maxclients": "77"}),
        ({"config": {"cluster-node-timeout": "9000"}}, {"cluster-node-timeout": "9000"}),
        (
            {"replicasPerShard": 2, "config": {"repl-diskless-sync-delay": "3"}},
            {"repl-diskless-sync-delay": "3"},
        ),
    ],
)
def test_the_spec_becomes_directives(fields: dict[str, Any], says: dict[str, str]) -> None:
    assert directives(**fields).items() >= says.items()


def test_an_older_server_gets_no_directive_that_it_does_not_know() -> None:
    assert "shutdown-on-sigterm" not in directives(version="8.1.1")
    assert "appendfsync" not in directives(persistence={"aof": {"enabled": False}})


def test_the_users_directives_come_last_and_in_a_fixed_order() -> None:
    one = valkey_conf(spec(config={"maxclients": "7", "hz": "50", "timeout": "5"}))
    other = valkey_conf(spec(config={"timeout": "5", "hz": "50", "maxclients": "7"}))
    assert one == other
    assert one.endswith("hz 50\nmaxclients 7\ntimeout 5\n")


def test_what_we_set_and_a_user_must_not_is_refused_by_the_spec() -> None:
    """All but cluster-* (refused as a family) and the two that a user may set in place of ours."""
    refused = {name for names in MANAGED.values() for name in names}
    free = {"cluster-node-timeout", "repl-diskless-sync-delay"}
    ours = set(directives()) - free
    assert {name for name in ours - refused if not name.startswith("cluster-")} == set()


@pytest.mark.parametrize(("config", "milliseconds"), [({}, 5000), ({"cluster-node-timeout": "1500"}, 1500)])
def test_the_node_timeout_is_a_number(config: dict[str, str], milliseconds: int) -> None:
    assert node_timeout_ms(spec(config=config)) == milliseconds
