"""What each Valkey release knows of its valkey.conf: asked before a spec or a version changes anything.

problems() looks at a whole spec.config, is_live() says whether CONFIG SET does it without a restart, same()
whether a server already has it. table.py knows the directives, values.py their arguments, extract.py makes
the table; defaults.toml is what servers answer that were told nothing.

A minor newer than the table counts as the newest that it has, and what only the server can know is let
through: a name that we do not know, a number beyond the bounds, a value that is not among an enum's. What is
not of the right kind stays a problem.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from valkey_cluster.directives import table, values
from valkey_cluster.directives.table import Directive, Kind
from valkey_cluster.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from valkey_cluster.directives.table import Release

__all__ = ["Directive", "Kind", "default", "is_live", "known", "problems", "same"]

FILE_ONLY = frozenset(("include", "loadmodule", "rename-command", "user"))
"""Lines of valkey.conf that are no CONFIG parameters; spec.config refuses them by name."""


def known(name: str, version: Release) -> Directive | None:
    """What a directive is in this version, by its name or its alias; None: CONFIG does not know it."""
    found = table.at(table.nearest(version)).get(name)
    return found if found and found.kind is not Kind.IGNORED else None


def is_live(name: str, version: Release) -> bool:
    """Whether CONFIG SET changes it on a running server of this version.

    A build or a host may still refuse a value: activedefrag without its own jemalloc, oom-score-adj without
    the right to, maxclients beyond the limit on open files.
    """
    found = known(name, version)
    return found is not None and found.live


def default(name: str) -> str | None:
    """What a server has that was not told otherwise, of a live directive; None where that is not known."""
    return table.defaults().get(name)


def same(name: str, one: str, other: str, version: Release) -> bool:
    """Whether two texts, from valkey.conf or from CONFIG GET, mean the same value of a directive.

    client-output-buffer-limit: of one that says fewer classes, all must stand in the other.
    """
    found = known(name, version)
    return values.agree(found or Directive(name, Kind.STRING), one, other)


def problems(config: Mapping[str, str], version: Release) -> tuple[Problem, ...]:
    """Everything for which a server of this version would refuse these lines, or ignore them."""
    found = [
        *((key, sentence) for key, value in config.items() for sentence in _against(key, value, version)),
        *((key, f"is the same directive as {other}; keep one") for key, other in _twice(config, version)),
    ]
    return tuple(sorted(Problem(f"spec.config.{key}", sentence) for key, sentence in found))


def _against(key: str, value: str, version: Release) -> Iterator[str]:
    directive = known(key, version)
    if directive is None:
        if key not in FILE_ONLY:
            yield from _unknown(key, version)
        return
    try:
        values.normal(directive, value)
    except values.Unlisted as error:
        if not _beyond_table(version):
            yield str(error)
    except values.Unfit as error:
        yield str(error)


def _unknown(key: str, version: Release) -> Iterator[str]:
    """Why there is no such directive, and what to write instead."""
    listed = table.nearest(version)
    later = [each for each in table.releases() if each > listed and known(key, each)]
    if key in table.at(listed):
        yield f"Valkey {_minor(version)} has it no more and ignores it; remove it"
    elif later:
        older = (known(key, later[0]) or Directive("", Kind.IGNORED)).alias
        instead = f"write {older}" if known(older, version) else "remove it or raise spec.version"
        yield f"exists from Valkey {table.said(later[0])} on, not in {table.said(version)}; {instead}"
    elif not _beyond_table(version):
        names = [name for name in table.at(listed) if known(name, listed)]
        close = get_close_matches(key, names, n=1, cutoff=0.75)
        instead = f"did you mean {close[0]}?" if close else "correct the name or remove it"
        yield f"Valkey {_minor(version)} has no such directive; {instead}"


def _twice(config: Mapping[str, str], version: Release) -> Iterator[tuple[str, str]]:
    """Aliases that stand beside the name they are for."""
    for key in config:
        directive = known(key, version)
        if directive and key != directive.name and directive.name in config:
            yield key, directive.name


def _beyond_table(version: Release) -> bool:
    return version[:2] > table.releases()[-1][:2]


def _minor(version: Release) -> str:
    return f"{version[0]}.{version[1]}"
