"""When an operation counts as done, by what Kubernetes and the servers tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.bench import catalogue
from tests.bench.catalogue import Seen, operations
from tests.bench.operations import restarts
from tests.bench.resp import Address, Refusal
from tests.bench.subject import MEMBERS, Pod, Server, Subject
from valkey_cluster import names
from valkey_cluster.spec import ValkeyClusterSpec

HERE = Address("10.0.0.1", 6379)
PODS = {
    name: Pod(name, shard, f"uid-{name}", "10.0.0.1", "node-1", f"containerd://{name}", 0, True, "96Mi")
    for shard in range(3)
    for name in (names.pod("bench", shard, 0), names.pod("bench", shard, 1))
}
SEEN = Seen(PODS, PODS["bench-0-0"])
SERVER = Server(primary=False, slots=0, whole=True, members=6, version="8.1.1", maxclients="10000")
OPERATIONS = {operation.name: operation for operation in operations("8.1.1", "9.1.2")}


@dataclass
class FakeSubject:
    """Pods and servers as a test wants them; keeps what was asked for."""

    now: dict[str, Pod] = field(default_factory=lambda: dict(PODS))
    server: Server = SERVER
    asked: list[Any] = field(default_factory=list)
    owned: tuple[int, ...] = ()

    async def servers(self) -> dict[str, Server]:
        return {
            str(number): replace(SERVER, primary=bool(count), slots=count)
            for number, count in enumerate(self.owned)
        }

    async def pods(self) -> dict[str, Pod]:
        return self.now

    async def all_servers(self, hold: Any) -> bool:
        return bool(hold(self.server))

    async def edit(self, spec: dict[str, Any]) -> None:
        self.asked.append(spec)

    async def kill(self, pod: Pod) -> None:
        self.asked.append(("kill", pod.name))

    async def delete_pod(self, pod: Pod) -> None:
        self.asked.append(("delete", pod.name))


def every(**changes: Any) -> dict[str, Pod]:
    return {name: replace(pod, **changes) for name, pod in PODS.items()}


def victim(**changes: Any) -> dict[str, Pod]:
    return PODS | {"bench-0-0": replace(SEEN.victim, **changes)}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("roll", {"annotations": {"bench/roll": "1"}}),
        ("upgrade", {"version": "9.1.2"}),
        ("resize-up", {"resources": {"requests": {"cpu": "250m", "memory": "128Mi"}}}),
        ("resize-down", {"resources": {"requests": {"cpu": "250m", "memory": "96Mi"}}}),
        ("live-config", {"config": {"maxclients": "5000"}}),
        ("scale-out", {"shards": 4}),
        ("scale-in", {"shards": 3}),
        ("primary-killed", ("kill", "bench-0-0")),
        ("primary-killed-cache", ("kill", "bench-0-0")),
        ("primary-pod-deleted", ("delete", "bench-0-0")),
    ],
)
async def test_what_an_operation_does(name, asked):
    subject = FakeSubject()
    await OPERATIONS[name].run(subject, SEEN)
    assert subject.asked == [asked]


GONE = {name: pod for name, pod in PODS.items() if name != "bench-0-0"}


@pytest.mark.parametrize(
    ("name", "subject", "done"),
    [
        ("roll", FakeSubject(), False),
        ("roll", FakeSubject(every(uid="new")), True),
        ("roll", FakeSubject(every(uid="new", running=False)), False),
        ("roll", FakeSubject(every(uid="new") | {"bench-2-1": PODS["bench-2-1"]}), False),
        ("upgrade", FakeSubject(), False),
        ("upgrade", FakeSubject(server=replace(SERVER, version="9.1.2")), True),
        ("resize-up", FakeSubject(), False),
        ("resize-up", FakeSubject(every(memory="128Mi")), True),
        ("resize-up", FakeSubject(victim(memory="128Mi")), False),
        ("resize-down", FakeSubject(), True),
        ("live-config", FakeSubject(), False),
        ("live-config", FakeSubject(server=replace(SERVER, maxclients="5000")), True),
        ("scale-out", FakeSubject(owned=(5461, 5461, 5462, 0, 0)), False),
        ("scale-out", FakeSubject(owned=(5000, 4000, 4000, 3384)), False),
        ("scale-out", FakeSubject(owned=(4096, 4096, 4096, 4096, 0)), True),
        ("primary-killed", FakeSubject(), False),
        ("primary-killed", FakeSubject(victim(running=False)), False),
        ("primary-killed", FakeSubject(victim(container="containerd://next", restarts=1)), True),
        ("primary-pod-deleted", FakeSubject(GONE), False),
        ("primary-pod-deleted", FakeSubject(victim(uid="new", container="")), True),
    ],
)
async def test_an_operation_is_done_when_every_pod_shows_it(name, subject, done):
    assert await OPERATIONS[name].done(subject, SEEN) is done


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_specs_of_an_operation_are_valid(name):
    spec = {"shards": 3, "version": "9.1.2", **catalogue.memory("96Mi"), **OPERATIONS[name].spec}
    assert ValkeyClusterSpec.model_validate(spec).shards in {3, 4, 6}


def test_restarts_are_counted_in_pods_that_stayed():
    after = victim(restarts=2) | {"bench-1-0": replace(PODS["bench-1-0"], uid="new", restarts=5)}
    assert restarts(PODS, after) == 2
    assert restarts(PODS, GONE) == 0


def test_a_pod_as_kubernetes_tells_of_it():
    pod = {
        "metadata": {"name": "bench-1-0", "uid": "u", "labels": {names.LABEL_SHARD: "1"}},
        "spec": {"nodeName": "node-2"},
        "status": {
            "podIP": "10.0.0.7",
            "containerStatuses": [
                {
                    "containerID": "containerd://c",
                    "restartCount": 3,
                    "state": {"running": {}},
                    "resources": {"requests": {"memory": "96Mi"}},
                }
            ],
        },
    }
    assert Pod.of(pod) == Pod(
        "bench-1-0", 1, "u", "10.0.0.7", "node-2", "containerd://c", 3, running=True, memory="96Mi"
    )
    going = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "now"}}
    assert not Pod.of(going).running
    assert Pod.of({**pod, "status": {}, "spec": {}}).ip == ""


def a_table(count: int = MEMBERS, missing: int = 0) -> bytes:
    lines = []
    for number in range(count):
        flags = "myself,master" if number == 0 else "master"
        owned = f"{number * 8192}-{(number + 1) * 8192 - 1 - missing}" if number < 2 else ""
        lines.append(f"{number:040x} 10.0.0.{number}:6379@1 {flags} - 0 0 1 connected {owned}")
    return "\n".join(lines).encode()


INFO = b"# Server\r\nvalkey_version:9.1.2\r\nrole:slave\r\nmaster_link_status:up\r\n"
STATE = b"cluster_state:ok\r\n"
CONFIG = [b"maxclients", b"5000"]


@pytest.mark.parametrize(
    ("answers", "whole"),
    [
        ([a_table(), STATE, INFO, CONFIG], True),
        ([a_table(missing=1), STATE, INFO, CONFIG], False),
        ([a_table(missing=-1), STATE, INFO, CONFIG], False),
        ([a_table(), b"cluster_state:fail\r\n", INFO, CONFIG], False),
        ([a_table(), STATE, INFO.replace(b":up", b":down"), CONFIG], False),
        ([a_table(), STATE, b"role:master\r\n", CONFIG], True),
    ],
    ids=["all is well", "slots free", "slots twice", "not ok", "not in sync", "a primary"],
)
def test_a_server_says_whether_all_is_well(answers, whole):
    said = Server.of(HERE, answers)
    assert said is not None
    assert (said.whole, said.primary, said.maxclients, said.members) == (whole, True, "5000", MEMBERS)


def test_a_server_that_loads_says_nothing():
    assert Server.of(HERE, [Refusal("LOADING"), Refusal("LOADING"), INFO, CONFIG]) is None


def test_names_of_measured_clusters_are_short_enough():
    assert all(len(f"bench-{name}-10") <= names.CLUSTER_NAME_MAX for name in OPERATIONS)
    assert Subject.__doc__
