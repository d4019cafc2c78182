"""Versions of Valkey: which there may be, and which way a running cluster may go from one to another.

A mixed cluster is part of every change of version, and a pod starts on the data files that its predecessor
left. So what is refused here is refused for what the two versions do beside or after each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from valkey_cluster.spec.rule import Rule

Version = tuple[int, int, int]

OLDEST_MAJOR = 8


def version_tuple(version: str) -> Version:
    """The version as numbers, for comparing."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major, minor, patch


def major_in_cel(of: str) -> str:
    """CEL for the major version that `<of>.version` names."""
    return f"int({of}.version.split('.')[0])"


NOT_TOO_OLD = Rule(
    holds=lambda spec: spec.version_tuple[0] >= OLDEST_MAJOR,
    cel=f"{major_in_cel('self')} >= {OLDEST_MAJOR}",
    message=f"is too old; use {OLDEST_MAJOR}.0.0 or newer",
    field="version",
)
"""Of a spec with `version` and `version_tuple`."""

DATA_FORMATS: tuple[tuple[tuple[int, int], int], ...] = (
    ((9, 2), 81),
    ((9, 0), 80),
    ((8, 0), 11),
)
"""From which minor version on Valkey writes which version of data files (RDB); newest first. A Valkey that
writes an older one cannot read it, neither as a snapshot nor within the log of writes."""


@dataclass(frozen=True)
class Span:
    """Versions from one to another, both included."""

    first: Version
    last: Version

    def __contains__(self, version: Version) -> bool:
        return self.first <= version <= self.last


@dataclass(frozen=True)
class BadEdge:
    """A change of version that is known to go wrong."""

    old: Span
    new: Span
    because: str
    """What goes wrong, with the issue or change of valkey-io/valkey that tells."""
    instead: str


_LAST = 999
"""More than any part of a version: Valkey has no such patch, and the pattern of versions ends here."""


def _minor(major: int, minor: int) -> Span:
    return Span((major, minor, 0), (major, minor, _LAST))


_UP_TO_8_0_3 = Span((8, 0, 0), (8, 0, 3))
_FROM_8_1 = Span((8, 1, 0), (_LAST, _LAST, _LAST))
_ONLY_8_1_6 = Span((8, 1, 6), (8, 1, 6))
_ALL_8 = Span((8, 0, 0), (8, _LAST, _LAST))

_CRASH_8_0_3 = "8.0.3 and older can crash beside 8.1 and newer (valkey issue 2341)"
_CRASH_8_1_6 = "8.1.6 can crash while it syncs from 8.0 (valkey issue 3607)"
_NO_SYNC_9_0 = "9.0 sends replicas of 8 what they cannot read (valkey pull request 2735)"

KNOWN_BAD: tuple[BadEdge, ...] = (
    BadEdge(_UP_TO_8_0_3, _FROM_8_1, _CRASH_8_0_3, "upgrade to 8.0.4 or newer first"),
    BadEdge(_FROM_8_1, _UP_TO_8_0_3, _CRASH_8_0_3, "name 8.0.4 or newer"),
    BadEdge(_minor(8, 0), _ONLY_8_1_6, _CRASH_8_1_6, "name 8.1.7 or newer"),
    BadEdge(_ONLY_8_1_6, _minor(8, 0), _CRASH_8_1_6, "upgrade to 8.1.7 or newer first"),
    BadEdge(_minor(9, 0), _ALL_8, _NO_SYNC_9_0, "upgrade to 9.1.0 or newer first"),
)
"""From, to, why not, what to do. Rows that lead down are for caches: with data files they are not reached."""


def edge_problem(old: Version, new: Version, persistent: bool) -> str:
    """Why a running cluster cannot go from one version to the other and what to do; empty: it can.

    Upgrades may leave out minor versions. Within a minor version every patch level may follow every other.
    """
    if old == new:
        return "the cluster runs it already; name another version"
    if abs(new[0] - old[0]) > 1:
        between = old[0] + (1 if new > old else -1)
        return f"{_text(old)} to {_text(new)} leaves out major version {between}; go to {between} first"
    if persistent and new[:2] < old[:2]:
        return _problem_of_data_files(old, new)
    found = next((bad for bad in KNOWN_BAD if old in bad.old and new in bad.new), None)
    return f"{found.because}; {found.instead}" if found else ""


def _problem_of_data_files(old: Version, new: Version) -> str:
    """Why data on disk keeps the cluster from an older minor version."""
    if data_format(new) < data_format(old):
        return f"{_text(new)} cannot read the data files of {_text(old)}; load a backup into a new cluster"
    return (
        f"{_text(new)} is an older minor version than {_text(old)} and not promised to read its data files; "
        f"stay with {old[0]}.{old[1]}, or load a backup into a new cluster"
    )


def data_format(version: Version) -> int:
    """The RDB version that it writes."""
    return next((number for since, number in DATA_FORMATS if version[:2] >= since), 0)


def _text(version: Version) -> str:
    return ".".join(map(str, version))
