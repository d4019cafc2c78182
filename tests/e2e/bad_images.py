"""Images of Valkey that go wrong in a way of their own: the newest one, with a script before its server."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

from local import cluster, images, oci

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "opt/wrong"

DIES = "echo 'this build is broken' >&2; exit 3"
"""Ends at once, each time."""
NEVER_SYNCS = 'exec /usr/bin/valkey-server "$@" --primaryuser nobody --primaryauth wrong'
"""Starts and answers; its primary refuses the password that it shows, so replication never begins."""


def load(version: str, script: str, folder: Path) -> None:
    """Put `docker.io/valkey/valkey:<version>` on every node; its server is this shell script."""
    base = images.ensure_base()[-1]
    layers = _layers(base.archive, folder)
    server = folder / "root" / _FOLDER / "valkey-server"
    server.parent.mkdir(parents=True)
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o755)
    wrapper = oci.pack(folder / "root", "opt", folder / "layer.tar")
    settings = oci.Settings(
        command=("valkey-server",),
        environment={"PATH": f"/{_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        user=f"{images.VALKEY_UID}:{images.VALKEY_UID}",
        working_dir="/data",
    )
    reference = f"{images.VALKEY_REPOSITORY}:{version}"
    image = oci.write(reference, [*layers, wrapper], settings, folder / "image.tar")
    cluster.load(image.archive)


def _layers(archive: Path, folder: Path) -> list[oci.Layer]:
    """The layers of an image's archive, each unpacked into a file of the folder."""
    with tarfile.open(archive) as tar:

        def blob(name: str) -> bytes:
            member = tar.extractfile(f"blobs/{name.replace(':', '/')}")
            assert member is not None, name
            return member.read()

        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
        manifest = json.loads(blob(index["manifests"][0]["digest"]))
        unpacked = []
        for number, one in enumerate(manifest["layers"]):
            file = folder / f"base-{number}.tar"
            file.write_bytes(blob(one["digest"]))
            unpacked.append(oci.layer(file))
        return unpacked
