"""The daemon's image: a base that rarely changes, and on top of it one small layer with the checkout's code.

The base is Debian's Python, the pinned Python packages, Pulumi and its Kubernetes provider, a layer each. A
change of code makes a new top layer only, and the archive that is imported for it holds nothing else.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local import images, oci, paths
from local.console import progress
from local.errors import ImageError, LocalError, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local.pulumi_parts import PulumiParts

CODE = ("valkey_cluster", "stacks", "daemon")
REPOSITORY = "localhost/valkeeper/daemon"
UID = 65532
_PYTHON = "3.11"
"""Of Debian bookworm, whatever this machine's own is."""
_RECIPE = images.Recipe(
    "bookworm",
    ("python3", "libpython3-stdlib", "ca-certificates", "libstdc++6", "zlib1g", "tzdata", "tini", "dash"),
    (("root", 0), ("valkeeper", UID)),
)
_PACKAGES = "opt/python"
_PULUMI = "opt/pulumi/bin"
_PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34", "manylinux_2_36")
_NEEDS = """
import sys
from importlib.metadata import distributions
sys.path.insert(0, sys.argv[1])
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
packages = list(distributions(path=[sys.argv[1]]))
there = {canonicalize_name(one.name) for one in packages}
for package in packages:
    for needed in map(Requirement, package.requires or ()):
        wanted = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if wanted and canonicalize_name(needed.name) not in there:
            print(f"{package.name} needs {needed}")
"""
"""Run by the image's own Python, which knows for itself which markers hold."""
_SETTINGS = oci.Settings(
    # tini is process 1: it collects what Pulumi's plugins leave when they are killed.
    entrypoint=("/usr/bin/tini", "--", "python3", "-m", "daemon"),
    command=(),
    environment={
        "PATH": f"/{_PULUMI}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"/app:/{_PACKAGES}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "USER": "valkeeper",
        "TZ": "UTC",
    },
    user=f"{UID}:{UID}",
    working_dir="/app",
)


def ensure(pulumi: PulumiParts, checkout: Path = paths.CHECKOUT) -> list[oci.Image]:
    """The base and the daemon itself, in the order in which they have to be imported.

    Raises:
        LocalError: the checkout lacks something that belongs into the image.
        ImageError: a layer could not be made.
    """
    requirements = checkout / "requirements.txt"
    if not requirements.exists():
        raise LocalError(f"{requirements} is missing; the daemon's image is made from it")
    layers = [_python(), _packages(requirements.read_bytes()), _pulumi(pulumi)]
    key = hashlib.sha256(repr([layer.digest for layer in layers]).encode()).hexdigest()[:12]

    def base(work: Path) -> list[oci.Image]:
        return [oci.write(f"{REPOSITORY}-base:{key}", layers, _SETTINGS, work / "image.tar")]

    code = code_files(checkout)
    digest = hashlib.sha256(repr((key, sorted(code.items()))).encode()).hexdigest()[:12]

    def daemon(work: Path) -> list[oci.Image]:
        top = oci.pack_files(code, work / "layer.tar")
        image = oci.write(
            f"{REPOSITORY}:{digest}", [*layers, top], _SETTINGS, work / "image.tar", carried=[top]
        )
        top.file.unlink()
        return [image]

    return [*images.cached("daemon-base", key, base), *images.cached("daemon", digest, daemon)]


def code_files(checkout: Path) -> dict[str, bytes]:
    """The code that runs in the daemon, by its path in the image.

    Raises:
        LocalError: a package is missing.
    """
    found = {}
    for package in CODE:
        if not (checkout / package / "__init__.py").exists():
            raise LocalError(
                f"{checkout / package} is not a Python package; the daemon's image is made from it"
            )
        for file in sorted((checkout / package).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                found[f"app/{file.relative_to(checkout)}"] = file.read_bytes()
    return found


def _layer(name: str, key: str, make: Callable[[Path], oci.Layer]) -> oci.Layer:
    """The layer that `make` writes to the file it gets, made once per key."""
    file = paths.cache() / "layers" / f"{name}-{key}.tar"
    note = file.with_suffix(".json")
    if not note.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with progress(f"image layer {name}"), tempfile.TemporaryDirectory(dir=file.parent) as work:
            made = make(Path(work) / "layer.tar")
            made.file.replace(file)
        paths.write_if_changed(note, json.dumps([made.digest, made.size]))
    digest, size = json.loads(note.read_text())
    return oci.Layer(file, digest, size)


def _python() -> oci.Layer:
    def make(target: Path) -> oci.Layer:
        with images.root(_RECIPE, "daemon") as folder:
            _compile(folder, f"usr/lib/python{_PYTHON}")
            bundle = sorted((folder / "usr/share/ca-certificates").rglob("*.crt"))
            certificates = folder / "etc/ssl/certs/ca-certificates.crt"
            certificates.parent.mkdir(parents=True, exist_ok=True)
            certificates.write_bytes(b"".join(file.read_bytes() for file in bundle))
            return oci.pack(folder, "", target)

    return _layer("python", _RECIPE.key(), make)


def _packages(requirements: bytes) -> oci.Layer:
    python = _python()
    key = hashlib.sha256(requirements + python.digest.encode()).hexdigest()[:12]

    def make(target: Path) -> oci.Layer:
        with _unpacked(python) as folder:
            _install(requirements, folder / _PACKAGES)
            _check_complete(folder)
            _compile(folder, _PACKAGES)
            return oci.pack(folder, _PACKAGES, target)

    return _layer("packages", key, make)


def _pulumi(pulumi: PulumiParts) -> oci.Layer:
    programs = {"pulumi": pulumi.cli, pulumi.provider.name: pulumi.provider}
    described = [(name, file.stat().st_size, file.stat().st_mtime_ns) for name, file in programs.items()]
    key = hashlib.sha256(repr(described).encode()).hexdigest()[:12]

    def make(target: Path) -> oci.Layer:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            Path(folder).chmod(0o755)
            (Path(folder) / _PULUMI).mkdir(parents=True)
            for name, file in programs.items():
                shutil.copy(file, Path(folder) / _PULUMI / name)
            return oci.pack(Path(folder), _PULUMI, target)

    return _layer("pulumi", key, make)


@contextmanager
def _unpacked(layer: oci.Layer) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=layer.file.parent, prefix="root-") as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["tar", "--extract", "--file", layer.file, "--directory", folder], check=True)
        yield Path(folder)


def _install(requirements: bytes, target: Path) -> None:
    """Install the pinned packages for the image's Python, which need not be this machine's."""
    log = paths.cache() / "logs" / "image-packages.log"
    machine = {name: arch for arch, name in oci.ARCHITECTURES.items()}[oci.architecture()]
    platforms = [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
    with tempfile.NamedTemporaryFile(suffix=".txt") as wanted, log.open("wb") as output:
        wanted.write(requirements)
        wanted.flush()
        command: Sequence[str] = [
            *(sys.executable, "-m", "pip", "install", "--no-compile", "--only-binary=:all:"),
            *("--disable-pip-version-check", "--root-user-action=ignore"),
            *(f"--target={target}", f"--python-version={_PYTHON}", "--implementation=cp"),
            *platforms,
            *("--requirement", wanted.name),
        ]
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode:
        hint = "check the network; every requirement needs a wheel for CPython 3.11 on Linux"
        raise ImageError(explain("The daemon's Python packages could not be installed", log, hint))


def _check_complete(folder: Path) -> None:
    """See that every package finds what it needs: pins made on another Python may leave something out.

    Raises:
        ImageError: the pins lack a package.
    """
    lacking = images.run_in(folder, "python3", "-c", _NEEDS, f"/{_PACKAGES}").splitlines()
    if lacking:
        raise ImageError(
            f"requirements.txt does not pin all that Python {_PYTHON} of Debian {_RECIPE.suite} needs: "
            f"{'; '.join(lacking)}. Add it to requirements.in and run `make pins`."
        )


def _compile(folder: Path, top: str) -> None:
    """Compile the Python below `top`: containers cannot write, and would do it anew at each start."""
    command = ("python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"/{top}")
    images.run_in(folder, *command)
