"""Which directives each Valkey release knows: table.toml, read once.

table.toml has one line per directive: the spans of releases in which it stood as described there. extract.py
writes it from the server's config.c. A release at which no directive changed is not listed: it is as the
one before.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Release = tuple[int, int, int]
FILE = Path(__file__).with_name("table.toml")


class Kind(StrEnum):
    """What a directive's arguments are made of."""

    BOOL = "bool"
    INT = "int"
    OCTAL = "octal"
    MEMORY = "memory"
    """Bytes: 1gb, 1g, 1024."""
    SIGNED_MEMORY = "signed memory"
    """Bytes, or a negative number without a unit, such as -1 for no limit."""
    MEMORY_OR_PERCENT = "memory or percent"
    """Bytes, or a share of maxmemory such as 5%; `low` is the largest share, negated."""
    ENUM = "enum"
    FLAGS = "flags"
    """One or more values of an enum."""
    STRING = "string"
    WORDS = "words"
    SAVE = "save"
    BUFFER_LIMITS = "buffer limits"
    OOM_VALUES = "oom values"
    EVENTS = "events"
    PERCENTILES = "percentiles"
    IGNORED = "ignored"
    """Not a directive any more: valkey.conf may have it without effect, CONFIG does not know it."""


@dataclass(frozen=True)
class Directive:
    """What config.c says of one directive in one release."""

    name: str
    kind: Kind
    alias: str = ""
    """An older spelling that means the same; CONFIG GET * answers both."""
    low: int = 0
    high: int | None = None
    """None: no bound but that of 64 bits."""
    values: tuple[str, ...] = ()
    """An enum's values as config.c spells them, in its order; `old=new` for a synonym of another value."""
    immutable: bool = False
    """Only valkey.conf sets it, at start."""
    protected: bool = False
    """As immutable, unless enable-protected-configs says otherwise; valkeeper never does."""
    hidden: bool = False
    """CONFIG GET answers it by its full name, not by a pattern."""

    @property
    def live(self) -> bool:
        """Whether CONFIG SET changes it on a running server."""
        return not (self.immutable or self.protected)


def release(text: str) -> Release:
    """A release from `8.1` (its first) or `8.1.4`."""
    major, minor, patch = (*map(int, text.split(".")), 0)[:3]
    return major, minor, patch


def said(version: Release) -> str:
    """A release for people: the minor when it is its first."""
    return ".".join(map(str, version if version[2] else version[:2]))


@cache
def defaults() -> Mapping[str, str]:
    """Live directives as a server has them that was told nothing."""
    found: dict[str, str] = tomllib.loads(FILE.with_name("defaults.toml").read_text())
    return found


@cache
def sources() -> Mapping[Release, str]:
    """The releases at which some directive changed, the oldest first, and how we know."""
    return dict(sorted((release(key), text) for key, text in _file()["sources"].items()))


def releases() -> tuple[Release, ...]:
    """The releases at which some directive changed, the oldest first."""
    return tuple(sources())


def nearest(version: Release) -> Release:
    """The listed release that says what this version knows: the newest that is not newer, or the oldest."""
    return releases()[max(0, bisect_right(releases(), version) - 1)]


@cache
def at(listed: Release) -> Mapping[str, Directive]:
    """Every directive of a listed release by its name and by its alias, what is ignored included."""
    found: dict[str, Directive] = {}
    for name, spans in _file()["directives"].items():
        for span in spans:
            if _from(span) <= listed < _to(span):
                directive = described(name, span)
                found |= {key: directive for key in (name, directive.alias) if key}
    return found


def described(name: str, span: Mapping[str, Any]) -> Directive:
    """A directive from one span of table.toml."""
    fields = {key: value for key, value in span.items() if key not in {"since", "until"}}
    fields["values"] = tuple(fields.get("values", ()))
    return Directive(name, Kind(fields.pop("kind")), **fields)


def _from(span: Mapping[str, Any]) -> Release:
    return release(span["since"]) if "since" in span else releases()[0]


def _to(span: Mapping[str, Any]) -> Release:
    return release(span["until"]) if "until" in span else (releases()[-1][0] + 1, 0, 0)


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text())
