"""The default storage class: a folder per claim, made, grown and removed by one process for all nodes.

All nodes' disks are folders of this one machine, so nothing has to run on a node: local-path-provisioner
makes a pod per claim, took 12 to 20 s for six claims, and cannot grow one. Sizes are promises here, as on any
hostPath volume: a folder has no limit of its own.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from local import kube
from local.errors import LocalError
from local.nodes import NODES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROVISIONER = "valkeeper.io/local-folder"
STORAGE_CLASS = "local-folder"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
_WANTS = "volume.kubernetes.io/storage-provisioner"
_MADE_BY = "pv.kubernetes.io/provisioned-by"
CLAIMS = "api/v1/persistentvolumeclaims"
VOLUMES = "api/v1/persistentvolumes"
_PAUSE_S = 1.0
"""Before a watch that broke (the API restarts) is opened again."""


def volume_for(claim: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The volume that a claim gets: a folder of the node that the scheduler chose."""
    metadata, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": _name(claim), "annotations": {_MADE_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec["storageClassName"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "hostPath": {"path": str(folder), "type": "Directory"},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/hostname",
                                    "operator": "In",
                                    "values": [metadata["annotations"][SELECTED_NODE]],
                                }
                            ]
                        }
                    ]
                }
            },
        },
    }


def is_waiting(claim: dict[str, Any]) -> bool:
    """Whether the claim is ours, has its node, and no volume yet."""
    annotations: dict[str, str] = claim["metadata"].get("annotations", {})
    return (
        annotations.get(_WANTS) == PROVISIONER
        and SELECTED_NODE in annotations
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
    )


def wants_to_grow(claim: dict[str, Any]) -> bool:
    """Whether a bound claim of ours asks for another size than it has."""
    annotations: dict[str, str] = claim["metadata"].get("annotations", {})
    status = claim.get("status", {})
    has = status.get("capacity", {}).get("storage")
    asks = claim["spec"]["resources"]["requests"]["storage"]
    return annotations.get(_WANTS) == PROVISIONER and status.get("phase") == "Bound" and bool(has != asks)


def is_left(volume: dict[str, Any]) -> bool:
    """Whether the volume is ours and its claim is gone."""
    return (
        volume["metadata"].get("annotations", {}).get(_MADE_BY) == PROVISIONER
        and volume.get("status", {}).get("phase") == "Released"
        and "deletionTimestamp" not in volume["metadata"]
    )


def serve_claim(claim: dict[str, Any]) -> None:
    """Make the claim's volume, or grow it; does nothing when there is nothing to do."""
    if is_waiting(claim):
        folders = {node.name: node.volumes for node in NODES}
        folder = folders[claim["metadata"]["annotations"][SELECTED_NODE]] / _name(claim)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        kube.create(VOLUMES, volume_for(claim, folder))
    elif wants_to_grow(claim):
        size = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        metadata = claim["metadata"]
        kube.merge(f"{VOLUMES}/{claim['spec']['volumeName']}", {"spec": {"capacity": size}})
        kube.merge(
            f"api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims/{metadata['name']}/status",
            {"status": {"capacity": size, "conditions": None, "allocatedResourceStatuses": None}},
        )


def serve_volume(volume: dict[str, Any]) -> None:
    """Remove the folder of a volume whose claim is gone, then the volume."""
    if is_left(volume):
        shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)
        kube.delete(f"{VOLUMES}/{volume['metadata']['name']}")


def follow(collection: str, serve: Callable[[dict[str, Any]], None]) -> None:
    """Serve each object that is there, and each that changes, until the watch breaks."""
    listed = kube.get(collection) or {"items": [], "metadata": {"resourceVersion": "0"}}
    for item in listed["items"]:
        serve(item)
    for event in kube.watch(collection, listed["metadata"]["resourceVersion"]):
        if event["type"] in {"ADDED", "MODIFIED"}:
            serve(event["object"])
        elif event["type"] == "ERROR":
            return


def _for_ever(collection: str, serve: Callable[[dict[str, Any]], None]) -> None:
    while True:
        try:
            follow(collection, serve)
        except LocalError as broken:
            sys.stderr.write(f"{broken}\n")
            sys.stderr.flush()
        time.sleep(_PAUSE_S)


def _name(claim: dict[str, Any]) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def main() -> None:
    """Serve claims and volumes until killed."""
    threading.Thread(target=_for_ever, args=(VOLUMES, serve_volume), daemon=True).start()
    _for_ever(CLAIMS, serve_claim)


if __name__ == "__main__":
    main()
