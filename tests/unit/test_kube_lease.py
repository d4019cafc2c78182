"""One leader at a time, whatever hangs, crashes or lies about the time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kube_server import Clock, KubeServer, running, serving, until

from daemon.kube.api import Key
from daemon.kube.client import LightkubeApi, Timeouts
from daemon.kube.errors import NotLeader
from daemon.kube.lease import Lease, Timing

LEASES = "/apis/coordination.k8s.io/v1/namespaces/n/leases"
KEY = Key("n", "valkeeper")


def candidate(api: LightkubeApi, identity: str) -> Lease:
    """A candidate in real time, some times faster than in production."""
    return Lease(api, KEY, identity, Timing(duration_s=2, deadline_s=1.5, retry_s=0.1))


def timed(api: LightkubeApi, identity: str, clock: Clock, wall_off_h: float = 0) -> Lease:
    """A candidate with the times of production, on the test's clock."""
    off = timedelta(hours=wall_off_h)
    timing = Timing(
        monotonic=clock.monotonic,
        wall=lambda: datetime.fromtimestamp(clock.now, UTC) + off,
        sleep=clock.sleep,
        rand=lambda: 1.0,
    )
    return Lease(api, KEY, identity, timing)


def spec(server: KubeServer) -> dict[str, Any]:
    return server.objects[LEASES, KEY.name]["spec"]


async def test_of_two_candidates_one_leads() -> None:
    async with serving() as (server, api):
        one, two = candidate(api, "one"), candidate(api, "two")
        async with running(one.run()):
            await one.gained.wait()
            async with running(two.run()):
                await until(lambda: server.count("PATCH") >= 5)
                assert one.is_leader()
                assert not two.is_leader()
                assert two.holder == "one"
                assert two.lost.is_set()
                one.check()
                with pytest.raises(NotLeader, match="two does not hold lease n/valkeeper"):
                    two.check()
        assert spec(server)["holderIdentity"] == "one"
        assert spec(server)["leaseTransitions"] == 0


async def test_two_that_start_at_once_never_lead_both() -> None:
    async with serving() as (_, api):
        leases = [candidate(api, f"c{i}") for i in range(4)]
        async with running(*[lease.run() for lease in leases]):
            await until(lambda: any(lease.is_leader() for lease in leases))
            for _ in range(100):
                assert sum(lease.is_leader() for lease in leases) == 1
                await asyncio.sleep(0.002)


@pytest.mark.parametrize("wall_off_h", [-9, 0, 9], ids=["clock behind", "clock right", "clock ahead"])
async def test_only_a_leader_that_no_longer_renews_is_replaced(wall_off_h: float) -> None:
    async with serving() as (server, api):
        clock = Clock()
        one, two = timed(api, "one", clock, wall_off_h), timed(api, "two", clock)
        for _ in range(30):
            await one._attempt()
            clock.now += 2
            await two._attempt()
            assert one.is_leader()
            assert not two.is_leader()
        renewed_at = clock.now - 2
        async with running(two.run()):
            await two.gained.wait()
            assert 15 <= clock.now - renewed_at < 20
        assert not one.is_leader()
        assert spec(server)["holderIdentity"] == "two"
        assert spec(server)["leaseTransitions"] == two.transitions == 1


async def test_a_released_lease_is_taken_over_at_once() -> None:
    async with serving() as (server, api):
        one, two = candidate(api, "one"), candidate(api, "two")
        async with running(one.run()):
            await one.gained.wait()
        async with running(two.run()):
            await until(lambda: two.holder == "one")
            await one.release()
            assert not one.is_leader()
            assert one.lost.is_set()
            assert spec(server)["holderIdentity"] == ""
            async with asyncio.timeout(1):
                await two.gained.wait()
        assert spec(server)["leaseTransitions"] == 1


async def test_releasing_what_another_holds_leaves_it() -> None:
    async with serving() as (server, api):
        one, two = candidate(api, "one"), candidate(api, "two")
        async with running(one.run()):
            await one.gained.wait()
            await two.release()
        assert spec(server)["holderIdentity"] == "one"


async def test_a_hung_renewal_ends_leading_at_the_deadline_and_a_later_one_brings_it_back() -> None:
    async with serving(Timeouts(request_s=60)) as (server, api):
        one = candidate(api, "one")
        async with running(one.run()):
            await one.gained.wait()
            server.hung = {"PATCH", "GET"}
            hung_at = asyncio.get_running_loop().time()
            await one.lost.wait()
            assert asyncio.get_running_loop().time() - hung_at < 2
            with pytest.raises(NotLeader):
                one.check()
            server.hung = set()
            await one.gained.wait()
            one.check()
        assert spec(server)["leaseTransitions"] == 0


async def test_leading_ends_by_itself_ten_seconds_after_the_last_renewal_was_sent() -> None:
    async with serving() as (_, api):
        clock = Clock()
        lease = timed(api, "one", clock)
        await lease._attempt()
        clock.now += 9.9
        assert lease.is_leader()
        clock.now += 0.2
        assert not lease.is_leader()


async def test_only_a_renewal_keeps_a_lease_alive() -> None:
    async with serving() as (server, api):
        clock = Clock()
        one, two = timed(api, "one", clock), timed(api, "two", clock)
        await one._attempt()
        await two._attempt()
        clock.now += 14
        await server.put(LEASES, KEY.name, annotated=True)
        await two._attempt()
        assert not two.is_leader()
        clock.now += 1.1
        await two._attempt()
        assert two.is_leader()


async def test_a_lease_taken_away_is_lost_with_the_next_request() -> None:
    async with serving() as (server, api):
        one = timed(api, "one", Clock())
        async with running(one.run()):
            await one.gained.wait()
            taken = spec(server) | {"holderIdentity": "thief", "leaseTransitions": 7}
            await server.put(LEASES, KEY.name, spec=taken)
            await one.lost.wait()
            assert one.holder == "thief"
            await one.gained.wait()
        assert spec(server)["leaseTransitions"] == 8


async def test_a_deleted_lease_is_made_again() -> None:
    async with serving() as (server, api):
        one = candidate(api, "one")
        async with running(one.run()):
            await one.gained.wait()
            await server.remove(LEASES, KEY.name)
            await until(lambda: (LEASES, KEY.name) in server.objects)
            assert one.is_leader()


async def test_a_candidate_with_the_holders_identity_goes_on_at_once() -> None:
    async with serving() as (server, api):
        await candidate(api, "one")._attempt()
        again = candidate(api, "one")
        await again._attempt()
        assert again.is_leader()
        assert spec(server)["leaseTransitions"] == 0


async def test_an_unreachable_server_is_asked_each_two_seconds_not_more() -> None:
    async with serving() as (server, api):
        clock = Clock()
        lease = timed(api, "one", clock)
        await lease._attempt()
        await server.stop()
        async with running(lease.run()):
            await until(lambda: clock.now >= 1100)
        assert len(clock.naps) <= 50
