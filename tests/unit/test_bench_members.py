"""Slots of keys, keys for slots, and who is a member."""

from __future__ import annotations

import pytest

from tests.bench.members import Members, is_whole, owners, parse, slot_of, spread, tags
from tests.bench.resp import Address

A, B, C, STRANGER = (letter * 40 for letter in "abcd")
HERE = Address("127.0.0.1", 7001)
TABLE = f"""\
{B} 127.0.0.1:7002@17002,host-b master - 0 0 2 connected 8192-16383 [93-<-{A}]
{A} :7001@17001 myself,master - 0 0 1 connected 0-8190 8191
{C} fd00::3:7003@17003 slave {A} 0 0 1 connected
{STRANGER} :0@0 master,fail,noaddr - 0 0 0 disconnected
"""


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 12739),
        ("foo", 12182),
        ("bench:1:0:17{foo}", 12182),
        ("{foo}{bar}", 12182),
        ("foo{}", 5542),
        ("", 0),
    ],
)
def test_the_slot_of_a_key_is_that_of_its_tag(key, slot):
    assert slot_of(key) == slot


def test_every_wanted_slot_gets_a_tag():
    wanted = {0, 1, 8191, 16383}
    found = tags(wanted)
    assert set(found) == wanted
    assert all(slot_of(f"key:7{{{tag}}}") == slot for slot, tag in found.items())


@pytest.mark.parametrize(
    ("owned", "wanted", "found"),
    [
        (((0, 99),), 4, (0, 25, 50, 75)),
        (((0, 1), (10, 11)), 2, (0, 10)),
        (((5, 6),), 16, (5, 6)),
        ((), 16, ()),
    ],
    ids=["a range", "two ranges", "fewer than wanted", "none"],
)
def test_slots_are_spread_over_all_of_a_shards(owned, wanted, found):
    assert spread(owned, wanted) == found


def test_a_table_of_members():
    b, a, c, lost = parse(TABLE, HERE)
    assert (a.node_id, a.address, a.slots) == (A, HERE, ((0, 8191),))
    assert (b.address, b.slots, b.usable) == (Address("127.0.0.1", 7002), ((8192, 16383),), True)
    assert (c.address, c.slots) == (Address("fd00::3", 7003), ())
    assert not lost.usable


def test_shards_are_counted_by_their_slots():
    table = parse(TABLE, HERE)
    assert [node.node_id for node in owners(table)] == [A, B]
    assert is_whole(table)
    assert not is_whole(table[1:])


def test_a_torn_line_is_no_member():
    assert parse(TABLE[:80], HERE) == ()


def test_who_knows_a_member_is_one():
    members = Members([])
    assert members.belongs(parse(TABLE, HERE)), "the first one met"
    members.take(parse(TABLE, HERE))
    assert members.ids == {A, B, C}
    fresh = parse(f"{STRANGER} :7009@17009 myself,master - 0 0 0 connected", HERE)
    assert not members.belongs(fresh), "a server of another cluster, or one that has not met ours"
    assert members.belongs((*fresh, *parse(TABLE, HERE)))
    assert not members.belongs(())


def test_addresses_are_those_given_and_those_that_members_tell():
    members = Members([])
    members.take(parse(TABLE, HERE), [Address("10.0.0.9", 6379), HERE])
    assert [str(address) for address in members.addresses] == [
        "10.0.0.9:6379",
        "127.0.0.1:7001",
        "127.0.0.1:7002",
        "[fd00::3]:7003",
    ]


async def told() -> list[str]:
    return ["10.0.0.1", ""]


@pytest.mark.parametrize(
    "source", [["10.0.0.1:6379"], lambda: iter(("10.0.0.1", "")), told], ids=["list", "function", "coroutine"]
)
async def test_addresses_come_from_wherever_they_are_told(source):
    assert await Members(source)._given() == (Address("10.0.0.1", 6379),)
