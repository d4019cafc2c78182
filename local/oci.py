"""Container images written by hand: a layer is a tar file, an image is a few lines of JSON about layers."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer and what manifests say of it."""

    file: Path
    digest: str
    size: int


@dataclass(frozen=True)
class Image:
    """An image in an archive that containerd can import."""

    reference: str
    digest: str
    """Of its manifest; tells whether a node has this very image."""
    archive: Path


@dataclass(frozen=True)
class Settings:
    """What a container does unless its pod says otherwise."""

    command: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = "/"

    def config(self) -> dict[str, Any]:
        """In the form of the image specification."""
        return {
            "Cmd": list(self.command),
            "Entrypoint": list(self.entrypoint),
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "User": self.user,
            "WorkingDir": self.working_dir,
        }


def digest(content: bytes) -> str:
    """Digest in the form that manifests use."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def architecture() -> str:
    """This machine's architecture as images name it."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def pack(root: Path, top: str, target: Path, owners: Mapping[str, int] | None = None) -> Layer:
    """Pack `root`/`top` into a layer; the same content always gives the same digest.

    Args:
        root: what becomes `/` of the container.
        top: folder below it to pack; "" for all.
        target: the layer's file.
        owners: user and group id of single files or folders; all others belong to root.
    """
    owned = owners or {}

    def normal(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = owned.get(entry.name, 0)
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for parent in reversed([*Path(top).parents][:-1] if top else []):
            archive.add(root / parent, arcname=str(parent), recursive=False, filter=normal)
        # `add` visits a folder's content in sorted order.
        archive.add(root / top, arcname=top or ".", filter=normal)
    return layer(target)


def pack_files(files: Mapping[str, bytes], target: Path) -> Layer:
    """A layer of just these files, readable by everyone."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
        for name in sorted(folders):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in sorted(files.items()):
            _add(archive, name, content)
    return layer(target)


def layer(file: Path) -> Layer:
    """Describe a layer's file."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return Layer(file, f"sha256:{found}", file.stat().st_size)


def manifest(layers: Sequence[Layer], settings: Settings) -> tuple[bytes, bytes]:
    """(manifest, config) of an image."""
    config = _json(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": settings.config(),
            "rootfs": {"type": "layers", "diff_ids": [one.digest for one in layers]},
        }
    )
    content = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER, "digest": one.digest, "size": one.size} for one in layers],
    }
    return _json(content), config


def write(
    reference: str,
    layers: Sequence[Layer],
    settings: Settings,
    target: Path,
    carried: Sequence[Layer] | None = None,
) -> Image:
    """Write the image's archive.

    Args:
        reference: the name it is imported under.
        layers: from the bottom to the top.
        settings: how its containers run.
        target: the archive.
        carried: layers that the archive holds; the importing containerd must have the others already.
            All of them when left out.
    """
    content, config = manifest(layers, settings)
    index = _json(
        {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": _MANIFEST,
                    "digest": digest(content),
                    "size": len(content),
                    "annotations": {
                        "io.containerd.image.name": reference,
                        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
                    },
                    "platform": {"os": "linux", "architecture": architecture()},
                }
            ],
        }
    )
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", index)
        for blob in (content, config):
            _add(archive, _blob(digest(blob)), blob)
        for one in layers if carried is None else carried:
            entry = tarfile.TarInfo(_blob(one.digest))
            entry.size = one.size
            with one.file.open("rb") as stream:
                archive.addfile(entry, stream)
    return Image(reference, digest(content), target)


def _blob(name: str) -> str:
    return f"blobs/sha256/{name.removeprefix('sha256:')}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
