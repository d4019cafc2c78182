"""What the default storage class answers to claims and to volumes that are left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from local import volumes

CLAIM: dict[str, Any] = {
    "metadata": {
        "namespace": "valkey",
        "name": "data-demo-0-0",
        "uid": "u-1",
        "annotations": {
            "volume.kubernetes.io/storage-provisioner": volumes.PROVISIONER,
            "volume.kubernetes.io/selected-node": "n2",
        },
    },
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local-folder",
        "resources": {"requests": {"storage": "1Gi"}},
    },
    "status": {"phase": "Pending"},
}


class FakeApi:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.listed: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []

    def create(self, collection: str, manifest: dict[str, Any]) -> None:
        self.sent.append(("create", collection, manifest))

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        self.sent.append(("merge", path, patch))

    def delete(self, path: str) -> None:
        self.sent.append(("delete", path, None))

    def get(self, _path: str) -> dict[str, Any]:
        return {"items": self.listed, "metadata": {"resourceVersion": "7"}}

    def watch(self, _path: str, version: str) -> list[dict[str, Any]]:
        assert version == "7"
        return self.events


@pytest.fixture
def api(monkeypatch, tmp_path):
    fake = FakeApi()
    monkeypatch.setattr(volumes, "kube", fake)
    nodes = [SimpleNamespace(name=f"n{number}", volumes=tmp_path / f"n{number}") for number in (1, 2, 3)]
    monkeypatch.setattr(volumes, "NODES", nodes)
    return fake


def claim(**changes: Any) -> dict[str, Any]:
    return {**CLAIM, **changes}


def test_a_claim_with_its_node_gets_a_folder_there_and_a_volume_bound_to_it(api, tmp_path):
    volumes.serve_claim(CLAIM)
    folder = tmp_path / "n2" / "pvc-u-1"
    assert folder.stat().st_mode & 0o777 == 0o777
    ((verb, collection, made),) = api.sent
    assert (verb, collection, made["metadata"]["name"]) == ("create", volumes.VOLUMES, "pvc-u-1")
    assert made["spec"]["hostPath"]["path"] == str(folder)
    assert made["spec"]["claimRef"]["uid"] == "u-1"
    assert made["spec"]["capacity"] == {"storage": "1Gi"}
    (term,) = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["n2"]


@pytest.mark.parametrize(
    "given",
    [
        claim(metadata={**CLAIM["metadata"], "annotations": {}}),
        claim(
            metadata={
                **CLAIM["metadata"],
                "annotations": {**CLAIM["metadata"]["annotations"], volumes._WANTS: "somebody/else"},
            }
        ),
        claim(spec={**CLAIM["spec"], "volumeName": "pvc-u-1"}),
        claim(metadata={**CLAIM["metadata"], "deletionTimestamp": "now"}),
    ],
    ids=["no node yet", "another's", "has a volume", "being deleted"],
)
def test_other_claims_are_left_alone(api, tmp_path, given):
    volumes.serve_claim(given)
    assert not api.sent
    assert not list(tmp_path.iterdir())


def bound(has: str) -> dict[str, Any]:
    return claim(
        spec={**CLAIM["spec"], "volumeName": "pvc-u-1"},
        status={"phase": "Bound", "capacity": {"storage": has}},
    )


def test_a_bound_claim_that_asks_for_more_grows_the_volume_before_it_is_told_so(api):
    volumes.serve_claim(bound("512Mi"))
    (_, first, _), (_, second, told) = api.sent
    assert first == f"{volumes.VOLUMES}/pvc-u-1"
    assert second.endswith("valkey/persistentvolumeclaims/data-demo-0-0/status")
    assert told["status"]["capacity"] == {"storage": "1Gi"}


def test_a_bound_claim_of_the_size_it_asks_for_is_left_alone(api):
    volumes.serve_claim(bound("1Gi"))
    assert not api.sent


def volume(folder: str, phase: str, by: str = volumes.PROVISIONER) -> dict[str, Any]:
    return {
        "metadata": {"name": "pvc-u-1", "annotations": {"pv.kubernetes.io/provisioned-by": by}},
        "spec": {"hostPath": {"path": folder}},
        "status": {"phase": phase},
    }


def test_only_a_released_volume_of_ours_goes_with_its_folder(api, tmp_path):
    folder = tmp_path / "pvc-u-1"
    folder.mkdir()
    volumes.serve_volume(volume(str(folder), "Bound"))
    volumes.serve_volume(volume(str(folder), "Released", by="somebody/else"))
    assert folder.exists()
    assert not api.sent
    volumes.serve_volume(volume(str(folder), "Released"))
    assert not folder.exists()
    assert api.sent == [("delete", f"{volumes.VOLUMES}/pvc-u-1", None)]


def test_what_is_there_and_what_changes_is_served_until_the_watch_is_too_old(api):
    api.listed = [{"name": "a"}]
    api.events = [
        {"type": "MODIFIED", "object": {"name": "b"}},
        {"type": "DELETED", "object": {"name": "c"}},
        {"type": "ERROR", "object": {"code": 410}},
        {"type": "ADDED", "object": {"name": "never"}},
    ]
    served: list[str] = []
    volumes.follow(volumes.CLAIMS, lambda item: served.append(item["name"]))
    assert served == ["a", "b"]
