"""CLUSTER NODES as servers print it."""

from __future__ import annotations

import pytest

from daemon.cluster_nodes import parse

ME = "07c37dfeb235213a872192d90877d0cd55635b91"
OTHER = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"
MYSELF = f"{ME} 10.0.0.1:6379@16379 myself,master - 0 0 3 connected 0-5460 5462"


def test_a_server_and_its_peer() -> None:
    me, peers = parse(
        f"{MYSELF}\n{OTHER} 10.0.0.2:6379@16379 slave,fail? {ME} 1426238316232 1426238315232 2 disconnected\n"
    )
    assert (str(me.node_id), me.ip, set(me.flags)) == (ME, "10.0.0.1", {"myself", "master"})
    assert (me.primary_id, me.config_epoch, me.connected) == (None, 3, True)
    assert me.slots == ((0, 5460), (5462, 5462))
    (peer,) = peers
    assert (peer.node_id, peer.primary_id, peer.config_epoch) == (OTHER, ME, 2)
    assert (peer.connected, peer.failed, peer.is_primary, peer.slots) == (False, False, False, ())


@pytest.mark.parametrize(
    ("address", "ip"),
    [
        ("10.0.0.2:6379@16379", "10.0.0.2"),
        ("10.0.0.2:6379@16379,orders-0-0.orders-headless.shop.svc", "10.0.0.2"),
        ("fd00:10:244::1:6379@16379", "fd00:10:244::1"),
        ("fd00:10:244::1:6379@16379,orders-0-0.orders-headless.shop.svc", "fd00:10:244::1"),
        ("10.0.0.2:6379@16379,host,shard-id=0a1b,tcp-port=6379", "10.0.0.2"),
        (":0@0", ""),
        (":0@0,host", ""),
    ],
    ids=["IPv4", "IPv4 and name", "IPv6", "IPv6 and name", "extras", "no address", "no address but a name"],
)
def test_addresses(address: str, ip: str) -> None:
    _, (peer,) = parse(f"{MYSELF}\n{OTHER} {address} master,noaddr - 0 0 0 disconnected\n")
    assert peer.ip == ip


def test_members_without_an_address_stay_apart() -> None:
    lines = [f"{number:040x} :0@0 master,fail,noaddr - 0 0 {number} disconnected" for number in (1, 2)]
    _, peers = parse("\n".join([MYSELF, *lines]))
    assert [peer.config_epoch for peer in peers] == [1, 2]
    assert all(peer.failed for peer in peers)


def test_a_handshake_is_no_member_yet() -> None:
    _, (peer,) = parse(f"{MYSELF}\n{OTHER} 10.0.0.2:6379@16379 handshake - 0 0 0 connected\n")
    assert peer.in_handshake
    assert not peer.is_primary


def test_slots_on_the_move_are_seen_and_not_counted() -> None:
    me, _ = parse(f"{MYSELF.replace('5462', '5500')} [77->-{OTHER}] [93-<-{OTHER}]")
    assert me.open_slots
    assert me.slots == ((0, 5460), (5500, 5500))


def test_ranges_that_touch_are_joined() -> None:
    me, _ = parse(MYSELF.replace("0-5460 5462", "0-10 11 12-20"))
    assert me.slots == ((0, 20),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no node as myself"),
        (MYSELF.replace("myself,", ""), "no node as myself"),
        (f"{MYSELF}\n{MYSELF}", "no node as myself"),
        (f"{MYSELF}\n{OTHER} 10.0.0.2:6379@16379 master - 0", "cut short"),
        (MYSELF[:20], "cut short"),
        (MYSELF.replace(" 3 ", " x "), "invalid literal"),
    ],
    ids=["empty", "nobody", "two selves", "cut", "cut in the first", "no number"],
)
def test_what_is_no_whole_answer_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)
