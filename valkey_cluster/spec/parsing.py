"""From the JSON of a ValkeyCluster to its spec: everything wrong is said at once, in words for its author.

The only way in for what comes from outside. It sees values as the API server does: nulls count as absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from valkey_cluster import names
from valkey_cluster.errors import Problem, SpecError
from valkey_cluster.spec.cluster import ValkeyClusterSpec
from valkey_cluster.spec.explaining import MAP_KEY, explained
from valkey_cluster.spec.rule import Rule, Rules

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NAME = "^[a-z]([a-z0-9-]*[a-z0-9])?$"
_SUFFIXES = tuple(
    name("") for name in (names.headless_service, names.read_service, names.config_map, names.service_account)
)

NAME_RULES = Rules(
    Rule(
        holds=lambda name: len(name) <= names.CLUSTER_NAME_MAX,
        cel=f"size(self.metadata.name) <= {names.CLUSTER_NAME_MAX}",
        message=f"the name is longer than {names.CLUSTER_NAME_MAX} characters, which names of its objects "
        "are made from; choose a shorter one",
    ),
    Rule(
        holds=lambda name: re.fullmatch(_NAME, name, re.ASCII) is not None,
        cel=f"self.metadata.name.matches('{_NAME}')",
        message="the name must be lower-case letters, digits and '-', start with a letter and end with a "
        "letter or digit, because Services are named after it; choose another",
    ),
    Rule(
        holds=lambda name: not name.endswith(_SUFFIXES),
        cel=" && ".join(f"!self.metadata.name.endsWith('{suffix}')" for suffix in _SUFFIXES),
        message=f"a name that ends in {', '.join(_SUFFIXES)} collides with objects of another cluster; "
        "choose another",
    ),
)
"""What must hold of a ValkeyCluster's name."""

_SHARDS_PLACEHOLDER = {"shards": 1}
"""Stands in for the one required field, so that the rest is looked at when it is missing."""


def parse(raw_spec: object, name: str) -> ValkeyClusterSpec:
    """The spec of the ValkeyCluster `name`. Raises SpecError, and nothing else, whatever is passed in."""
    problems = [Problem("metadata.name", rule.message) for rule in NAME_RULES.rules if not rule.holds(name)]
    try:
        raw = json.loads(json.dumps(raw_spec, default=_as_dict, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError((*problems, Problem("spec", f"is not JSON ({error}); correct it"))) from error
    spec, found = _validated(raw)
    problems += found
    if spec is None or problems:
        raise SpecError(tuple(dict.fromkeys(problems)))
    return spec


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no kind of JSON value")


def _validated(raw: Any) -> tuple[ValkeyClusterSpec | None, list[Problem]]:
    """The spec if nothing is wrong, and every problem.

    pydantic does not look at rules that span fields while one of the fields is wrong. So what is wrong is
    taken out, which leaves the default in its place, and the rest is looked at again: defaults break no rule.
    """
    problems: list[Problem] = []
    while True:
        details = _errors(raw)
        if not details:
            return _built(raw), problems
        rest = _without(raw, {detail["loc"] for detail in details if _is_null(detail)})
        if rest != raw:
            raw = rest
            continue
        problems += [problem for detail in details for problem in explained(detail)]
        if not isinstance(raw, dict):
            return None, problems
        rest = _SHARDS_PLACEHOLDER | _without(raw, {_wrong_part(detail) for detail in details})
        if rest == raw:
            return None, problems
        raw = rest


def _built(raw: Any) -> ValkeyClusterSpec:
    return ValkeyClusterSpec.model_validate_json(json.dumps(raw), by_alias=True, by_name=False)


def _errors(raw: Any) -> list[ErrorDetails]:
    try:
        _built(raw)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _is_null(detail: ErrorDetails) -> bool:
    """Whether the value of a field or a map is null, which the API server takes for absent."""
    last = detail["loc"][-1] if detail["loc"] else None
    return detail["input"] is None and isinstance(last, str) and detail["type"] != "extra_forbidden"


def _wrong_part(detail: ErrorDetails) -> tuple[int | str, ...]:
    """Path of what to take out: of a list the whole, because fewer items may break other bounds."""
    keys = tuple(takewhile(lambda key: isinstance(key, str) and key != MAP_KEY, detail["loc"]))
    inside_a_list = len(keys) < len(detail["loc"])
    return keys[:-1] if detail["type"] == "missing" and not inside_a_list else keys


def _without(value: Any, paths: set[tuple[int | str, ...]], here: tuple[int | str, ...] = ()) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(part, paths, (*here, key))
            for key, part in value.items()
            if (*here, key) not in paths
        }
    if isinstance(value, list):
        return [_without(item, paths, (*here, place)) for place, item in enumerate(value)]
    return value
