"""Events tell the story, cannot flood the API server, and never stop the daemon."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kube_server import Clock, KubeServer, running, serving, status, until

from daemon.kube.events import EventRecorder, EventType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EVENTS = "/apis/events.k8s.io/v1/namespaces/n/events"
CLUSTER = {
    "apiVersion": "valkeeper.io/v1alpha1",
    "kind": "ValkeyCluster",
    "metadata": {"namespace": "n", "name": "c", "uid": "u1", "resourceVersion": "7"},
    "spec": {"shards": 3},
}


class Told:
    """A recorder, its server and its clock."""

    def __init__(self, server: KubeServer, recorder: EventRecorder, clock: Clock) -> None:
        self.server = server
        self.recorder = recorder
        self.clock = clock

    async def say(self, note: str, about: dict[str, Any] | None = None) -> None:
        self.recorder.record(about or CLUSTER, "Formed", note, action="Meet")
        await self.recorder.flush(5)

    def events(self) -> list[dict[str, Any]]:
        return list(self.server.objects.values())


@asynccontextmanager
async def telling() -> AsyncIterator[Told]:
    async with serving() as (server, api):
        clock = Clock()
        recorder = EventRecorder(api, "valkeeper.io/daemon", "pod-1", monotonic=clock.monotonic)
        async with running(recorder.run()):
            yield Told(server, recorder, clock)


async def test_an_event_names_its_object_and_its_reporter() -> None:
    async with telling() as told:
        told.recorder.record(CLUSTER, "Blocked", "no node", action="Wait", event_type=EventType.WARNING)
        await told.recorder.flush(5)
        (event,) = told.events()
        assert event["metadata"]["name"].startswith("c-")
        assert event["regarding"] == {
            "apiVersion": "valkeeper.io/v1alpha1",
            "kind": "ValkeyCluster",
            "namespace": "n",
            "name": "c",
            "uid": "u1",
        }
        assert (event["type"], event["reason"], event["action"]) == ("Warning", "Blocked", "Wait")
        assert (event["reportingController"], event["reportingInstance"]) == ("valkeeper.io/daemon", "pod-1")
        assert event["eventTime"].endswith("Z")
        assert "series" not in event
        assert told.recorder.written == 1


async def test_an_object_without_a_namespace_is_told_of_in_default() -> None:
    async with telling() as told:
        await told.say("x", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u2"}})
        assert told.server.seen[-1].path == "/apis/events.k8s.io/v1/namespaces/default/events"


async def test_what_is_said_again_is_counted() -> None:
    async with telling() as told:
        for _ in range(4):
            await told.say("same")
            told.clock.now += 11
        (event,) = told.events()
        assert event["series"]["count"] == 4
        assert event["series"]["lastObservedTime"] > event["eventTime"]
        assert told.server.count("POST") == 1


async def test_a_fast_repetition_is_counted_with_few_requests() -> None:
    async with telling() as told:
        for _ in range(600):
            await told.say("same")
            told.clock.now += 0.1
        (event,) = told.events()
        assert 500 <= event["series"]["count"] <= 600
        assert told.server.count("PATCH") <= 7


async def test_what_is_said_again_after_a_long_silence_is_a_new_event() -> None:
    async with telling() as told:
        await told.say("same")
        told.clock.now += 361
        await told.say("same")
        assert len(told.events()) == 2


async def test_an_event_that_the_server_has_dropped_is_made_anew() -> None:
    async with telling() as told:
        await told.say("same")
        told.server.objects.clear()
        told.clock.now += 60
        await told.say("same")
        (event,) = told.events()
        assert "series" not in event


async def test_one_object_cannot_flood_and_does_not_silence_others() -> None:
    async with telling() as told:
        for i in range(100):
            await told.say(f"note {i}")
        assert len(told.events()) == 25
        assert told.recorder.dropped == 75
        other = CLUSTER | {"metadata": {"namespace": "n", "name": "d", "uid": "u2"}}
        await told.say("note", other)
        assert len(told.events()) == 26
        told.clock.now += 21
        for i in range(100, 105):
            await told.say(f"note {i}")
        assert len(told.events()) == 28


async def test_a_long_note_is_cut_between_characters() -> None:
    async with telling() as told:
        await told.say("x" + "é" * 2000)
        note = told.events()[0]["note"]
        assert 1020 <= len(note.encode()) <= 1024
        assert note.endswith("é…")


async def test_a_failure_is_counted_and_the_next_event_is_written() -> None:
    async with telling() as told:
        told.server.answer_next("POST", 403, status(403, "Forbidden"))
        await told.say("one")
        await told.say("two")
        assert (told.recorder.failed, told.recorder.written) == (1, 1)


async def test_recording_never_waits_and_a_full_queue_is_counted() -> None:
    async with telling() as told:
        told.server.hung = {"POST"}
        for i in range(1500):
            told.recorder.record(CLUSTER, "Formed", f"{i}", action="Meet")
        assert told.recorder.dropped == 500
        await told.recorder.flush(0.05)
        await until(lambda: told.recorder.dropped == 1499)
