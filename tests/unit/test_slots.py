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


def dealt(bounds: list[int], shards: int) -> dict[int, slots.Ranges]:
    """All slots, cut at the bounds, the pieces dealt to the shards in turn."""
    cuts = sorted({0, *bounds, slots.SLOTS})
    owned: dict[int, list[slots.Range]] = {shard: [] for shard in range(shards)}
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        owned[number % shards].append((start, end - 1))
    return {shard: slots.normalise(spans) for shard, spans in owned.items()}


SHARDS = st.integers(1, 6)
CUTS = st.lists(st.integers(1, slots.SLOTS - 1), max_size=12)
WEIGHTS = st.lists(st.integers(0, 5), min_size=6, max_size=6).filter(any)


def fewest(counts: dict[int, int], weights: dict[int, int]) -> int:
    """By trying every fair division."""
    total = sum(weights.values())
    floors = {shard: slots.SLOTS * weight // total for shard, weight in weights.items()}
    may_have_more = [shard for shard, weight in weights.items() if slots.SLOTS * weight % total]
    spare = slots.SLOTS - sum(floors.values())
    return min(
        sum(max(0, counts.get(shard, 0) - floors[shard] - (shard in lucky)) for shard in weights)
        for lucky in itertools.combinations(may_have_more, spare)
    )


@given(cuts=CUTS, have=SHARDS, want=SHARDS, given_weights=WEIGHTS)
def test_moves_reach_a_fair_division_with_as_few_slots_as_possible(
    cuts: list[int], have: int, want: int, given_weights: list[int]
) -> None:
    weights = {shard: given_weights[shard] if shard < want else 0 for shard in range(max(have, want))}
    if not any(weights.values()):
        weights[0] = 1
    owned = dealt(cuts, have)
    moves = slots.moves(owned, weights)
    counts = {shard: slots.count(spans) for shard, spans in owned.items()}
    assert sum(slots.count(move.slots) for move in moves) == fewest(counts, weights)
    assert len(moves) <= max(0, len({m.source for m in moves}) + len({m.target for m in moves}) - 1)
    after = {shard: numbers(owned.get(shard, ())) for shard in weights}
    for move in moves:
        going = numbers(move.slots)
        assert going <= after[move.source]
        after[move.source] -= going
        after[move.target] |= going
    total = sum(weights.values())
    for shard, weight in weights.items():
        exact = slots.SLOTS * weight / total
        assert abs(len(after[shard]) - exact) < 1
    reached = {shard: slots.normalise((one, one) for one in has) for shard, has in after.items()}
    assert slots.moves(reached, weights) == ()


def test_a_shard_more_takes_from_each_of_the_others_at_once() -> None:
    owned = dict(enumerate(slots.even_split(3)))
    moves = slots.moves(owned, dict.fromkeys(range(4), 1))
    assert sorted((move.source, move.target, slots.count(move.slots)) for move in moves) == [
        (0, 3, 1365),
        (1, 3, 1365),
        (2, 3, 1366),
    ]


def test_without_any_weight_there_is_no_division() -> None:
    with pytest.raises(ValueError, match="weight"):
        slots.moves({0: slots.ALL}, {0: 0})


@given(st.lists(RANGE, max_size=6), st.integers(0, 200))
def test_the_first_slots(spans: list[slots.Range], number: int) -> None:
    ranges = slots.normalise(spans)
    assert numbers(slots.first(ranges, number)) == set(sorted(numbers(ranges))[:number])


@given(SOME)
def test_what_servers_spell_is_read(spans: list[slots.Range]) -> None:
    ranges = slots.normalise(spans)
    words = " ".join(str(start) if start == end else f"{start}-{end}" for start, end in ranges)
    assert slots.parse(words) == ranges
