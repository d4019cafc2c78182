"""A directive's arguments as the server reads them: what it refuses, and what CONFIG GET then answers.

`normal` is the heart: one text for all that mean the same. Rules: src/config.c, sdssplitargs in src/sds.c,
memtoull and string2ll in src/util.c, src/notify.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from valkey_cluster.directives.table import Directive, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SEVERAL = frozenset((
    Kind.FLAGS, Kind.WORDS, Kind.SAVE, Kind.BUFFER_LIMITS, Kind.OOM_VALUES, Kind.PERCENTILES,
))  # fmt: skip
"""Kinds of more than one argument; these may also stand together in one pair of quotes."""

_WORD = re.compile(
    r"""\s*+(?P<plain>[^\s"']*)"""
    r"""(?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\'|\\(?!')|[^'\\])*)')?(?=\s|\Z)""",
    re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}

_WHOLE = re.compile("0|-?[1-9][0-9]{0,18}", re.ASCII)
_OCTAL = re.compile("[0-7]{1,12}", re.ASCII)
_BYTES = re.compile("([0-9]{1,20})(b|kb?|mb?|gb?|)", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile("(0|[1-9][0-9]{0,8})%", re.ASCII)
_SHARE = re.compile(r"[0-9]{1,3}([.][0-9]{1,15})?", re.ASCII)
_UNITS = {
    "": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3,
}  # fmt: skip
_SIZE = "a size in bytes such as 65536, 64kb, 100mb or 1gb"

_LARGEST = 2**63 - 1
_CLAMPED = {"hz": (1, 500), "repl-backlog-size": (16384, _LARGEST)}
"""Numbers that the server accepts beyond these bounds and then moves into them."""

_ALL_EVENTS = "g$lshzxetd"
"""What A stands for. CONFIG GET does not show n beside A, though A does not include it."""
_CLIENTS = {"normal": "normal", "slave": "slave", "replica": "slave", "pubsub": "pubsub"}
_PER_CLIENT = 4
_OOM_COUNT = 3
_OOM_LARGEST = 2000


class Unfit(Exception):
    """The server refuses these arguments. The text says what there must be."""


class Unlisted(Unfit):
    """Of the right kind, but beyond the bounds or values of the newest release that we know."""


def arguments(text: str) -> tuple[str, ...]:
    """The words of a line of valkey.conf, without their quotes. Raises Unfit where quotes do not match."""
    words, place, text = [], 0, text.strip()
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None:
            raise Unfit("must close each quote, with a space or nothing behind it")
        double = _ESCAPE.sub(_unescaped, match["double"] or "")
        words.append(match["plain"] + double + (match["single"] or "").replace("\\'", "'"))
        place = match.end()
    return tuple(words)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _CONTROLS.get(match[2], match[2])


def normal(directive: Directive, text: str) -> str:
    """What CONFIG GET answers after this text was set. Raises Unfit when the server refuses it."""
    words = arguments(text)
    if directive.kind not in _SEVERAL and len(words) != 1:
        raise Unfit("must be one argument; put it in quotes if it has spaces")
    if directive.kind in _SEVERAL and len(words) == 1:
        words = arguments(words[0]) or words
    return _READERS[directive.kind](directive, words)


def agree(directive: Directive, one: str, other: str) -> bool:
    """Whether both texts, as in valkey.conf or as from CONFIG GET, mean the same."""
    left, right = _comparable(directive, one), _comparable(directive, other)
    if directive.kind is Kind.BUFFER_LIMITS:
        return _limits_agree(left.split(), right.split())
    return left == right


def _comparable(directive: Directive, text: str) -> str:
    """CONFIG GET answers without quotes, so not every answer could stand in valkey.conf."""
    try:
        return normal(directive, text)
    except Unfit:
        return text.strip()


def _limits_agree(left: list[str], right: list[str]) -> bool:
    fewer, more = sorted((_by_client(left), _by_client(right)), key=len)
    return bool(fewer) and fewer.items() <= more.items()


def _by_client(words: list[str]) -> Mapping[str, tuple[str, ...]]:
    return {words[at]: tuple(words[at + 1 : at + _PER_CLIENT]) for at in range(0, len(words), _PER_CLIENT)}


def _bool(_: Directive, words: tuple[str, ...]) -> str:
    if words[0].lower() not in {"yes", "no"}:
        raise Unfit("must be yes or no")
    return words[0].lower()


def _bounded(directive: Directive, number: int, what: str) -> int:
    """Raises Unlisted outside of the bounds."""
    if not directive.low <= number <= (_LARGEST if directive.high is None else directive.high):
        raise Unlisted(f"must be {what}{_range(directive)}")
    low, high = _CLAMPED.get(directive.name, (number, number))
    return min(max(number, low), high)


def _range(directive: Directive) -> str:
    if directive.high is None:
        return f", at least {directive.low}"
    return f" from {directive.low} to {directive.high}"


def _int(directive: Directive, words: tuple[str, ...]) -> str:
    if not _WHOLE.fullmatch(words[0]):
        raise Unfit(f"must be a whole number{_range(directive)}")
    return str(_bounded(directive, int(words[0]), "a whole number"))


def _octal(_: Directive, words: tuple[str, ...]) -> str:
    if not _OCTAL.fullmatch(words[0]):
        raise Unfit("must be an octal number such as 700")
    return f"{int(words[0], 8):o}"


def _bytes(text: str) -> int | None:
    match = _BYTES.fullmatch(text)
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def _memory(directive: Directive, words: tuple[str, ...]) -> str:
    size_bytes = _bytes(words[0])
    if size_bytes is None:
        raise Unfit(f"must be {_SIZE}")
    return str(_bounded(directive, size_bytes, "a size in bytes"))


def _signed_memory(directive: Directive, words: tuple[str, ...]) -> str:
    if words[0].startswith("-") and _WHOLE.fullmatch(words[0]):
        return str(_bounded(directive, int(words[0]), "a size in bytes"))
    return _memory(directive, words)


def _memory_or_percent(directive: Directive, words: tuple[str, ...]) -> str:
    percent = _PERCENT.fullmatch(words[0])
    if percent is None and _bytes(words[0]) is None:
        raise Unfit(f"must be {_SIZE}, or a share of maxmemory such as 5%")
    if percent is None:
        return _memory(directive, words)
    if int(percent[1]) > -directive.low:
        raise Unlisted(f"must be at most {-directive.low}%")
    return percent[0] if percent[1] != "0" else "0"


def _enum(directive: Directive, words: tuple[str, ...]) -> str:
    meant = {name.lower(): to or name for name, _, to in (each.partition("=") for each in directive.values)}
    wrong = [word for word in words if word.lower() not in meant]
    if wrong or not words:
        written = [each.partition("=")[0] for each in directive.values]
        raise Unlisted(f"must be {', '.join(written[:-1])} or {written[-1]}")
    spelled = {meant[word.lower()] for word in words}
    return " ".join(value for value in directive.values if value in spelled)


def _flags(directive: Directive, words: tuple[str, ...]) -> str:
    shown = _enum(directive, words).split()
    if {"save", "nosave"} <= set(shown):
        raise Unfit("must not be both save and nosave")
    return " ".join(value for value in shown if value != directive.values[0]) or directive.values[0]


def _words(_: Directive, words: tuple[str, ...]) -> str:
    return " ".join(words)


def _save(_: Directive, words: tuple[str, ...]) -> str:
    numbers = [] if words == ("",) else [int(word) if _WHOLE.fullmatch(word) else -1 for word in words]
    if len(numbers) % 2 or min(numbers, default=0) < 0 or 0 in numbers[::2]:
        raise Unfit('must be pairs of seconds and changes such as 3600 1 300 100, or "" for none')
    return " ".join(map(str, numbers))


def _buffer_limits(_: Directive, words: tuple[str, ...]) -> str:
    given = _by_client(list(words))
    if not words or len(words) % _PER_CLIENT or not all(map(_is_limit, given, given.values())):
        raise Unfit(
            "must say for one or more of normal, replica and pubsub: hard limit, soft limit, seconds,"
            " such as replica 256mb 64mb 60"
        )
    read = {
        _CLIENTS[client.lower()]: f"{_bytes(hard)} {_bytes(soft)} {seconds}"
        for client, (hard, soft, seconds) in given.items()
    }
    return " ".join(f"{client} {read[client]}" for client in _CLIENTS if client in read)


def _is_limit(client: str, limit: tuple[str, ...]) -> bool:
    hard, soft, seconds = limit
    sizes = _bytes(hard) is not None and _bytes(soft) is not None
    return client.lower() in _CLIENTS and sizes and bool(re.fullmatch("0|[1-9][0-9]{0,8}", seconds))


def _oom_values(_: Directive, words: tuple[str, ...]) -> str:
    numbers = [int(word) if _WHOLE.fullmatch(word) else _OOM_LARGEST + 1 for word in words]
    if len(numbers) != _OOM_COUNT or max(map(abs, numbers)) > _OOM_LARGEST:
        raise Unfit(f"must be three numbers from -{_OOM_LARGEST} to {_OOM_LARGEST} such as 0 200 800")
    return " ".join(map(str, numbers))


def _events(_: Directive, words: tuple[str, ...]) -> str:
    flags = set(words[0].replace("A", _ALL_EVENTS))
    if not flags <= set(f"{_ALL_EVENTS}nKEm"):
        raise Unfit(f'must be letters of {_ALL_EVENTS}nKEmA, or "" for none')
    every = flags >= set(_ALL_EVENTS)
    shown = "AKEm" if every else f"{_ALL_EVENTS}nKEm"
    return "".join(letter for letter in shown if letter in flags or letter == "A")


def _percentiles(_: Directive, words: tuple[str, ...]) -> str:
    if words in {(), ("",)}:
        return ""
    if not all(_SHARE.fullmatch(word) and float(word) <= 100 for word in words):  # noqa: PLR2004
        raise Unfit('must be numbers from 0 to 100 such as 50 99 99.9, or "" for none')
    return " ".join(f"{float(word):f}".rstrip("0").rstrip(".") for word in words)


_READERS: Mapping[Kind, Callable[[Directive, tuple[str, ...]], str]] = {
    Kind.BOOL: _bool,
    Kind.INT: _int,
    Kind.OCTAL: _octal,
    Kind.MEMORY: _memory,
    Kind.SIGNED_MEMORY: _signed_memory,
    Kind.MEMORY_OR_PERCENT: _memory_or_percent,
    Kind.ENUM: _enum,
    Kind.FLAGS: _flags,
    Kind.STRING: _words,
    Kind.WORDS: _words,
    Kind.SAVE: _save,
    Kind.BUFFER_LIMITS: _buffer_limits,
    Kind.OOM_VALUES: _oom_values,
    Kind.EVENTS: _events,
    Kind.PERCENTILES: _percentiles,
}
