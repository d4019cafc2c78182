"""The container's start script, run by a real sh, with stand-ins for the two programs that it calls."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from valkey_cluster.resources import Identity
from valkey_cluster.resources.entrypoint import command
from valkey_cluster.spec import parse

if TYPE_CHECKING:
    from pathlib import Path

ME, OTHER, HEIR = "a" * 40, "b" * 40, "c" * 40
PRIMARY = f"""\
{OTHER} 10.0.0.2:6379@16379,two,,tls-port=0,shard-id=x master - 0 1 2 connected 5461-10922
{ME} 10.0.0.1:6379@16379,one,,tls-port=0,shard-id=y myself,master - 0 0 1 connected 0-5460
{HEIR} :0@0,three,,tls-port=0,shard-id=y slave,noaddr {ME} 0 1 1 disconnected
vars currentEpoch 3 lastVoteEpoch 0
"""
STILL_OWNER = PRIMARY.replace("myself,", "")
REPLACED = STILL_OWNER.replace(" 0-5460", "")
WAIT_S = 2


@dataclass
class Pod:
    """A data directory, and what the peers answer."""

    root: Path

    def start(self, *, answer: str = "") -> tuple[float, list[str]]:
        """Seconds until the server started, and its arguments."""
        self._program("valkey-server", f'printf "%s\\n" "$@" > {self.root}/started')
        self._program("valkey-cli", f'echo "$@" >> {self.root}/asked; cat {self.root}/answer')
        (self.root / "answer").write_text(answer)
        shell, flags, script = command(Identity("shop", "orders", "uid"), parse({"shards": 3}, "orders"))
        script = script.replace("/data", str(self.root)).replace("+ 9", f"+ {WAIT_S}")
        assert f"+ {WAIT_S}" in script
        environment = {
            "PATH": f"{self.root}:{os.environ['PATH']}",
            "POD_IP": "10.0.0.1",
            "POD_NAME": "orders-0-0",
        }
        began = time.monotonic()
        subprocess.run([shell, flags, script], env=environment, check=True, timeout=30)
        return time.monotonic() - began, (self.root / "started").read_text().splitlines()

    def asked(self) -> list[str]:
        asked = self.root / "asked"
        return asked.read_text().splitlines() if asked.exists() else []

    def _program(self, name: str, body: str) -> None:
        path = self.root / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_the_server_starts_under_its_own_address(pod: Pod) -> None:
    _, arguments = pod.start()
    assert arguments[:3] == ["/etc/valkey/valkey.conf", "--cluster-announce-ip", "10.0.0.1"]
    assert "orders-0-0.orders-headless.shop.svc" in arguments
    assert not pod.asked()


def test_a_primary_that_lost_its_data_waits_while_the_others_still_take_it_for_the_owner(pod: Pod) -> None:
    (pod.root / "nodes.conf").write_text(PRIMARY)
    took_s, _ = pod.start(answer=STILL_OWNER)
    assert took_s > WAIT_S - 1.1, "it started as an empty owner"
    assert set(pod.asked()) == {"-t 1 -h 10.0.0.2 -p 6379 cluster nodes"}


def test_it_starts_as_soon_as_its_slots_have_another_owner(pod: Pod) -> None:
    (pod.root / "nodes.conf").write_text(PRIMARY)
    pod.start(answer=REPLACED)
    assert len(pod.asked()) == 1


@pytest.mark.parametrize("data", ["dump.rdb", "appendonlydir"])
def test_a_primary_with_its_data_waits_for_nobody(pod: Pod, data: str) -> None:
    (pod.root / "nodes.conf").write_text(PRIMARY)
    (pod.root / data).touch()
    pod.start(answer=STILL_OWNER)
    assert not pod.asked()


def test_a_replica_has_nothing_to_wait_for(pod: Pod) -> None:
    conf = PRIMARY.replace("myself,master -", f"myself,slave {OTHER}")
    (pod.root / "nodes.conf").write_text(conf)
    pod.start(answer=STILL_OWNER)
    assert not pod.asked()
