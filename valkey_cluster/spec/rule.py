"""Rules in two tongues: a Python predicate for pydantic and the CEL that the API server runs.

Both stand side by side with one message, so a spec is refused for the same reason whoever looks first.
crd.py collects the CEL from the JSON schema of the models; parsing.py unpacks the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable  # noqa: TC003  pydantic reads annotations at run time
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

BROKEN = "broken_rules"
"""Type of the pydantic error whose context lists broken rules as (field below this one, message)."""


@dataclass(frozen=True)
class Rule:
    """What must hold of one value by itself."""

    holds: Callable[[Any], bool]
    cel: str
    message: str
    """What is wrong and what to do."""
    field: str = ""
    """The field to blame, below the value the rule looks at, in the resource's spelling."""


@dataclass(frozen=True)
class Transition:
    """What must hold between the old and the new value of an update."""

    holds: Callable[[Any, Any], bool]
    cel: str
    message: str
    field: str = ""


class Rules:
    """Rules of one value: `Annotated[T, Rules(...)]` for a field, `RULES = Rules(...)` in a model."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules

    def check(self, value: Any) -> Any:
        """Hand the value back, or raise one pydantic error with every broken rule."""
        broken = tuple((rule.field, rule.message) for rule in self.rules if not rule.holds(value))
        if broken:
            text = "; ".join(f"{field}: {message}" if field else message for field, message in broken)
            raise PydanticCustomError(BROKEN, "{text}", {"text": text, "broken": broken})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        described["x-kubernetes-validations"] = validations(self.rules)
        return described


def each_key(rules: Rules) -> AfterValidator:
    """Check the rules of a map on each key as well, so that a wrong value beside hides no wrong key."""

    def check(key: str) -> str:
        rules.check({key: ""})
        return key

    return AfterValidator(check)


def validations(rules: tuple[Rule | Transition, ...]) -> list[dict[str, str]]:
    """The rules as x-kubernetes-validations."""
    return [
        {
            "rule": rule.cel,
            "message": rule.message,
            **({"fieldPath": f".{rule.field}"} if rule.field else {}),
        }
        for rule in rules
    ]


class CrModel(BaseModel):
    """A part of the resource: camelCase in YAML, frozen, no field beyond those named."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True
    )
    RULES: ClassVar[Rules] = Rules()
    TRANSITIONS: ClassVar[tuple[Transition, ...]] = ()

    @model_validator(mode="after")
    def _obeys_rules(self) -> Self:
        self.RULES.check(self)
        return self

    def as_manifest(self) -> dict[str, Any]:
        """The part as YAML spells it; what is None is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        if cls.RULES.rules or cls.TRANSITIONS:
            whole = handler.resolve_ref_schema(described)
            whole["x-kubernetes-validations"] = validations((*cls.RULES.rules, *cls.TRANSITIONS))
        return described


_Model = TypeVar("_Model", bound=CrModel)


def immutable_changes(old: _Model, new: _Model) -> tuple[str, ...]:
    """What an update changes that cannot be changed: '<field>: <why and what to do>' each; () is none."""
    changes = [f"{rule.field}: {rule.message}" for rule in old.TRANSITIONS if not rule.holds(old, new)]
    for name, field in type(old).model_fields.items():
        was, becomes = getattr(old, name), getattr(new, name)
        if isinstance(was, CrModel) and isinstance(becomes, CrModel):
            changes += [f"{field.alias or name}.{change}" for change in immutable_changes(was, becomes)]
    return tuple(changes)


class ListType:
    """How the API server treats a list: a set, or a map by one key; duplicates are refused."""

    def __init__(self, key: str = "") -> None:
        self.key = key

    def _unique(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        identities: list[Hashable] = [getattr(item, self.key) if self.key else item for item in items]
        for place, identity in enumerate(identities):
            if identity in identities[:place]:
                raise PydanticCustomError(
                    "duplicate", "{identity} stands there twice; keep one", {"identity": repr(identity)}
                )
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._unique, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        described["x-kubernetes-list-type"] = "map" if self.key else "set"
        if self.key:
            described["x-kubernetes-list-map-keys"] = [self.key]
        return described


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)
"""JSON knows one kind of number, so the API server takes 3.0 for 3, save where CEL reads it; so do we."""
