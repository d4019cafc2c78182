"""One table of good and bad ValkeyUpgrades, judged as those of ValkeyCluster are (spec_cases).

Used by test_upgrade_spec.py (unit) and test_admission.py (end to end).
"""

from __future__ import annotations

from typing import Any

from tests.unit.spec_cases import Bad, Change, Good


def _with(**fields: Any) -> dict[str, Any]:
    return {"clusterRef": {"name": "orders"}, "version": "9.1.2", **fields}


GOOD = (
    Good("least", _with()),
    Good("oldest version", _with(version="8.0.0")),
    Good("a coming version", _with(version="10.0.12")),
    Good("cluster with a dotted name", _with(clusterRef={"name": "a.b"})),
    Good(
        "own image",
        _with(image={"tag": "9.1.2-alpine", "digest": "sha256:" + "0a" * 32}),
    ),
    Good("only a digest", _with(image={"digest": "sha256:" + "0" * 64})),
    Good("empty image", _with(image={})),
    Good("no canary", _with(canary={"shards": 0})),
    Good("most canaries", _with(canary={"shards": 100})),
    Good("no soak", _with(soakSeconds=0)),
    Good("a week's soak", _with(soakSeconds=604800)),
    Good("soak as a whole float", _with(soakSeconds=60.0)),
    Good("approval before the start", _with(approval="BeforeStart")),
    Good("approval after the canary", _with(approval="AfterCanary")),
    Good("approval before the start, no canary", _with(approval="BeforeStart", canary={"shards": 0})),
    Good("no approval, no canary", _with(approval="None", canary={"shards": 0})),
    Good(
        "strictest gates",
        _with(
            gates={"maxLagBytes": 0, "maxErrorReplies": 0, "maxEvictedKeys": 0, "maxLatencyPercent": 100},
        ),
    ),
    Good(
        "loosest gates",
        _with(
            gates={
                "maxLagBytes": 2**40,
                "maxErrorReplies": 10**9,
                "maxEvictedKeys": 10**9,
                "maxLatencyPercent": 100000,
            },
        ),
    ),
    Good("one gate", _with(gates={"maxLatencyPercent": 150})),
    Good("gates as whole floats", _with(gates={"maxLagBytes": 0.0, "maxEvictedKeys": 3.0})),
    Good("shortest time-out", _with(shardTimeoutSeconds=60)),
    Good("longest time-out", _with(shardTimeoutSeconds=86400)),
    Good("pause on failure", _with(onFailure="Pause")),
    Good(
        "nulls are absent",
        _with(image=None, canary=None, soakSeconds=None, approval=None, gates={"maxEvictedKeys": None}),
    ),
    Good("empty parts", _with(canary={}, gates={})),
    Good("longest name", _with(), name="a" * 63),
    Good("name of digits", _with(), name="2026-11-23"),
    Good("name of a cluster's Service", _with(), name="orders-read"),
)

BAD = (
    Bad("nothing", {}, ("spec.clusterRef: is required", "spec.version: is required")),
    Bad("a list", [], ("spec: ", "an object")),
    Bad("a text", "9.1.2", ("spec: ", "an object")),
    Bad(
        "unknown field",
        _with(target="9"),
        ("spec.target: there is no such field; `kubectl explain vku.spec`",),
    ),
    Bad(
        "unknown field inside",
        _with(image={"repository": "x"}),
        ("spec.image.repository: there is no such field; `kubectl explain vku.spec.image`",),
    ),
    Bad("snake case", _with(soak_seconds=3), ("spec.soak_seconds: there is no such field",)),
    Bad("no cluster", {"version": "9.1.2"}, ("spec.clusterRef: is required",)),
    Bad("cluster null", _with(clusterRef=None), ("spec.clusterRef: is required",)),
    Bad("cluster without name", _with(clusterRef={}), ("spec.clusterRef.name: is required",)),
    Bad("cluster's name null", _with(clusterRef={"name": None}), ("spec.clusterRef.name: is required",)),
    Bad("cluster as text", _with(clusterRef="orders"), ("spec.clusterRef: ", "an object")),
    Bad(
        "cluster's name a number",
        _with(clusterRef={"name": 5}),
        ("spec.clusterRef.name: 5 has the wrong type",),
    ),
    Bad(
        "cluster's name in capitals",
        _with(clusterRef={"name": "Orders"}),
        ("spec.clusterRef.name: 'Orders' is not a Kubernetes name",),
    ),
    Bad("cluster's name empty", _with(clusterRef={"name": ""}), ("spec.clusterRef.name",)),
    Bad(
        "cluster elsewhere",
        _with(clusterRef={"name": "orders", "namespace": "shop"}),
        ("spec.clusterRef.namespace: there is no such field",),
    ),
    Bad("no version", {"clusterRef": {"name": "orders"}}, ("spec.version: is required",)),
    Bad("version null", _with(version=None), ("spec.version: is required",)),
    Bad("version of two parts", _with(version="9.1"), ("spec.version: '9.1' is not a Valkey version",)),
    Bad("version number", _with(version=9), ("spec.version: 9 has the wrong type",)),
    Bad("version with suffix", _with(version="9.1.2-alpine"), ("spec.version",)),
    Bad("version with newline", _with(version="9.1.2\n"), ("spec.version",)),
    Bad("version too old", _with(version="7.2.5"), ("spec.version: is too old; use 8.0.0 or newer",)),
    Bad("latest", _with(image={"tag": "latest"}), ("spec.image.tag: latest is another version",)),
    Bad("empty tag", _with(image={"tag": ""}), ("spec.image.tag",)),
    Bad("short digest", _with(image={"digest": "sha256:abc"}), ("spec.image.digest",)),
    Bad("image as text", _with(image="valkey:9"), ("spec.image: ", "an object")),
    Bad(
        "negative canary",
        _with(canary={"shards": -1}),
        ("spec.canary.shards: -1 is too small; use 0 or more",),
    ),
    Bad("too many canaries", _with(canary={"shards": 101}), ("spec.canary.shards: 101 is too large",)),
    Bad("canary as number", _with(canary=1), ("spec.canary: ", "an object")),
    Bad("canary as fraction", _with(canary={"shards": 0.5}), ("spec.canary.shards: 0.5 has the wrong type",)),
    Bad("canary as truth", _with(canary={"shards": True}), ("spec.canary.shards: True has the wrong type",)),
    Bad("negative soak", _with(soakSeconds=-1), ("spec.soakSeconds: -1 is too small; use 0 or more",)),
    Bad("long soak", _with(soakSeconds=604801), ("spec.soakSeconds: 604801 is too large; use 604800",)),
    Bad("soak as text", _with(soakSeconds="30s"), ("spec.soakSeconds: '30s' has the wrong type",)),
    Bad("soak as fraction", _with(soakSeconds=0.5), ("spec.soakSeconds: 0.5 has the wrong type",)),
    Bad(
        "approval", _with(approval="Always"), ("spec.approval: 'Always' is not one of the choices", "'None'")
    ),
    Bad("approval as truth", _with(approval=True), ("spec.approval",)),
    Bad(
        "approval after no canary",
        _with(approval="AfterCanary", canary={"shards": 0}),
        ("spec.approval: there is no canary to wait after; set canary.shards to 1 or more",),
    ),
    Bad("negative lag", _with(gates={"maxLagBytes": -1}), ("spec.gates.maxLagBytes: -1 is too small",)),
    Bad("lag with unit", _with(gates={"maxLagBytes": "1Mi"}), ("spec.gates.maxLagBytes: '1Mi' has",)),
    Bad("lag beyond all", _with(gates={"maxLagBytes": 2**40 + 1}), ("spec.gates.maxLagBytes",)),
    Bad("lag a huge number", _with(gates={"maxLagBytes": 10**30}), ("spec.gates.maxLagBytes",)),
    Bad("negative errors", _with(gates={"maxErrorReplies": -1}), ("spec.gates.maxErrorReplies: -1 is",)),
    Bad("errors beyond all", _with(gates={"maxErrorReplies": 10**9 + 1}), ("spec.gates.maxErrorReplies",)),
    Bad("negative evictions", _with(gates={"maxEvictedKeys": -1}), ("spec.gates.maxEvictedKeys: -1 is",)),
    Bad(
        "faster than before", _with(gates={"maxLatencyPercent": 99}), ("maxLatencyPercent: 99 is too small",)
    ),
    Bad("latency beyond all", _with(gates={"maxLatencyPercent": 100001}), ("maxLatencyPercent",)),
    Bad("latency in words", _with(gates={"maxLatencyPercent": "300%"}), ("maxLatencyPercent: '300%' has",)),
    Bad("unknown gate", _with(gates={"maxMemory": 1}), ("spec.gates.maxMemory: there is no such field",)),
    Bad("gates as list", _with(gates=[]), ("spec.gates: ", "an object")),
    Bad("short time-out", _with(shardTimeoutSeconds=59), ("spec.shardTimeoutSeconds: 59 is too small",)),
    Bad("long time-out", _with(shardTimeoutSeconds=86401), ("spec.shardTimeoutSeconds: 86401 is",)),
    Bad("no time-out", _with(shardTimeoutSeconds=0), ("spec.shardTimeoutSeconds: 0 is too small",)),
    Bad("on failure", _with(onFailure="Abort"), ("spec.onFailure: 'Abort' is not one of", "'Rollback'")),
    Bad("long name", _with(), ("metadata.name: ", "at most 63"), name="a" * 64),
    Bad("name with a dot", _with(), ("metadata.name: ",), name="to-9.1.2"),
)

MANY_PROBLEMS = Bad(
    "many at once",
    {
        "clusterRef": {"name": "The Orders", "kind": "ValkeyCluster"},
        "version": "7.0.0",
        "image": {"tag": "latest", "digest": 5},
        "canary": {"shards": 0},
        "approval": "AfterCanary",
        "soakSeconds": "soon",
        "gates": {"maxLagBytes": -1, "maxLatencyPercent": 50},
        "onFailure": "Cry",
        "unknown": [],
    },
    (
        "metadata.name: ",
        "spec.clusterRef.name: 'The Orders' is not",
        "spec.clusterRef.kind: there is no such field",
        "spec.version: is too old",
        "spec.image.tag: latest is",
        "spec.image.digest: 5 has the wrong type",
        "spec.approval: there is no canary",
        "spec.soakSeconds: 'soon' has the wrong type",
        "spec.gates.maxLagBytes: -1 is too small",
        "spec.gates.maxLatencyPercent: 50 is too small",
        "spec.onFailure: 'Cry' is not",
        "spec.unknown: there is no such field",
    ),
    name="Many",
)
"""Each problem must be in one message, whatever else is wrong beside it."""

CHANGES = (
    Change("nothing", _with(), _with()),
    Change("the same image", _with(image={"tag": "x"}), _with(image={"tag": "x", "digest": None})),
    Change(
        "what only says how",
        _with(),
        _with(
            canary={"shards": 0},
            soakSeconds=0,
            approval="BeforeStart",
            gates={"maxEvictedKeys": 5},
            shardTimeoutSeconds=60,
            onFailure="Pause",
        ),
    ),
    Change("another cluster", _with(), _with(clusterRef={"name": "other"}), ("clusterRef: ",)),
    Change("another version", _with(), _with(version="9.1.3"), ("version: ",)),
    Change("image set", _with(), _with(image={"tag": "9.1.2-alpine"}), ("image: ",)),
    Change("image unset", _with(image={"tag": "9.1.2-alpine"}), _with(), ("image: ",)),
    Change("another tag", _with(image={"tag": "a"}), _with(image={"tag": "b"}), ("image: ",)),
    Change(
        "digest added",
        _with(image={"tag": "a"}),
        _with(image={"tag": "a", "digest": "sha256:" + "0" * 64}),
        ("image: ",),
    ),
    Change(
        "all at once",
        _with(),
        _with(clusterRef={"name": "other"}, version="9.1.3", image={}),
        ("clusterRef: ", "version: ", "image: "),
    ),
)
