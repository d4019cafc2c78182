"""The field reference (docs/reference.md) as Markdown, from the same schemas that the API server gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valkey_cluster import names
from valkey_cluster.spec.formats import SAID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Schema = dict[str, Any]

_HEADER = "<!-- Made by `python -m valkey_cluster.crd` from the models; do not edit. -->"


@dataclass(frozen=True)
class Documented:
    """A resource to speak of."""

    kind: str
    short_name: str
    root: Schema


def reference(resources: Iterable[Documented]) -> str:
    """The reference of all resources."""
    return "\n".join([_HEADER, *(line for resource in resources for line in _sections(resource))])


def _sections(resource: Documented) -> Iterator[str]:
    yield f"""# {resource.kind} ({names.API_VERSION})

{resource.root["description"]}

The same text is on the cluster: `kubectl explain {resource.short_name}.spec`. `[]` is an item of a list.
What is not required may be left out; of an object, the defaults are those of its fields.
"""
    for part in ("spec", "status"):
        schema = resource.root["properties"][part]
        yield f"\n## {part}\n"
        yield _table(schema)
        yield from _rules(schema)


def _table(schema: Schema) -> str:
    rows = ["| field | type | default | bounds | meaning |", "|---|---|---|---|---|"]
    for path, field, required in _fields(schema, ""):
        default = "required" if required else _code(field.get("default"))
        cells = (f"`{path}`", _type(field), default, _bounds(field), field.get("description", ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, field, name in schema.get("required", ())
        if field.get("type") == "array":
            yield from _fields(field["items"], f"{here}[]")
        else:
            yield from _fields(field, here)


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in field:
        return " or ".join(_code(choice) for choice in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    return str(field["type"])


def _bounds(field: Schema) -> str:
    said = {
        "minimum": "from {}",
        "maximum": "to {}",
        "minItems": "at least {} entries",
        "maxItems": "at most {} entries",
        "maxProperties": "at most {} entries",
        "maxLength": "at most {} characters",
    }
    bounds = [text.format(field[key]) for key, text in said.items() if key in field]
    if "pattern" in field:
        bounds.append(SAID.get(field["pattern"], f"of the form `{field['pattern']}`"))
    return ", ".join(bounds)


def _code(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return ", ".join(map(_code, value))
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _rules(schema: Schema) -> Iterator[str]:
    found = list(_validations(schema, ""))
    if found:
        yield "Rules across and within fields:\n"
        yield "\n".join(f"- `{path}`: {message}" for path, message in found) + "\n"


def _validations(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        where = f"{path}{rule.get('fieldPath', '')}".removeprefix(".")
        yield where, rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from _validations(field, f"{path}.{name}")
    if "items" in schema:
        yield from _validations(schema["items"], f"{path}[]")
