"""The CustomResourceDefinitions, made from the models, so that they cannot say anything else.

`python -m valkey_cluster.crd` writes them and the field reference; with `--check` it fails where they
differ. The schemas are structural and their CEL stays within the API server's cost budget, because every
list, map and string that a rule reads is bounded by the models.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valkey_cluster import names
from valkey_cluster.reference import Documented, reference
from valkey_cluster.spec import NAME_RULES, UPGRADE_NAME_RULES, ValkeyClusterSpec, ValkeyUpgradeSpec
from valkey_cluster.spec.rule import Rules, validations
from valkey_cluster.status_model import ClusterStatus
from valkey_cluster.upgrade_status import UpgradeStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
CRDS = ROOT / "crds"
REFERENCE_FILE = ROOT / "docs" / "reference.md"
HEADER = "# Made by `python -m valkey_cluster.crd` from the models in valkey_cluster/spec; do not edit.\n"

Schema = dict[str, Any]


@dataclass(frozen=True)
class CustomResource:
    """A kind of resource, and what the API server shall know of it beside the fields."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    name_rules: Rules
    columns: dict[str, str]
    """What `kubectl get` shows: title -> path."""
    scale: dict[str, str] | None = None
    """Paths of the subresource that `kubectl scale` and autoscalers use."""
    selectable: tuple[str, ...] = ()
    """Paths of fields that can be used in field selectors."""

    @property
    def name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.{names.GROUP}"


CLUSTER = CustomResource(
    kind=names.KIND,
    plural=names.PLURAL,
    short_name=names.SHORT_NAME,
    description="A Valkey cluster: shards of one primary and its replicas, kept as its spec says.",
    spec=ValkeyClusterSpec,
    status=ClusterStatus,
    name_rules=NAME_RULES,
    columns={
        "Phase": ".status.phase",
        "Shards": ".spec.shards",
        "Ready": ".status.members",
        "Version": ".status.version",
        "Step": ".status.step.kind",
    },
    scale={
        "specReplicasPath": ".spec.shards",
        "statusReplicasPath": ".status.shards",
        "labelSelectorPath": ".status.selector",
    },
)
UPGRADE = CustomResource(
    kind=names.UPGRADE_KIND,
    plural=names.UPGRADE_PLURAL,
    short_name=names.UPGRADE_SHORT_NAME,
    description="One upgrade of a ValkeyCluster's version: checks, canary shards, soak, gates, then the "
    "other shards; taken back when something fails. It stays afterwards: it is the history. Annotations with "
    f"the value {names.ANNOTATION_SET} steer it: {names.ANNOTATION_PAUSE} holds it where it is, "
    f"{names.ANNOTATION_APPROVE} gives the approval it waits for, {names.ANNOTATION_ABORT} takes it back.",
    spec=ValkeyUpgradeSpec,
    status=UpgradeStatus,
    name_rules=UPGRADE_NAME_RULES,
    columns={
        "Cluster": ".spec.clusterRef.name",
        "Version": ".spec.version",
        "From": ".status.fromVersion",
        "Phase": ".status.phase",
    },
    selectable=(".spec.clusterRef.name",),
)
RESOURCES = (CLUSTER, UPGRADE)

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


def crd(resource: CustomResource) -> Schema:
    """The resource's CustomResourceDefinition."""
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": _columns(resource.columns),
        "subresources": {"status": {}, **({"scale": resource.scale} if resource.scale else {})},
        "schema": {"openAPIV3Schema": _root(resource)},
    }
    if resource.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.name},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": [names.MANAGED_BY],
            },
            "versions": [version],
        },
    }


def _root(resource: CustomResource) -> Schema:
    return {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(resource.spec),
            "status": schema_of(resource.status),
        },
        "x-kubernetes-validations": validations(resource.name_rules.rules),
    }


def _columns(shown: dict[str, str]) -> list[Schema]:
    columns: list[Schema] = [
        {"name": name, "type": "integer" if name == "Shards" else "string", "jsonPath": path}
        for name, path in shown.items()
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


def crd_file(resource: CustomResource) -> Path:
    """Where the resource's definition is written."""
    return CRDS / f"{resource.name}.yaml"


def files() -> dict[Path, str]:
    """What is generated: path -> content."""
    definitions = {
        crd_file(resource): HEADER
        + yaml.dump(crd(resource), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for resource in RESOURCES
    }
    documented = [Documented(one.kind, one.short_name, _root(one)) for one in RESOURCES]
    return {**definitions, REFERENCE_FILE: reference(documented)}


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
