"""The daemon's settings, from VALKEEPER_* variables of its environment; all problems in one message."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "VALKEEPER_"
_OTHERS = ("VALKEEPER_CACHE", "VALKEEPER_DAEMON_IMAGE")
"""Of the same prefix, but read by the local Kubernetes and by the stacks."""


class SettingsError(Exception):
    """The environment is not a valid configuration; the text names every variable that is wrong."""


def _own_folder(path: Path) -> Path:
    """It is emptied at start, so neither the current folder nor the root can be meant."""
    if not path.is_absolute() or path == Path(path.anchor):
        raise ValueError("must be the absolute path of a folder of its own: it is emptied at start")
    return path


class Settings(BaseModel):
    """What differs between installations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: tuple[str, ...] = Field(default=(), description="Watched namespaces; none means all.")
    lease_namespace: str = Field(default="valkeeper-system", min_length=1, description="Where the Lease is.")
    lease_name: str = Field(default="valkeeper", min_length=1, description="The Lease's name.")
    identity: str = Field(default_factory=socket.gethostname, min_length=1, description="This process' name.")
    port: int = Field(default=8080, ge=1, le=65535, description="For /healthz, /readyz and /metrics.")
    work_dir: Annotated[Path, AfterValidator(_own_folder)] = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / f"valkeeper-{os.getpid()}",
        description="Emptied at start.",
    )
    backend_url: str = Field(default="", description="A Pulumi backend; empty for the embedded one.")
    parallel_updates: int = Field(default=2, ge=1, le=64, description="Pulumi updates at the same time.")
    workers: int = Field(default=8, ge=1, le=256, description="Clusters looked at at the same time.")
    failpoint: str = Field(default="", description="For tests: where to die.")


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a variable is unknown or its value is not possible.
    """
    environment = os.environ if environment is None else environment
    given: dict[str, object] = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(_PREFIX) and name not in _OTHERS
    }
    if "namespaces" in given:
        given["namespaces"] = tuple(
            part.strip() for part in str(given["namespaces"]).split(",") if part.strip()
        )
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        problems = [
            f"{_PREFIX}{'.'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
            for one in error.errors()
        ]
        raise SettingsError("; ".join(problems)) from error
