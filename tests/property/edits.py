"""A running cluster whose spec is edited under writes: the edits, and what must be true in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from events import Events, formed
from fake_act import commands
from fake_cluster import FakeCluster, spec_of
from fake_kubelet import Pod, container_of
from fake_valkey import answered, within
from passes import IDLE, assert_whole, attempt, look, settle

from valkey_cluster.config import directives_of
from valkey_cluster.quantity import to_bytes
from valkey_cluster.resources.config_map import conf_of
from valkey_cluster.stage import Stage, config_of, key, render, template_of

if TYPE_CHECKING:
    from daemon.steps import Step

VERSIONS = ("9.1.3", "9.2.0")
EDITS: tuple[tuple[str, Any], ...] = (
    ("image", {"repository": "registry.local/valkey"}),
    ("image", {"tag": "9.1.2-alpine"}),
    ("image", {}),
    ("annotations", {"team": "a"}),
    ("annotations", {}),
    ("resources", {"limits": {"memory": "512Mi"}}),
    ("resources", {"requests": {"cpu": "250m"}, "limits": {"memory": "128Mi"}}),
    ("resources", {"requests": {"memory": "64Mi"}, "limits": {"memory": "256Mi"}}),
    ("resources", {}),
    ("config", {"maxmemory-samples": "7"}),
    ("config", {"maxmemory-samples": "9", "repl-backlog-size": "32mb", "hz": "20"}),
    ("config", {"tcp-backlog": "1024"}),
    ("config", {"tcp-backlog": "256", "hz": "50"}),
    ("config", {}),
    ("maxmemory", {"percent": 40}),
    ("maxmemory", {"percent": 80, "policy": "allkeys-lru"}),
    ("maxmemory", {}),
)


def running(shards: int, replicas: int, *, persistent: bool = True, **fields: Any) -> FakeCluster:
    """A formed cluster, and clients that write at every moment."""
    fake = formed(shards, replicas, persistent=persistent, **fields)
    fake.busy = True
    return fake


def edit(fake: FakeCluster, **fields: Any) -> None:
    """Some fields of the spec are written anew, as `kubectl apply` would."""
    assert fake.spec
    before = fake.spec.as_manifest()
    fake.spec = spec_of(**{**before, **fields})
    fake.generation += 1


def follow(fake: FakeCluster, rest: int = 140) -> Step:
    """Where it comes to rest; a roll of all pods, or an upgrade and its way back, fit into the bounds."""
    pods = fake.members()[0]
    return settle(fake, turns=2 * rest + 100 + 60 * pods, steps=60 + 16 * pods, rest=rest)


def until(fake: FakeCluster, kind: type[Step], passes: int = 400) -> Step:
    """Do what is to be done until a step of this kind is next; that one is not performed."""
    for _ in range(passes):
        step = look(fake)
        if isinstance(step, kind):
            return step
        if isinstance(step, IDLE) or not attempt(fake, step):
            fake.turn()
    raise AssertionError(f"no {kind.__name__}, but {step}")


class Changes(Events):
    """Edits, and what may happen in the middle of them."""

    def edited(self, number: int) -> None:
        field, value = EDITS[number % len(EDITS)]
        edit(self.fake, **{field: value})

    def pod_killed(self, number: int) -> None:
        pod = self._survivable(number)
        if pod is not None:
            self.fake.kill(pod.name, keep_claim=True)

    def container_killed(self, number: int) -> None:
        """Not beside a pod of the same shard that is being rolled: then no copy of a cache is left."""
        pod = self._survivable(number)
        rolled = {self.fake.pods[name].shard for name in self.fake.down_by_us & set(self.fake.pods)}
        if pod is not None and pod.runs and pod.shard not in rolled:
            self.fake.kill_container(pod.name)

    def daemon_dies(self, number: int) -> None:
        step = look(self.fake)
        count = len(commands(self.fake, step))
        if count > 1:
            self.fake.half(step, number % count)

    def one_pass(self, _: int) -> None:
        attempt(self.fake, look(self.fake))

    def daemon_works(self, number: int) -> None:
        for _ in range(1 + number % 12):
            attempt(self.fake, look(self.fake))
            self.fake.turn()

    def _survivable(self, number: int) -> Pod | None:
        """A pod that a cluster can lose: its claim brings its data back, or another copy is in sync.

        Without a claim, nobody else may be missing, and a primary needs a majority of others.
        """
        fake = self.fake
        pods = [fake.pods[name] for name in sorted(fake.pods)]
        if not pods:
            return None
        pod = pods[number % len(pods)]
        if pod.name in fake.volumes:
            return pod
        if len(pods) < fake.members()[0]:
            return None
        if any(one.server is None or not (one.server.votes or one.server.linked) for one in pods):
            return None
        followers = [
            one for one in pods if one.server and pod.server and one.server.primary_id == pod.server.node_id
        ]
        shards = fake.members()[1]
        heir = bool(followers) and shards > 2
        return pod if heir or not (pod.server and pod.server.votes) else None


def assert_follows(fake: FakeCluster) -> None:
    """Objects, pods and servers are as the last spec says, and the cluster is whole."""
    wanted = _wanted(fake)
    assert {key(one): one for one in fake.objects.values()} == wanted.by_key
    for pod in fake.pods.values():
        made = _set_of(wanted, pod)
        assert template_of(pod.made_from) == template_of(made), (
            f"{pod.name} was not made from the last template"
        )
        assert pod.asked == container_of(made)["resources"], f"{pod.name} does not ask for what the spec says"
        assert pod.actual["limits"]["memory"] == pod.asked["limits"]["memory"]
        assert pod.server
        assert to_bytes(pod.actual["limits"]["memory"]) > int(pod.server.config["maxmemory"])
        conf = directives_of(conf_of(wanted.by_key["ConfigMap", config_of(made)]))
        has = {name: pod.server.config[name] for name in conf}
        assert has == {name: answered(value) for name, value in conf.items()}, pod.name
    assert_whole(fake)
    assert_kept(fake)


def assert_kept(fake: FakeCluster) -> None:
    """Every acknowledged write is served, and no failover came to nothing."""
    served = {key for server in fake.running() for key in server.keys if within(server.slots, key)}
    assert fake.acknowledged <= served
    assert not fake.stalled, "a failover came to nothing"
    assert fake.acknowledged


def _wanted(fake: FakeCluster) -> Stage:
    assert fake.spec
    return render(fake.identity, fake.spec)


def _set_of(stage: Stage, pod: Pod) -> dict[str, Any]:
    return next(
        one
        for one in stage.manifests
        if one["kind"] == "StatefulSet" and pod.name.startswith(one["metadata"]["name"] + "-")
    )
