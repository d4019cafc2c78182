"""Gap, availability, percentiles and series of made-up writes."""

from __future__ import annotations

import pytest

from tests.bench.records import (
    Outcome,
    Span,
    Window,
    Write,
    acknowledged_at,
    availability,
    gaps,
    percentile,
    series,
    summarise,
)

OK, NO, MAYBE = Outcome.ACKNOWLEDGED, Outcome.FAILED, Outcome.UNKNOWN
SPAN = Span(10.0, 11.0)


def write(start: float, end: float, outcome: Outcome = OK, shard: int = 0) -> Write:
    return Write(shard, shard, 0, start, end, outcome)


def steady(until: float = 11.0, shard: int = 0) -> list[Write]:
    """A write each 25 ms that takes 1 ms."""
    count = round((until - 10.0) / 0.025)
    return [write(10.0 + 0.025 * number, 10.001 + 0.025 * number, shard=shard) for number in range(count)]


@pytest.mark.parametrize(
    ("percent", "value"),
    [(0, 1), (1, 1), (50, 5), (51, 6), (90, 9), (99, 10), (100, 10)],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(percent, value):
    assert percentile(list(range(1, 11)), percent) == value


def test_nothing_has_no_percentile():
    assert percentile([], 99) == 0


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([], [(10.0, 11.0)]),
        ([10.4], [(10.0, 10.4), (10.4, 11.0)]),
        ([10.4, 10.5, 11.0], [(10.0, 10.4), (10.4, 10.5), (10.5, 11.0), (11.0, 11.0)]),
        ([10.4, 11.3], [(10.0, 10.4), (10.4, 11.3), (11.3, 11.3)]),
    ],
    ids=["none", "one", "to the end", "one that ended after the end"],
)
def test_gaps_reach_from_the_start_over_each_acknowledgement_to_the_end(times, found):
    assert gaps(times, SPAN) == found


def test_only_acknowledgements_of_the_shard_end_a_gap():
    writes = [write(10, 10.5), write(10, 10.2, NO), write(10, 10.3, MAYBE), write(10, 10.1, shard=1)]
    assert acknowledged_at(writes, 0) == [10.5]


def test_a_shard_that_always_answers_is_available_and_has_the_rate_as_its_gap():
    result = summarise(steady(), SPAN, 1)
    assert result.availability == 1
    assert result.gaps_ms == pytest.approx((25,))
    assert (result.p50_ms, result.p99_ms, result.max_ms) == pytest.approx((1, 1, 1))
    assert (result.acknowledged, result.failed, result.unknown, result.seconds) == (40, 0, 0, 1)
    assert [window.acknowledged for window in result.series] == [4] * 10


def test_a_stall_costs_the_windows_without_an_acknowledgement():
    # 10.0 to 10.3 as always, then one write hangs until 10.82: windows 3 to 7 have none.
    writes = [*steady(10.3), write(10.3, 10.82), write(10.825, 10.83), write(10.95, 10.951)]
    result = summarise(writes, SPAN, 1)
    assert result.availability == pytest.approx(5 / 10)
    assert result.longest_gap_ms == pytest.approx(1000 * (10.82 - 10.276))
    assert result.max_ms == pytest.approx(520)


def test_writes_that_waited_for_a_stall_count_from_when_they_were_due():
    hung = [write(10.0 + 0.025 * number, 10.5) for number in range(20)]
    assert summarise(hung, SPAN, 1).p50_ms == pytest.approx(250)


def test_windows_without_an_attempt_do_not_count():
    assert availability([write(10.0, 10.01), write(10.9, 10.91)], SPAN, 1) == 1
    assert availability([], SPAN, 1) == 0


def test_refused_writes_are_attempts():
    writes = [write(10.0, 10.01), write(10.1, 10.35, NO), write(10.4, 10.45, MAYBE)]
    assert availability(writes, SPAN, 1) == pytest.approx(1 / 5)


def test_each_shard_has_windows_of_its_own():
    result = summarise([*steady(), *steady(10.5, shard=1)], SPAN, 2)
    assert result.gaps_ms == pytest.approx((25, 524))
    assert result.availability == 1, "shard 1 was not tried in the second half"


def test_what_is_left_of_the_last_window_is_in_none():
    span = Span(0.0, 0.55)
    assert span.windows == 5
    assert list(span.touched(0.45, 0.54)) == [4]
    assert list(span.touched(0.51, 0.54)) == []
    assert list(span.touched(-1.0, 9.0)) == [0, 1, 2, 3, 4]


def test_ten_tenths_are_ten_windows():
    assert Span(0.1, 1.1).windows == Span(0.7, 1.7).windows == 10


def test_the_series_shows_a_gap_for_as_long_as_it_lasts():
    found = series([[0.05, 0.15, 0.45], [0.05, 0.12, 0.22, 0.32, 0.42]], Span(0.0, 0.5))
    assert [window.acknowledged for window in found] == [2, 2, 1, 1, 2]
    assert [window.gap_ms for window in found] == pytest.approx([100, 300, 300, 300, 300])


def test_without_any_acknowledgement_the_gap_is_all_of_the_time():
    result = summarise([write(10, 11, NO)], SPAN, 1, errors={"CLUSTERDOWN": 7}, stalled_ms=3)
    assert result.gaps_ms == (1000,)
    assert result.series == (Window(0, 1000.0),) * 10
    assert (result.failed, result.errors, result.stalled_ms, result.availability) == (
        1,
        {"CLUSTERDOWN": 7},
        3,
        0,
    )


def test_the_table_says_everything():
    text = summarise([*steady(), write(10.5, 10.6, NO)], SPAN, 1, errors={"MOVED": 2, "ASK": 1}).table()
    assert text.splitlines() == [
        "seconds                    1.0",
        "acknowledged               40",
        "failed                     1",
        "unknown                    0",
        "lost                       0",
        "availability               100.00 %",
        "latency p50, p99, max      1.0, 1.0, 1.0 ms",
        "longest gap of each shard  25.0 ms",
        "own longest stall          0.0 ms",
        "errors                     ASK 1, MOVED 2",
    ]
