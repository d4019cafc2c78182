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
  me=$(sed -n 's/ .*myself,master.*//p' {data}/nodes.conf)
  peers=$(sed -n '/myself/d; s/^[0-9a-f]* \\(..*\\):[0-9]*@.*/\\1/p' {data}/nodes.conf)
  end=$(($(date +%s) + {wait_s}))
  if [ -n "$me" ]; then
    echo "a primary without its data: waiting up to {wait_s} s until a replica with the data owns its slots"
  fi
  while [ -n "$me" ] && [ "$(date +%s)" -lt "$end" ]; do
    for peer in $peers; do
      line=$(valkey-cli -t 1 -h "$peer" -p {port} cluster nodes 2>/dev/null | grep "^$me ") || continue
      set -- $line
      if [ $# -le {bare} ]; then
        echo "$peer says that its slots have another owner"
        break 2
      fi
    done
    sleep 0.2
  done
fi
exec valkey-server {config} \\
  --cluster-announce-ip "$POD_IP" \\
  --cluster-announce-hostname "$POD_NAME.{service}" \\
  --cluster-announce-human-nodename "$POD_NAME"
"""


_FIELDS_BEFORE_SLOTS = 8
"""Of a line of CLUSTER NODES."""


def command(identity: Identity, spec: ValkeyClusterSpec) -> list[str]:
    """Start the server under its own address; never as an empty primary that is still believed in.

    A primary without data that returns inside node-timeout is still the owner of its slots, and its
    replicas copy its emptiness (measured on 8.0.1, 8.1 and 9.1.2: all keys of the shard lost; kept
    when the start waits until the replica has been elected). So it waits until another server says that its
    slots have a new owner, at most as long as an election takes. A replica has nothing to wait for.
    """
    script = _SCRIPT.format(
        data=names.DATA_DIR,
        config=names.CONFIG_FILE,
        port=names.PORT,
        bare=_FIELDS_BEFORE_SLOTS,
        wait_s=math.ceil(node_timeout_ms(spec) / 1000) + _ELECTION_S,
        service=f"{names.headless_service(identity.name)}.{identity.namespace}.svc",
    )
    return ["/bin/sh", "-ec", script]
