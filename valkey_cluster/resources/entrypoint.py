"""Command line of the valkey container."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from valkey_cluster import names
from valkey_cluster.config import node_timeout_ms

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity
    from valkey_cluster.spec import ValkeyClusterSpec

_ELECTION_S = 4
"""FAIL by gossip and the vote take up to about 2 s after node-timeout; the rest is margin."""

_SCRIPT = """\
if [ -e {data}/nodes.conf ] && [ ! -e {data}/dump.rdb ] && [ ! -e {data}/appendonlydir ]; then
  echo "a cluster identity without data: waiting {wait_s} s, so that a replica with the data is elected first"
  trap 'exit 0' TERM
  sleep {wait_s} & wait $!
  trap - TERM
fi
exec valkey-server {config} \\
  --cluster-announce-ip "$POD_IP" \\
  --cluster-announce-hostname "$POD_NAME.{service}" \\
  --cluster-announce-human-nodename "$POD_NAME"
"""


def command(identity: Identity, spec: ValkeyClusterSpec) -> list[str]:
    """Start the server under its own address; never as an empty primary that is still believed in.

    A primary without data that returns inside node-timeout is still the owner of its slots, and its
    replicas copy its emptiness (measured on 8.0.1, 8.1 and 9.1.2: all keys of the shard lost; kept
    when the start waits until the replica has been elected).
    """
    script = _SCRIPT.format(
        data=names.DATA_DIR,
        config=names.CONFIG_FILE,
        wait_s=math.ceil(node_timeout_ms(spec) / 1000) + _ELECTION_S,
        service=f"{names.headless_service(identity.name)}.{identity.namespace}.svc",
    )
    return ["/bin/sh", "-ec", script]
