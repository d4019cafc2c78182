"""Pulumi's command line, language host and Kubernetes provider: found where installed, built where not.

Also the environment in which `pulumi` on the command line uses them: see `environment`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local import build, network, oci, paths
from local.parts import (
    KUBERNETES,
    PROVIDER_VERSION,
    PULUMI,
    PULUMI_KUBERNETES,
    PULUMI_LANGUAGE_PYTHON,
    PULUMI_VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.parts import Part

PLUGIN = f"resource-kubernetes-v{PROVIDER_VERSION}"
PROVIDER = "pulumi-resource-kubernetes"
_SETTINGS = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "true",
    "PULUMI_CREDENTIAL_STORE": "plaintext",
}


@dataclass(frozen=True)
class PulumiParts:
    """Where Pulumi's programs are."""

    cli: Path
    provider: Path
    folders: tuple[Path, ...]
    """Folders to put before PATH; none for what is on PATH already."""
    behind: tuple[Path, ...] = ()
    """Folders to put behind PATH: the local cluster's kubectl, for who has none."""


def needed() -> list[Part]:
    """Parts that have to be built, because they are not installed."""
    parts = [] if installed_cli() else [PULUMI, PULUMI_LANGUAGE_PYTHON]
    return parts if installed_provider() else [*parts, PULUMI_KUBERNETES]


def ensure() -> PulumiParts:
    """Find or build Pulumi's parts, and put the provider where the command line looks for plugins.

    Raises:
        PartError: a part could not be built.
    """
    cli, provider = installed_cli(), installed_provider()
    built = build.ensure(needed())
    folders: tuple[Path, ...] = ()
    if not cli:
        cli = built[PULUMI.name] / "bin" / "pulumi"
        folders = (_install_language_host(built), cli.parent)
    if not provider:
        provider = built[PULUMI_KUBERNETES.name] / "bin" / PROVIDER
    # A real folder below PULUMI_HOME: the command line does not find a provider behind a link.
    _place(provider, pulumi_home() / "plugins" / PLUGIN / PROVIDER)
    # A file in place of the folder keeps the command line from writing and scanning debug logs on every call.
    (pulumi_home() / "logs").touch()
    behind = (build.ensure([KUBERNETES])[KUBERNETES.name] / "bin",) if _is_local(os.environ) else ()
    return PulumiParts(cli, provider, folders, behind)


def installed_cli() -> Path | None:
    """The `pulumi` on PATH if it is not older than our SDK and has its Python language host beside it."""
    found = shutil.which("pulumi")
    if not found or not shutil.which("pulumi-language-python"):
        return None
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    return Path(found).resolve() if is_compatible(said) else None


def is_compatible(version: str) -> bool:
    """Whether a command line of that version serves our SDK: the same major version, not older."""
    asked, ours = (tuple(map(int, re.findall(r"\d+", text)[:2])) for text in (version, PULUMI_VERSION))
    return len(asked) == len(ours) and asked[0] == ours[0] and asked >= ours


def installed_provider() -> Path | None:
    """The provider of exactly our version among the user's Pulumi plugins, for this kind of machine."""
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    found = home / "plugins" / PLUGIN / PROVIDER
    return found if found.exists() and home != pulumi_home() else None


def pulumi_home() -> Path:
    """PULUMI_HOME of our own, so that the user's is left alone."""
    return paths.cache() / f"pulumi-home-{oci.architecture()}"


def environment(given: Mapping[str, str], parts: PulumiParts) -> dict[str, str]:
    """What has to be set for `pulumi` to work on this cluster from the command line.

    A backend or passphrase that the user has set is kept. PATH starts with this Python's own folder: the
    language host runs the first `python3` it finds there.
    """
    first = [Path(sys.executable).parent, *parts.folders]
    local = _is_local(given)
    settings = {
        **_SETTINGS,
        "PATH": ":".join([*map(str, first), given.get("PATH", os.defpath), *map(str, parts.behind)]),
        "PULUMI_HOME": str(pulumi_home()),
        "KUBECONFIG": str(paths.KUBECONFIG) if local else given["KUBECONFIG"],
    }
    if local:
        settings |= network.without_proxy(given)
        settings["PULUMI_BACKEND_URL"] = f"file://{paths.PULUMI_STATE}"
    elif "PULUMI_BACKEND_URL" not in given:
        settings["PULUMI_BACKEND_URL"] = f"file://{_own_state()}"
    if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & given.keys():
        settings["PULUMI_CONFIG_PASSPHRASE"] = ""
    return settings


def _is_local(given: Mapping[str, str]) -> bool:
    return Path(given.get("KUBECONFIG") or paths.KUBECONFIG) == paths.KUBECONFIG


def _own_state() -> Path:
    """Where state of stacks on the user's own cluster goes when no backend is set."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    folder = data / "valkeeper" / "pulumi-state"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _install_language_host(built: Mapping[str, Path]) -> Path:
    """Folder with the language host and the scripts that it looks for beside itself."""
    host = built[PULUMI_LANGUAGE_PYTHON.name] / "bin" / "pulumi-language-python"
    folder = pulumi_home() / "bin"
    for file in (host, *sorted((built[PULUMI.name] / "share").iterdir())):
        _place(file, folder / file.name)
    return folder


def _place(source: Path, target: Path) -> None:
    """Make `target` be that file, in one step, without a second copy where the file system allows it."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        fresh.hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, fresh)
    fresh.replace(target)
