from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valkey_cluster.errors import QuantityError
from valkey_cluster.quantity import exact, format_bytes, format_millis, to_bytes, to_millis


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        (3, 3),
        ("1", 1),
        ("100m", Fraction(1, 10)),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("-1", -1),
        ("+1", 1),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1Ei", 2**60),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-2", Fraction(3, 25)),
        ("5n", Fraction(5, 10**9)),
        ("7u", Fraction(7, 10**6)),
        ("128974848000m", 128974848),
    ],
)
def test_a_quantity_is_read_exactly(text, number):
    assert exact(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "Gi",
        "1GiB",
        "1K",
        "1 Gi",
        "1e",
        "1e1.5",
        ".",
        "1_0",
        "٣",
        "0x10",
        "1e31",
        "1" * 65,
        "1\n",
    ],
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(QuantityError):
        exact(text)


@pytest.mark.parametrize(
    ("text", "whole_bytes", "millis"), [("1.5", 2, 1500), ("1n", 1, 1), ("0.0015", 1, 2), ("2", 2, 2000)]
)
def test_rounding_is_upwards_as_in_kubernetes(text, whole_bytes, millis):
    assert to_bytes(text) == whole_bytes
    assert to_millis(text) == millis


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1000, "1k"),
        (1024, "1Ki"),
        (1536 * 2**20, "1536Mi"),
        (2**30, "1Gi"),
        (10**9, "1G"),
        (123456789, "123456789"),
        (1024000, "1000Ki"),
    ],
)
def test_bytes_are_spelled_as_the_api_server_keeps_them(number, text):
    assert format_bytes(number) == text


@pytest.mark.parametrize(
    ("millis", "text"), [(0, "0"), (100, "100m"), (1500, "1500m"), (2000, "2"), (10**6, "1k")]
)
def test_millicores_are_spelled_as_the_api_server_keeps_them(millis, text):
    assert format_millis(millis) == text


@given(st.integers(0, 2**60))
def test_spelling_and_reading_give_the_number_back(number):
    assert to_bytes(format_bytes(number)) == number
    assert to_millis(format_millis(number)) == number
