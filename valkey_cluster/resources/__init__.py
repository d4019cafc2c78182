"""One kind of object per file: spec -> manifest, a plain dict in the API server's spelling.

A builder has no clock, no network and no order of its own: the same spec gives the same bytes. A
changed StatefulSet template restarts pods, so the golden files in tests/unit pin what is made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valkey_cluster import names

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """Which ValkeyCluster object the manifests belong to."""

    namespace: str
    name: str
    uid: str

    def metadata(self, name: str, labels: dict[str, str], annotations: dict[str, str]) -> Manifest:
        """Metadata of a child; the owner reference is the safety net for a lost stack."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        }
