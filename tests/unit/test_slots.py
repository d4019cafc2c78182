"""Slot arithmetic, against sets of numbers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valkey_cluster import slots

if TYPE_CHECKING:
    from valkey_cluster.slots import Ranges

BOUND = st.integers(0, slots.SLOTS - 1)
RANGE = st.tuples(BOUND, BOUND).map(lambda pair: (min(pair), max(pair)))
SOME = st.lists(RANGE, max_size=12)


def numbers(ranges: Ranges | list[slots.Range]) -> set[int]:
    return {slot for start, end in ranges for slot in range(start, end + 1)}


@given(st.integers(1, 1000))
def test_an_even_split_is_complete_disjoint_contiguous_and_balanced(shards: int) -> None:
    shares = slots.even_split(shards)
    assert len(shares) == shards
    assert all(len(share) == 1 for share in shares)
    assert [slot for share in shares for slot in sorted(numbers(share))] == list(range(slots.SLOTS))
    sizes = {slots.count(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


def test_three_shards_split_as_valkey_cli_does() -> None:
    assert slots.even_split(3) == (((0, 5460),), ((5461, 10921),), ((10922, 16383),))


@given(SOME)
def test_normalised_ranges_are_sorted_apart_and_hold_the_same_slots(ranges: list[slots.Range]) -> None:
    normal = slots.normalise(ranges)
    assert numbers(normal) == numbers(ranges)
    assert all(a_end + 1 < b_start for (_, a_end), (b_start, _) in itertools.pairwise(normal))
    assert slots.normalise(normal) == normal


@given(SOME)
def test_the_complement_is_everything_else(ranges: list[slots.Range]) -> None:
    free = slots.complement(ranges)
    assert numbers(free) == set(range(slots.SLOTS)) - numbers(ranges)
    assert slots.normalise(free) == free
    assert slots.complement(free) == slots.normalise(ranges)


@given(SOME)
def test_count_and_complement_add_up(ranges: list[slots.Range]) -> None:
    normal = slots.normalise(ranges)
    assert slots.count(normal) + slots.count(slots.complement(normal)) == slots.SLOTS


@pytest.mark.parametrize(
    ("ranges", "told"),
    [((), ""), (((0, 5460), (5462, 5462)), "0-5460, 5462"), (slots.ALL, "0-16383")],
    ids=["none", "a range and one", "all"],
)
def test_text_is_for_people(ranges: Ranges, told: str) -> None:
    assert slots.text(ranges) == told


def test_nothing_and_everything_are_each_others_complement() -> None:
    assert slots.complement(()) == slots.ALL
    assert slots.complement(slots.ALL) == ()
