"""Odd specs by the hundred: good ones of the table, bent in a few places (hypothesis)."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from tests.unit.spec_cases import BAD, GOOD, Bad, Good

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=70)
_TEXTS = (
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "+1",
        "0.1",
        ".5",
        "5.",
        "1e3",
        "10m",
        "9m",
        "1m",
        "512",
        "513",
        "1000",
        "0999",
    ),
    *("1Gi", "64Mi", "63.999Mi", "1.001Mi", "1.5Gi", "1G", "16Ti", "17Ti", "60000", "60001", "3600 1"),
    *("9.1.2", "8.0.0", "7.9.9", "latest", "0 3 * * *", "Retain", "Delete", "always", "no", "Preferred"),
    *(
        "a",
        "A",
        "a-b",
        "-a",
        "a.b",
        "a/b",
        "ä",
        "é" * 64,
        "a\nb",
        "x" * 253,
        "x" * 254,
        "٣",
        "\u2028",
        "\x80",
    ),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((-1, 0, 1, 2, 5, 6, 30, 100, 101, 500, 2**31, 2**63 - 1, 2**63, 10**25)),
    st.sampled_from((0.5, 3.0, -0.0, 1e20, 64.0)),
    st.sampled_from(_TEXTS),
    _TEXT,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=4,
)

Path = tuple[str | int, ...]


def _paths(value: Any, here: Path = ()) -> list[Path]:
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    return [here, *(path for key, part in pairs for path in _paths(part, (*here, key)))]


def _replaced(spec: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    bent = copy.deepcopy(spec)
    inner = bent
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return bent


@st.composite
def odd_specs(draw: st.DrawFn, good: tuple[Good, ...] = GOOD, bad: tuple[Bad, ...] = BAD) -> Any:
    """A spec that is good, or good but for one to three bends."""
    spec: Any = copy.deepcopy(draw(st.sampled_from(good)).spec)
    for _ in range(draw(st.integers(0, 3))):
        other = draw(st.sampled_from((*good, *bad))).spec
        bend = draw(st.sampled_from(("value", "key", "merge")))
        path = draw(st.sampled_from(_paths(spec)))
        if bend == "merge" and isinstance(spec, dict) and isinstance(other, dict):
            spec = {**spec, **copy.deepcopy(other)}
        elif bend == "key" and isinstance(spec, dict):
            spec = _replaced(spec, (*path, draw(_TEXT)), draw(_SCALARS)) if _is_map(spec, path) else spec
        else:
            spec = _replaced(spec, path, draw(_VALUES)) if path else spec
    return spec


def _is_map(spec: Any, path: Path) -> bool:
    for key in path:
        spec = spec[key]
    return isinstance(spec, dict)
