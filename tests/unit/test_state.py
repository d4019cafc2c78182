"""What is remembered of a cluster between updates."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fakes import IDENTITY, FakeApi

from daemon.errors import StateUnreadable
from daemon.kube.errors import NotLeader, Unreachable
from daemon.kube.kinds import SECRET
from daemon.state import Record, StateStore, Target
from valkey_cluster.resources import Identity
from valkey_cluster.spec import parse
from valkey_cluster.stage import Stage, render

NAME = "orders-valkeeper-state"
PLACE = ("secrets", "shop", NAME)


def target(**fields: Any) -> Target:
    spec = parse({"shards": 3, **fields}, "orders")
    return Target(render(IDENTITY, spec), spec)


RICH = target(
    resources={"limits": {"memory": "1024Mi"}},
    persistence={"size": "2048Mi"},
    config={"maxclients": "9"},
    scheduling={"affinity": {"nodeAffinity": {}}, "tolerations": [{"operator": "Exists"}]},
)


def checkpoint(of: Stage) -> bytes:
    """As large as Pulumi's: each object stands in it as inputs and as outputs, with what the server added."""
    resources = [
        {
            "urn": f"urn:pulumi:shop.orders::valkeeper::{manifest['kind']}::{manifest['metadata']['name']}",
            "inputs": manifest,
            "outputs": manifest
            | {"__initialApiVersion": "v1", "status": {"n": number}, "uid": f"{number:032x}"},
        }
        for number, manifest in enumerate(of.manifests)
    ]
    return json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}, indent=4).encode()


@pytest.mark.parametrize(
    "record",
    [
        Record(),
        Record(unfinished=RICH),
        Record(checkpoint=b'{"version": 3}', applied=RICH),
        Record(checkpoint=b"\x00\xff", applied=target(), unfinished=RICH),
    ],
    ids=["nothing", "first update under way", "applied", "update under way"],
)
async def test_another_daemon_reads_what_one_wrote(record: Record) -> None:
    api = FakeApi()
    await StateStore(api).save(IDENTITY, record)
    assert await StateStore(api).load(IDENTITY) == record


async def test_the_stage_comes_back_with_its_hash() -> None:
    api = FakeApi()
    await StateStore(api).save(IDENTITY, Record(applied=RICH))
    read = (await StateStore(api).load(IDENTITY)).applied
    assert read is not None
    assert read.stage.hash == RICH.stage.hash
    assert render(IDENTITY, read.spec).hash == RICH.stage.hash


async def test_the_secret_is_the_clusters_own_and_the_same_for_the_same_record() -> None:
    api = FakeApi()
    store = StateStore(api)
    await store.save(IDENTITY, Record(applied=RICH))
    first = api.objects[PLACE]
    assert first["metadata"]["ownerReferences"][0]["uid"] == IDENTITY.uid
    assert first["metadata"]["labels"]["valkeeper.io/cluster"] == "orders"
    await store.save(IDENTITY, Record(applied=RICH))
    assert api.objects[PLACE]["data"] == first["data"]
    assert base64.b64decode(first["data"]["applied"])[4:8] == b"\0" * 4, "gzip's header tells no time"


async def test_a_secret_of_an_earlier_cluster_of_the_name_is_ignored() -> None:
    api = FakeApi()
    await StateStore(api).save(Identity("shop", "orders", "uid-of-the-last-one"), Record(applied=RICH))
    assert await StateStore(api).load(IDENTITY) == Record()


async def test_a_secret_of_nobody_is_ignored() -> None:
    api = FakeApi()
    api.put(SECRET, {"metadata": {"namespace": "shop", "name": NAME}, "data": {"applied": "eA=="}})
    assert await StateStore(api).load(IDENTITY) == Record()


@pytest.mark.parametrize("damage", ["bm90IGd6aXA=", "!", "H4sIAAAAAAAA"])
@pytest.mark.parametrize("part", ["applied", "checkpoint"])
async def test_a_damaged_secret_is_said_to_be_so(damage: str, part: str) -> None:
    api = FakeApi()
    await StateStore(api).save(IDENTITY, Record(checkpoint=b"{}", applied=target()))
    secret = await api.get(SECRET, IDENTITY.namespace, NAME)
    damaged = {**secret, "data": {**secret["data"], part: damage}}
    api.put(SECRET, damaged)
    with pytest.raises(StateUnreadable):
        await StateStore(api).load(IDENTITY)


async def test_a_daemon_that_lost_the_lease_writes_nothing() -> None:
    def lost() -> None:
        raise NotLeader("somebody else holds it")

    api = FakeApi()
    await StateStore(api).save(IDENTITY, Record(applied=RICH))
    store = StateStore(api, lost)
    for write in (store.save(IDENTITY, Record()), store.begin(IDENTITY, target()), store.drop(IDENTITY)):
        with pytest.raises(NotLeader):
            await write
    assert (await StateStore(api).load(IDENTITY)).applied == RICH


async def test_no_secret_is_an_empty_record_and_is_asked_for_once() -> None:
    api = FakeApi()
    store = StateStore(api)
    assert await store.load(IDENTITY) == await store.load(IDENTITY) == Record()
    assert api.verbs() == ["get"]


async def test_a_write_that_failed_is_not_believed() -> None:
    api = FakeApi()
    store = StateStore(api)
    await store.save(IDENTITY, Record(applied=target()))
    api.fail["apply"] = Unreachable("gone")
    with pytest.raises(Unreachable):
        await store.save(IDENTITY, Record(applied=RICH))
    assert await store.load(IDENTITY) == Record(applied=target())
    assert api.verbs() == ["apply", "apply", "get"]


async def test_what_another_daemon_wrote_is_read_after_forgetting() -> None:
    api = FakeApi()
    mine, other = StateStore(api), StateStore(api)
    await mine.save(IDENTITY, Record(applied=target()))
    await other.save(IDENTITY, Record(applied=RICH))
    assert (await mine.load(IDENTITY)).applied == target()
    mine.forget()
    assert (await mine.load(IDENTITY)).applied == RICH


async def test_the_beginning_of_an_update_keeps_what_is_applied() -> None:
    api = FakeApi()
    store = StateStore(api)
    await store.save(IDENTITY, Record(checkpoint=b"x", applied=target()))
    assert await store.begin(IDENTITY, RICH) == Record(b"x", applied=target(), unfinished=RICH)
    assert await StateStore(api).load(IDENTITY) == Record(b"x", applied=target(), unfinished=RICH)


async def test_a_dropped_record_is_gone_and_dropping_it_twice_is_fine() -> None:
    api = FakeApi()
    store = StateStore(api)
    await store.save(IDENTITY, Record(applied=RICH))
    await store.drop(IDENTITY)
    await store.drop(IDENTITY)
    assert PLACE not in api.objects
    assert await store.load(IDENTITY) == Record()


def test_decide_sees_nothing_before_the_first_update() -> None:
    assert Record().as_applied() is None


def test_decide_sees_an_empty_stage_while_the_first_update_is_under_way() -> None:
    applied = Record(unfinished=RICH).as_applied()
    assert applied is not None
    assert applied.stage == Stage(())
    assert (applied.spec, applied.unfinished, applied.unfinished_spec) == (RICH.spec, RICH.stage, RICH.spec)


def test_decide_sees_both_stages_while_a_later_update_is_under_way() -> None:
    applied = Record(applied=target(), unfinished=RICH).as_applied()
    assert applied is not None
    assert (applied.stage, applied.spec) == (target().stage, target().spec)
    assert (applied.unfinished, applied.unfinished_spec) == (RICH.stage, RICH.spec)


async def test_a_hundred_shards_fit_into_a_secret() -> None:
    """The API server takes 1 MiB; 300 kB leaves room for what each object may grow."""
    api = FakeApi()
    large = target(shards=100, replicasPerShard=4)
    state = checkpoint(large.stage)
    assert len(state) > 100 * 4000
    await StateStore(api).save(IDENTITY, Record(state, applied=large, unfinished=large))
    data = api.objects[PLACE]["data"]
    assert set(data) == {"applied", "checkpoint", "unfinished"}
    assert sum(len(part) for part in data.values()) < 300_000
    assert all(base64.b64decode(part)[:2] == b"\x1f\x8b" for part in data.values())
