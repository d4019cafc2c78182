"""Which images a node has, and getting more of them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.errors import ImageError
from local.nodes import ctr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from local.nodes import Node
    from local.oci import Image


def load_missing(parts: Mapping[str, Path], node: Node, needed: Sequence[Image]) -> None:
    """Load the images that the node does not have with exactly this content, in the given order.

    Raises:
        ImageError: containerd does not list or does not take them.
    """
    there = _present(parts, node)
    for image in needed:
        if there.get(image.reference) != image.digest:
            load(parts, node, image.archive)


def load(parts: Mapping[str, Path], node: Node, archive: Path) -> None:
    """Load the images of an archive.

    Raises:
        ImageError: containerd does not take it.
    """
    done = ctr(parts, node, "images", "import", str(archive))
    if done.returncode:
        raise ImageError(f"{archive} could not be imported on {node.name}: {done.stderr.strip()}")


def _present(parts: Mapping[str, Path], node: Node) -> dict[str, str]:
    """The node's images: digest by reference."""
    listed = ctr(parts, node, "images", "list")
    if listed.returncode:
        raise ImageError(f"containerd of {node.name} does not list its images: {listed.stderr.strip()}")
    rows = (line.split() for line in listed.stdout.splitlines()[1:])
    return {row[0]: row[2] for row in rows}
