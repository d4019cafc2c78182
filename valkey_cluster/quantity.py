"""Kubernetes quantities ("100m", "1.5Gi", "1e3"), exactly: fractions and integers, never floats.

Used by the spec's rules, by the builders and by whoever compares what a pod asked for with what it got.
Grammar and canonical form: k8s.io/apimachinery/pkg/api/resource.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from valkey_cluster.errors import QuantityError

_GRAMMAR = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?",
    re.ASCII,
)
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("k", "M", "G", "T", "P", "E")
_SCALE = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(_BINARY, 1)},
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(_DECIMAL, 1)},
}
_LENGTH_MAX = 64
_EXPONENT_MAX = 30


def exact(quantity: str | int) -> Fraction:
    """The quantity as a number, without rounding. Raises QuantityError."""
    text = str(quantity)
    match = _GRAMMAR.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if match is None:
        raise QuantityError(f"{text[:_LENGTH_MAX]!r} is not a quantity such as 500m, 2, 512Mi or 1.5Gi")
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > _EXPONENT_MAX:
        raise QuantityError(f"{text!r} is out of range")
    return Fraction(match["number"].rstrip(".")) * _SCALE[match["suffix"] or ""] * Fraction(10) ** exponent


def to_bytes(quantity: str | int) -> int:
    """Whole units, rounded up as Kubernetes does: bytes of memory or storage. Raises QuantityError."""
    return math.ceil(exact(quantity))


def to_millis(quantity: str | int) -> int:
    """Thousandths, rounded up as Kubernetes does: millicores. Raises QuantityError."""
    return math.ceil(exact(quantity) * 1000)


def format_bytes(size_bytes: int) -> str:
    """The spelling under which the API server keeps this many bytes, so that a diff stays empty."""
    base, suffixes = (1024, _BINARY) if size_bytes % 1024 == 0 else (1000, _DECIMAL)
    return _shortened(size_bytes, base, suffixes)


def format_millis(millis: int) -> str:
    """The spelling under which the API server keeps this many millicores."""
    return f"{millis}m" if millis % 1000 else _shortened(millis // 1000, 1000, _DECIMAL)


def _shortened(number: int, base: int, suffixes: tuple[str, ...]) -> str:
    suffix = ""
    for larger in suffixes:
        if number == 0 or number % base:
            break
        number, suffix = number // base, larger
    return f"{number}{suffix}"
