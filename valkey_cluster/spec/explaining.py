"""pydantic's errors in words for the author of a resource: which field, what is wrong, what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from valkey_cluster.errors import Problem
from valkey_cluster.spec.formats import SAID
from valkey_cluster.spec.rule import BROKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

MAP_KEY = "[key]"
"""Last step of pydantic's path when not a value but a key of a map is wrong."""

_SHOWN_MAX = 60
_WANTED_TYPES = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "model_type": "an object",
    "string_type": "a string (in quotes, if it looks like a number or yes/no)",
    "tuple_type": "a list",
}
_SENTENCES = {
    "missing": "is required; set it",
    "string_pattern_mismatch": "{value} is not {said}; correct it",
    "literal_error": "{value} is not one of the choices; use {expected}",
    "greater_than_equal": "{value} is too small; use {ge} or more",
    "less_than_equal": "{value} is too large; use {le} or less",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "string_too_short": "is shorter than {min_length} characters; write it out",
    "too_long": "has more than {max_length} entries; shorten it",
    "too_short": "has fewer than {min_length} entries; add one",
    "json_invalid": "is not JSON ({error}); correct it",
}


def explained(detail: ErrorDetails, short_name: str) -> list[Problem]:
    """The problems behind one error: several where one error carries several broken rules.

    Args:
        detail: pydantic's error.
        short_name: what kubectl calls the kind of resource.
    """
    where = _path(detail["loc"])
    if detail["type"] == BROKEN:
        return [
            Problem(f"{where}.{field}" if field else where, message)
            for field, message in detail["ctx"]["broken"]
        ]
    return [Problem(where, _sentence(detail, short_name))]


def _sentence(detail: ErrorDetails, short_name: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        parents = [
            short_name,
            "spec",
            *(str(step) for step in detail["loc"][:-1] if isinstance(step, str)),
        ]
        return f"there is no such field; `kubectl explain {'.'.join(parents)}` lists those there are"
    if kind in _WANTED_TYPES:
        return f"{_shown(detail['input'])} has the wrong type; use {_WANTED_TYPES[kind]}"
    if kind in _SENTENCES:
        pattern = context.get("pattern", "")
        said = SAID.get(pattern, f"of the form {pattern}")
        return _SENTENCES[kind].format(value=_shown(detail["input"]), said=said, **context)
    return detail["msg"]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _path(steps: Sequence[int | str]) -> str:
    path = "spec"
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != MAP_KEY:
            path += f".{step}" if re.fullmatch("[A-Za-z0-9_-]+", step, re.ASCII) else f"[{step!r}]"
    return path
