"""The CustomResourceDefinition of ValkeyCluster, made from the models, so that it cannot say anything else.

`python -m valkey_cluster.crd` writes it and the field reference; with `--check` it fails where they differ.
The schema is structural and its CEL stays within the API server's cost budget, because every list, map and
string that a rule reads is bounded by the models.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valkey_cluster import names
from valkey_cluster.reference import reference
from valkey_cluster.spec import NAME_RULES, ValkeyClusterSpec
from valkey_cluster.spec.rule import validations
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
CRD_FILE = ROOT / "crds" / f"{names.PLURAL}.{names.GROUP}.yaml"
REFERENCE_FILE = ROOT / "docs" / "reference.md"
HEADER = "# Made by `python -m valkey_cluster.crd` from the models in valkey_cluster/spec; do not edit.\n"

Schema = dict[str, Any]

NOTHING: tuple[Any, ...] = (None, {}, [], ())
"""Defaults that are not written down: absent means the same."""

_COPIED = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
)


def schema_of(model: type[BaseModel]) -> Schema:
    """The model as a structural schema: no references, no unions, defaults in place."""
    whole = model.model_json_schema(by_alias=True)
    return _structural(whole, whole.get("$defs", {}))


def _structural(source: Schema, definitions: Schema) -> Schema:
    source = _flattened(source, definitions)
    schema = {key: source[key] for key in _COPIED if key in source}
    schema |= {key: value for key, value in source.items() if key.startswith("x-kubernetes-")}
    if "x-kubernetes-int-or-string" in source:
        schema["anyOf"] = source["anyOf"]
    if "properties" in source:
        schema["properties"] = {
            name: _with_default(_structural(part, definitions), part)
            for name, part in source["properties"].items()
        }
        schema |= {"required": source["required"]} if source.get("required") else {}
    elif source.get("additionalProperties") is True:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    elif "additionalProperties" in source:
        schema["additionalProperties"] = _structural(source["additionalProperties"], definitions)
    if "items" in source:
        schema["items"] = _structural(source["items"], definitions)
    return schema


def _flattened(source: Schema, definitions: Schema) -> Schema:
    """The schema without `$ref` and without `| None`; what stands beside them wins."""
    if "anyOf" in source and "x-kubernetes-int-or-string" not in source:
        beside = {key: value for key, value in source.items() if key != "anyOf"}
        chosen = next(part for part in source["anyOf"] if part != {"type": "null"})
        source = {**_flattened(chosen, definitions), **beside}
    if "$ref" in source:
        named = definitions[source["$ref"].removeprefix("#/$defs/")]
        source = {**named, **{key: value for key, value in source.items() if key != "$ref"}}
    return source


def _with_default(schema: Schema, source: Schema) -> Schema:
    """The schema with the model's default, in full: the API server runs the rules on it as it stands."""
    default = _without_nothing(source.get("default"))
    return schema if default in NOTHING else {**schema, "default": default}


def _without_nothing(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    parts = {key: _without_nothing(part) for key, part in value.items()}
    return {key: part for key, part in parts.items() if part not in NOTHING}


def crd() -> Schema:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": [names.SHORT_NAME],
                "categories": [names.MANAGED_BY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(),
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.shards",
                            "statusReplicasPath": ".status.shards",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def _root() -> Schema:
    return {
        "description": "A Valkey cluster: shards of one primary and its replicas, kept as its spec says.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(ValkeyClusterSpec),
            "status": schema_of(ClusterStatus),
        },
        "x-kubernetes-validations": validations(NAME_RULES.rules),
    }


def _columns() -> list[Schema]:
    texts = {
        "Phase": ".status.phase",
        "Shards": ".spec.shards",
        "Ready": ".status.members",
        "Version": ".status.version",
        "Step": ".status.step.kind",
    }
    columns: list[Schema] = [
        {"name": name, "type": "integer" if name == "Shards" else "string", "jsonPath": path}
        for name, path in texts.items()
    ]
    return [
        *columns,
        {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


class _Dumper(yaml.SafeDumper):
    """Repeats equal parts instead of anchoring them: a CRD is read by people."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def files() -> dict[Path, str]:
    """What is generated: path -> content."""
    definition = crd()
    dumped = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return {CRD_FILE: HEADER + dumped, REFERENCE_FILE: reference(_root())}


def main(arguments: Sequence[str]) -> int:
    """Write the generated files, or with --check tell whether they are as they should be."""
    parser = argparse.ArgumentParser(prog="python -m valkey_cluster.crd", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file differs")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            sys.stderr.write(f"{path} differs from the models; run `python -m valkey_cluster.crd`\n")
        else:
            path.write_text(files()[path])
            sys.stderr.write(f"wrote {path}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
