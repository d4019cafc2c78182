"""A cluster that was formed, and what may happen to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fake_act import commands
from fake_cluster import FakeCluster, spec_of
from passes import look, settle

from daemon.steps import Steady

if TYPE_CHECKING:
    from daemon.topology import PodName

NODES = 3


def formed(shards: int, replicas: int, *, persistent: bool = True, **fields: Any) -> FakeCluster:
    """A whole cluster with a few acknowledged keys in each shard, on three nodes, each a zone."""
    spec = spec_of(shards=shards, replicasPerShard=replicas, persistence={"enabled": persistent}, **fields)

    def place(name: PodName) -> tuple[str, str]:
        number = sum(map(int, name.split("-")[1:])) % NODES
        return f"node-{number}", f"zone-{number}"

    fake = FakeCluster(spec, places=place)
    assert isinstance(settle(fake), Steady)
    for shard in range(shards):
        assert fake.write(shard)
        assert fake.write(shard)
    return fake


class Events:
    """What may happen to a cluster; each takes a number that says to what."""

    def __init__(self, fake: FakeCluster) -> None:
        self.fake = fake

    def pod_deleted(self, number: int) -> None:
        self._kill(number, keep_claim=True)

    def pod_and_claim_deleted(self, number: int) -> None:
        self._kill(number, keep_claim=False)

    def pod_deleted_and_kept_from_starting(self, number: int) -> None:
        names = sorted(self.fake.pods)
        if names:
            self.fake.slow.add(names[number % len(names)])
            self._kill(number, keep_claim=True)

    def pods_may_start(self, _: int) -> None:
        self.fake.slow.clear()

    def all_pods_deleted(self, _: int) -> None:
        for name in sorted(self.fake.pods):
            self.fake.kill(name, keep_claim=True)

    def node_goes_away(self, number: int) -> None:
        self.fake.away.add(f"node-{number % NODES}")

    def another_node_is_away(self, number: int) -> None:
        """One goes as the other comes back."""
        self.fake.away = {f"node-{number % NODES}"}

    def nodes_come_back(self, _: int) -> None:
        self.fake.away.clear()

    def set_deleted(self, number: int) -> None:
        """Somebody deletes a StatefulSet."""
        sets = sorted(key for key in self.fake.objects if key[0] == "StatefulSet")
        if sets:
            del self.fake.objects[sets[number % len(sets)]]

    def daemon_dies(self, number: int) -> None:
        """In the middle of its next step."""
        step = look(self.fake)
        count = len(commands(self.fake, step))
        if count:
            self.fake.half(step, number % count)

    def keys_are_written(self, number: int) -> None:
        assert self.fake.spec
        self.fake.write(number % self.fake.spec.shards)

    def one_pass(self, _: int) -> None:
        self.fake.perform(look(self.fake))

    def time_passes(self, number: int) -> None:
        for _ in range(1 + number % 20):
            self.fake.turn()

    def daemon_works(self, number: int) -> None:
        """It works as it should, for some seconds: enough, at times, for an election."""
        for _ in range(1 + number % 30):
            self.fake.perform(look(self.fake))
            self.fake.turn()

    def _kill(self, number: int, *, keep_claim: bool) -> None:
        pods = sorted(self.fake.pods)
        if pods:
            self.fake.kill(pods[number % len(pods)], keep_claim=keep_claim)
