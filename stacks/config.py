"""An environment's configuration, from stacks/Pulumi.<environment>.yaml; all problems in one message."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_VARIABLE = "VALKEEPER_DAEMON_IMAGE"
"""Overrides daemon.image: what was just built has a new tag each time."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class DaemonConfig(_Config):
    """The daemon's Deployment."""

    image: str = Field(min_length=1, description="Image with a tag or digest.")
    replicas: int = Field(default=1, ge=1, le=5, description="One acts; more take over sooner.")
    namespace: str = Field(default="valkeeper-system", description="Where it runs.")
    watch: tuple[str, ...] = Field(
        default=(), description="Namespaces it may see and change; none means all of the Kubernetes cluster."
    )


class Rules(_Config):
    """What every ValkeyCluster of this environment must have."""

    min_replicas_per_shard: int = Field(default=0, ge=0, le=5)
    min_shards: int = Field(default=1, ge=1)
    persistence_required: bool = False
    spread_required: bool = Field(default=False, description="Copies of a shard on different nodes, always.")
    allowed_repositories: tuple[str, ...] = Field(default=(), description="Prefixes; none means any.")


class ClusterConfig(_Config):
    """One ValkeyCluster of the environment."""

    name: str
    namespace: str
    spec: dict[str, Any]


class EnvironmentConfig(_Config):
    """Everything that differs between environments."""

    daemon: DaemonConfig
    namespaces: tuple[str, ...] = Field(default=(), description="Namespaces that the environment makes.")
    rules: Rules = Rules()
    clusters: tuple[ClusterConfig, ...] = ()
    ready_timeout_seconds: int = Field(default=600, ge=10, description="For all clusters to become Ready.")


def load(config: pulumi.Config) -> EnvironmentConfig:
    """The selected stack's configuration.

    Raises:
        pulumi.RunError: something in it is wrong; names every field.
    """
    fields = EnvironmentConfig.model_fields
    given = {alias: config.get_object(alias) for alias in (field.alias or "" for field in fields.values())}
    given = {key: value for key, value in given.items() if value is not None}
    daemon, image = given.get("daemon"), os.environ.get(IMAGE_VARIABLE)
    if image and isinstance(daemon, dict):
        given["daemon"] = {**daemon, "image": image}
    return parse(given)


def parse(given: Mapping[str, Any]) -> EnvironmentConfig:
    """The same from plain data."""
    try:
        return EnvironmentConfig.model_validate(given)
    except ValidationError as error:
        lines = [f"  valkeeper:{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise pulumi.RunError("the stack's configuration is not valid:\n" + "\n".join(lines)) from error
