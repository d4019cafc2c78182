"""Debian packages: those this machine needs, and root file systems for images.

The mirror is the one that the machine's own apt sources name for Debian, so that nothing is fetched from
where the machine is not meant to fetch from.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.console import say
from local.errors import ImageError, LocalError, explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DEFAULT_MIRROR = "http://deb.debian.org/debian"
TOOLS = {
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
"""Programs that the local Kubernetes runs, and the packages that have them."""
SUITES = frozenset(
    ("bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable")
)
_HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
_UNUSED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "var/cache",
    "var/lib/apt",
    "var/log",
)


@dataclass(frozen=True)
class Source:
    """One place that apt fetches packages from."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def is_debian(self) -> bool:
        """Whether it is a mirror of Debian itself: other vendors use Debian's suite names too."""
        named = self.uri.rstrip("/").endswith("/debian") or "debian-archive" in self.signed_by
        return (
            named
            and "main" in self.components
            and bool(SUITES.intersection(self.suites))
            and self.uri.startswith("http")
        )


def parse_list(text: str) -> Iterator[Source]:
    """Sources in apt's one-line format (*.list)."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)]\s+)?(?P<rest>[^#]+)", line)
        if found:
            uri, suite, *components = found["rest"].split()
            options = dict(option.partition("=")[::2] for option in (found["options"] or "").split())
            yield Source(uri, (suite,), tuple(components), options.get("signed-by", ""))


def parse_deb822(text: str) -> Iterator[Source]:
    """Sources in apt's paragraph format (*.sources)."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([\w-]+):((?:.*\n?)(?:[ \t]+.*\n?)*)", paragraph, re.MULTILINE)
        }
        if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
            continue
        for uri in fields.get("uris", []):
            yield Source(
                uri,
                tuple(fields.get("suites", [])),
                tuple(fields.get("components", [])),
                " ".join(fields.get("signed-by", [])),
            )


def mirror(folder: Path = Path("/etc/apt")) -> str:
    """The mirror of Debian that this machine uses."""
    listed = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]
    sources = [one for file in listed if file.exists() for one in parse_list(file.read_text())]
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        sources.extend(parse_deb822(file.read_text()))
    return next((source.uri for source in sources if source.is_debian), DEFAULT_MIRROR)


def missing_tools() -> list[str]:
    """Packages whose programs this machine does not have."""
    return [package for program, package in TOOLS.items() if not shutil.which(program)]


def install_tools() -> None:
    """Install what is missing with apt.

    Raises:
        LocalError: apt is not there or could not.
    """
    packages = missing_tools()
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        raise LocalError(f"These programs are missing, and there is no apt-get to install them: {packages}")
    say(f"Installing Debian packages: {' '.join(packages)}")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in (["apt-get", "update"], command):
        done = subprocess.run(attempt, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(
            f"`{' '.join(command)}` failed:\n{done.stderr.strip()}\nInstall them, then run it again."
        )


def root_folder(suite: str, packages: Sequence[str], target: Path, log: Path) -> None:
    """Unpack the packages and what they depend on into `target`, without running any of their scripts.

    Raises:
        ImageError: the packages could not be fetched or unpacked.
    """
    source = mirror()
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        f"--hook-dir={_HOOKS}",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--include={','.join(packages)}",
        suite,
        str(target),
        f"deb {source} {suite} main",
    ]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode:
        what = f"Debian {suite} with {', '.join(packages)} could not be unpacked from {source}"
        raise ImageError(explain(what, log, "check that the mirror is reachable and has this suite"))
    prune(target, _UNUSED)


def prune(root: Path, unused: Iterable[str]) -> None:
    """Remove what no container reads; /dev comes from the container runtime."""
    for name in unused:
        shutil.rmtree(root / name, ignore_errors=True)
    for device in (root / "dev").glob("*"):
        if device.is_dir() and not device.is_symlink():
            shutil.rmtree(device)
        else:
            device.unlink()
