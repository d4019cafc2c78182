"""From the JSON of a resource to its spec: everything wrong is said at once, in words for its author.

The only way in for what comes from outside. It sees values as the API server does: nulls count as absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from valkey_cluster import names
from valkey_cluster.errors import Problem, SpecError
from valkey_cluster.spec.cluster import ValkeyClusterSpec
from valkey_cluster.spec.explaining import MAP_KEY, explained
from valkey_cluster.spec.naming import NAME_RULES, UPGRADE_NAME_RULES
from valkey_cluster.spec.rule import CrModel, Rules
from valkey_cluster.spec.upgrade import ValkeyUpgradeSpec
from valkey_cluster.spec.versions import OLDEST_MAJOR

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[int | str, ...]
_Model = TypeVar("_Model", bound=CrModel)


@dataclass(frozen=True)
class _Kind(Generic[_Model]):
    """What parsing needs to know of a kind of resource."""

    model: type[_Model]
    short_name: str
    name_rules: Rules
    placeholder: dict[str, Any]
    """Stands in for the required fields, so that the rest is looked at without them; breaks no rule."""


_CLUSTER = _Kind(ValkeyClusterSpec, names.SHORT_NAME, NAME_RULES, {"shards": 1})
_UPGRADE = _Kind(
    ValkeyUpgradeSpec,
    names.UPGRADE_SHORT_NAME,
    UPGRADE_NAME_RULES,
    {"clusterRef": {"name": "any"}, "version": f"{OLDEST_MAJOR}.0.0"},
)


def parse(raw_spec: object, name: str) -> ValkeyClusterSpec:
    """The spec of the ValkeyCluster `name`. Raises SpecError, and nothing else, whatever is passed in."""
    return _parsed(_CLUSTER, raw_spec, name)


def parse_upgrade(raw_spec: object, name: str) -> ValkeyUpgradeSpec:
    """The spec of the ValkeyUpgrade `name`. Raises SpecError, and nothing else, whatever is passed in."""
    return _parsed(_UPGRADE, raw_spec, name)


def _parsed(kind: _Kind[_Model], raw_spec: object, name: str) -> _Model:
    problems = [
        Problem("metadata.name", rule.message) for rule in kind.name_rules.rules if not rule.holds(name)
    ]
    try:
        raw = json.loads(json.dumps(raw_spec, default=_as_dict, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError((*problems, Problem("spec", f"is not JSON ({error}); correct it"))) from error
    spec, found = _validated(kind, raw)
    problems += found
    if spec is None or problems:
        raise SpecError(tuple(dict.fromkeys(problems)))
    return spec


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no kind of JSON value")


def _validated(kind: _Kind[_Model], raw: Any) -> tuple[_Model | None, list[Problem]]:
    """The spec if nothing is wrong, and every problem.

    pydantic does not look at rules that span fields while one of the fields is wrong. So what is wrong is
    taken out, which leaves the default in its place, and the rest is looked at again: defaults break no rule.
    """
    problems: list[Problem] = []
    taken_out: set[Path] = set()
    while True:
        details = _errors(kind, raw)
        if not details:
            return _built(kind, raw), problems
        rest = _without(raw, {detail["loc"] for detail in details if _is_null(detail)})
        if rest != raw:
            raw = rest
            continue
        problems += [
            problem
            for detail in details
            if not (detail["type"] == "missing" and detail["loc"] in taken_out)
            for problem in explained(detail, kind.short_name)
        ]
        if not isinstance(raw, dict):
            return None, problems
        wrong = {_wrong_part(detail) for detail in details}
        rest = kind.placeholder | _without(raw, wrong)
        if rest == raw:
            return None, problems
        raw = rest
        taken_out |= wrong


def _built(kind: _Kind[_Model], raw: Any) -> _Model:
    return kind.model.model_validate_json(json.dumps(raw), by_alias=True, by_name=False)


def _errors(kind: _Kind[_Model], raw: Any) -> list[ErrorDetails]:
    try:
        _built(kind, raw)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _is_null(detail: ErrorDetails) -> bool:
    """Whether the value of a field or a map is null, which the API server takes for absent."""
    last = detail["loc"][-1] if detail["loc"] else None
    return detail["input"] is None and isinstance(last, str) and detail["type"] != "extra_forbidden"


def _wrong_part(detail: ErrorDetails) -> Path:
    """Path of what to take out: of a list the whole, because fewer items may break other bounds."""
    keys = tuple(takewhile(lambda key: isinstance(key, str) and key != MAP_KEY, detail["loc"]))
    inside_a_list = len(keys) < len(detail["loc"])
    return keys[:-1] if detail["type"] == "missing" and not inside_a_list else keys


def _without(value: Any, paths: set[Path], here: Path = ()) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(part, paths, (*here, key))
            for key, part in value.items()
            if (*here, key) not in paths
        }
    if isinstance(value, list):
        return [_without(item, paths, (*here, place)) for place, item in enumerate(value)]
    return value
