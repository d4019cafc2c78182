"""The images of Valkey and of what pods need besides, made from Debian packages without a registry.

Each is made once per content and kept in the cache. Debian's suites move on, so Valkey's version is what the
binary itself says: tests speak of the older and the newer one.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local import debian, oci, paths
from local.config import PAUSE_IMAGE
from local.console import progress
from local.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VALKEY_REPOSITORY = "docker.io/valkey/valkey"
VALKEY_UID = 999
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Recipe:
    """A root file system from Debian packages; what it is called in the cache follows from all of it."""

    suite: str
    packages: tuple[str, ...]
    users: tuple[tuple[str, int], ...] = ()
    revision: int = 1
    """Raised when the code that follows the recipe changes its outcome."""

    def key(self) -> str:
        """Hash of the recipe."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


_VALKEY_PACKAGES = ("valkey-server", "valkey-tools", "dash", "coreutils", "grep", "sed", "mawk", "libc-bin")
_VALKEY_USERS = (("root", 0), ("valkey", VALKEY_UID))
VALKEY_RECIPES = (
    Recipe("trixie", _VALKEY_PACKAGES, _VALKEY_USERS),
    Recipe("forky", _VALKEY_PACKAGES, _VALKEY_USERS),
)
PAUSE_RECIPE = Recipe("bookworm", ("busybox-static",), (("root", 0),))


def ensure_base() -> list[oci.Image]:
    """The pause image, and Valkey, the older version first."""
    versions = sorted(
        (_valkey(recipe) for recipe in VALKEY_RECIPES), key=lambda image: version_key(image.reference)
    )
    return [*_pause(), *versions]


def version_key(reference: str) -> tuple[int, ...]:
    """What orders references (or plain versions) by the numbers of their version."""
    return tuple(int(number) for number in re.findall(r"\d+", reference.rpartition(":")[2]))


@contextmanager
def root(recipe: Recipe, name: str) -> Iterator[Path]:
    """The recipe's root file system in a scratch folder; scripts were not run, so users are added here."""
    scratch = paths.cache() / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
    try:
        log = paths.cache() / "logs" / f"image-{name}.log"
        debian.root_folder(recipe.suite, recipe.packages, folder, log)
        folder.chmod(0o755)
        add_users(folder, recipe.users)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def add_users(folder: Path, users: tuple[tuple[str, int], ...]) -> None:
    """Write the account files of a root file system."""
    (folder / "etc").mkdir(exist_ok=True)
    accounts = "".join(f"{name}:x:{uid}:{uid}:{name}:/:/usr/sbin/nologin\n" for name, uid in users)
    (folder / "etc" / "passwd").write_text(accounts)
    (folder / "etc" / "group").write_text("".join(f"{name}:x:{uid}:\n" for name, uid in users))


def run_in(folder: Path, *command: str) -> str:
    """Output of a program run inside of a root file system.

    Raises:
        ImageError: it ended with an error, so the file system is not usable.
    """
    done = subprocess.run(
        ["chroot", folder, *command], env={"PATH": _PATH}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ImageError(f"{command[0]} does not run in the image being made: {done.stderr.strip()}")
    return done.stdout


def cached(name: str, key: str, make: Callable[[Path], list[oci.Image]]) -> list[oci.Image]:
    """The images that `make` writes into the folder it gets, made once per key."""
    folder = paths.cache() / "images" / f"{name}-{key}"
    notes = folder / "images.json"
    if not notes.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            with progress(f"image {name}"):
                made = make(work)
            described = [[image.reference, image.digest, image.archive.name] for image in made]
            (work / "images.json").write_text(json.dumps(described))
            work.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return [oci.Image(ref, digest, folder / file) for ref, digest, file in json.loads(notes.read_text())]


def _valkey(recipe: Recipe) -> oci.Image:
    def make(work: Path) -> list[oci.Image]:
        with root(recipe, f"valkey-{recipe.suite}") as folder:
            said = run_in(folder, "valkey-server", "--version")
            found = re.search(r" v=(\d+\.\d+\.\d+)", said)
            if not found:
                raise ImageError(f"valkey-server of Debian {recipe.suite} says no version: {said}")
            (folder / "usr" / "bin" / "awk").unlink(missing_ok=True)
            (folder / "usr" / "bin" / "awk").symlink_to("mawk")
            (folder / "data").mkdir()
            layer = oci.pack(folder, "", work / "layer.tar", {"./data": VALKEY_UID, "data": VALKEY_UID})
        settings = oci.Settings(
            command=("valkey-server",),
            environment={"PATH": _PATH},
            user=f"{VALKEY_UID}:{VALKEY_UID}",
            working_dir="/data",
        )
        image = oci.write(f"{VALKEY_REPOSITORY}:{found[1]}", [layer], settings, work / "image.tar")
        layer.file.unlink()
        return [image]

    return cached(f"valkey-{recipe.suite}", recipe.key(), make)[0]


def _pause() -> list[oci.Image]:
    def make(work: Path) -> list[oci.Image]:
        with root(PAUSE_RECIPE, "pause") as folder:
            (folder / "usr" / "bin" / "sleep").symlink_to("busybox")
            layer = oci.pack(folder, "", work / "layer.tar")
        pause = oci.Settings(command=("sleep", "2147483647"), environment={"PATH": _PATH})
        images = [oci.write(PAUSE_IMAGE, [layer], pause, work / "pause.tar")]
        layer.file.unlink()
        return images

    return cached("pause", PAUSE_RECIPE.key(), make)
