"""table.toml from the server's sources: `python -m valkey_cluster.directives.extract src/config.c 9.1`.

Says anew what the release knows, and what follows until the next listed release; the others stay as they
are. A new minor is added with its first release, a patch that changed directives with its own number
(`config.c 9.1.2`). What no source at hand shows may be written into table.toml by hand: `sources` says so.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields
from itertools import groupby
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valkey_cluster.directives import table
from valkey_cluster.directives.table import Directive, Kind, Release

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY = re.compile(r"^\s*create(\w+?)Config\((.*)\),\s*(?:/\*.*)?$", re.MULTILINE)
_MAKER = re.compile(r'^\s*create\w+Config\("', re.MULTILINE)
_ENUM = re.compile(r"^configEnum (\w+)\[\] = \{(.*?)\{NULL, 0\}\};", re.MULTILINE | re.DOTALL)
_IGNORED = re.compile(r"deprecatedConfig deprecated_configs\[\] = \{(.*?)\{NULL, 0\}", re.DOTALL)
_NOT_BUILT = re.compile(r"^#ifdef LOG_REQ_RES$.*?^#endif$", re.MULTILINE | re.DOTALL)
_PLAIN = {"Bool": Kind.BOOL, "String": Kind.STRING, "SDS": Kind.STRING}
_SPECIAL = {
    "bind": Kind.WORDS,
    "client-output-buffer-limit": Kind.BUFFER_LIMITS,
    "dir": Kind.STRING,
    "latency-tracking-info-percentiles": Kind.PERCENTILES,
    "notify-keyspace-events": Kind.EVENTS,
    "oom-score-adj-values": Kind.OOM_VALUES,
    "rdma-bind": Kind.WORDS,
    "replicaof": Kind.WORDS,
    "save": Kind.SAVE,
}
_NUMBERS = {
    "PERCENT_CONFIG": Kind.MEMORY_OR_PERCENT,
    "SIGNED_MEMORY_CONFIG": Kind.SIGNED_MEMORY,
    "MEMORY_CONFIG": Kind.MEMORY,
    "OCTAL_CONFIG": Kind.OCTAL,
    "INTEGER_CONFIG": Kind.INT,
}
"""The flag that decides, the most special first."""
_CONSTANTS = {
    "INT_MIN": -(2**31),
    "INT_MAX": 2**31 - 1,
    "UINT_MAX": 2**32 - 1,
    "IO_THREADS_MAX_NUM": 256,  # src/config.h
}
_UNBOUNDED = {"LONG_MAX", "LLONG_MAX", "SSIZE_MAX", "ULONG_MAX", "ULLONG_MAX"}
_HEADER = """\
# What each release of Valkey knows of its valkey.conf directives. Written by extract.py from src/config.c.
# A span without `since` begins with the oldest release of `sources`, without `until` it lasts.
"""


def directives(source: str) -> dict[str, Directive]:
    """Every directive of a config.c, and the names that valkey.conf may still have without effect.

    Raises:
        ValueError: an entry is not written as we read them.
    """
    source = _NOT_BUILT.sub("", source)
    enums = {name: _values(body) for name, body in _ENUM.findall(source)}
    entries = [(maker, arguments.split(", ")) for maker, arguments in _ENTRY.findall(source)]
    if unread := len(_MAKER.findall(source)) - len(entries):
        raise ValueError(f"{unread} of {unread + len(entries)} entries are not on one line each")
    found = [_directive(maker, arguments, enums) for maker, arguments in entries]
    ignored = re.findall(r'\{"([^"]+)"', _IGNORED.findall(source)[0])
    found += [Directive(name, Kind.IGNORED) for name in ignored]
    return {directive.name: directive for directive in found}


def _directive(maker: str, arguments: list[str], enums: dict[str, tuple[str, ...]]) -> Directive:
    name, alias, flags = arguments[0].strip('"'), arguments[1], arguments[2]
    common: dict[str, Any] = {
        "alias": "" if alias == "NULL" else alias.strip('"'),
        "immutable": "IMMUTABLE_CONFIG" in flags,
        "protected": "PROTECTED_CONFIG" in flags,
        "hidden": "HIDDEN_CONFIG" in flags,
    }
    if maker == "Enum":
        kind = Kind.FLAGS if "MULTI_ARG_CONFIG" in flags else Kind.ENUM
        return Directive(name, kind, values=enums[arguments[3]], **common)
    if maker == "Special" or maker in _PLAIN:
        return Directive(name, _SPECIAL[name] if maker == "Special" else _PLAIN[maker], **common)
    low, high, how = arguments[3], arguments[4], arguments[7]
    number = next(kind for flag, kind in _NUMBERS.items() if flag in how)
    bound = None if high in _UNBOUNDED else _number(high)
    return Directive(name, number, low=_number(low), high=bound, **common)


def _number(text: str) -> int:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return prod(int(factor, 8 if re.match("0[0-7]", factor) else 10) for factor in text.split(" * "))


def _values(body: str) -> tuple[str, ...]:
    spellings: dict[str, list[str]] = {}
    for name, constant in re.findall(r'\{"([^"]+)",\s*([^}]+)\}', body):
        spellings.setdefault(constant, []).append(name)
    return tuple(
        name if name == names[0] else f"{name}={names[0]}" for names in spellings.values() for name in names
    )


def updated(source: str, version: str, origin: str) -> str:
    """The text of table.toml with what this source says of this version."""
    known, origins = listed()
    known[table.release(version)] = directives(source)
    origins[table.release(version)] = origin
    return toml(known, origins)


def listed() -> tuple[dict[Release, dict[str, Directive]], dict[Release, str]]:
    """What table.toml says of each of its releases, and how we know."""
    origins = dict(table.sources()) if table.FILE.exists() else {}
    return {old: {each.name: each for each in table.at(old).values()} for old in origins}, origins


def toml(known: dict[Release, dict[str, Directive]], origins: dict[Release, str]) -> str:
    """The text of table.toml."""
    names = sorted({name for found in known.values() for name in found})
    lines = [
        _HEADER,
        "[sources]",
        *(f'"{table.said(each)}" = "{origins[each]}"' for each in sorted(origins)),
        "",
        "[directives]",
        *(f"{name} = [{', '.join(_spans(name, known))}]" for name in names),
    ]
    return "\n".join(lines) + "\n"


def _spans(name: str, known: dict[Release, dict[str, Directive]]) -> Iterator[str]:
    """The directive's spans, the oldest first: neighbouring releases that agree are one."""
    order = sorted(known)
    for directive, span in groupby(order, key=lambda each: known[each].get(name)):
        if directive is not None:
            inside = list(span)
            after = order.index(inside[-1]) + 1
            since = {} if inside[0] == order[0] else {"since": table.said(inside[0])}
            until = {"until": table.said(order[after])} if after < len(order) else {}
            yield _inline({**since, **until, **_said(directive)})


def _said(directive: Directive) -> dict[str, Any]:
    """What differs from a plain directive; numbers always say their lower bound."""
    numeric = directive.kind in _NUMBERS.values()
    shown = {each.name: getattr(directive, each.name) for each in fields(directive)[1:]}
    return {key: value for key, value in shown.items() if value or (key == "low" and numeric)}


def _inline(entries: dict[str, Any]) -> str:
    """An inline table of TOML. JSON spells strings, numbers, booleans and lists alike."""
    shown = {key: list(value) if isinstance(value, tuple) else value for key, value in entries.items()}
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in shown.items()) + " }"


def main() -> None:
    """Rewrite table.toml."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, help="src/config.c of a Valkey release")
    parser.add_argument("version", help="the minor, or the patch, from which on this holds")
    parser.add_argument("--origin", default="", help="what the source is, if not config.c of that version")
    given = parser.parse_args()
    origin = given.origin or f"src/config.c of {given.version}"
    table.FILE.write_text(updated(given.source.read_text(), given.version, origin))


if __name__ == "__main__":
    main()
