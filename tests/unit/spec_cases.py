"""One table of good and bad ValkeyClusters, judged three ways: pydantic, the API server, kubectl.

Used by test_spec.py (unit) and test_admission.py (end to end).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Spec = Any
"""What stands under `spec`: usually a dict, in bad cases anything."""


@dataclass(frozen=True)
class Good:
    """A spec that everybody takes."""

    id: str
    spec: Spec
    name: str = "demo"


@dataclass(frozen=True)
class Bad:
    """A spec that everybody refuses."""

    id: str
    spec: Spec
    says: tuple[str, ...]
    """Parts of parse()'s message: the field, and what is wrong."""
    name: str = "demo"


def _with(**fields: Any) -> dict[str, Any]:
    return {"shards": 3, **fields}


GOOD = (
    Good("least", {"shards": 1}),
    Good("usual", {"version": "9.1.2", "shards": 3, "replicasPerShard": 1, "persistence": {"size": "10Gi"}}),
    Good("most pods", {"shards": 100, "replicasPerShard": 4}),
    Good("no replicas", _with(replicasPerShard=0)),
    Good("oldest version", _with(version="8.0.0")),
    Good("a coming version", _with(version="10.0.12")),
    Good(
        "own image",
        _with(
            image={
                "repository": "registry.example.com:5000/team/valkey",
                "tag": "9.1.2-alpine",
                "digest": "sha256:" + "0a" * 32,
                "pullPolicy": "Always",
                "pullSecrets": ["registry", "other.registry"],
            }
        ),
    ),
    Good("image without registry", _with(image={"repository": "valkey"})),
    Good(
        "all resources",
        _with(
            resources={
                "requests": {"cpu": "250m", "memory": "512Mi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            }
        ),
    ),
    Good("whole numbers as quantities", _with(resources={"limits": {"cpu": 2, "memory": 1073741824}})),
    Good("fractions as quantities", _with(resources={"requests": {"cpu": "0.5", "memory": "1.5Gi"}})),
    Good(
        "request equal to limit, spelled differently",
        _with(
            resources={
                "requests": {"cpu": "1000m", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "1024Mi"},
            }
        ),
    ),
    Good("only a memory request", _with(resources={"requests": {"memory": "2Gi"}})),
    Good("only a small CPU limit", _with(resources={"limits": {"cpu": "50m"}})),
    Good("restart on resize", _with(resizePolicy={"cpu": "NotRequired", "memory": "RestartContainer"})),
    Good("cache", _with(persistence={"enabled": False}, maxmemory={"percent": 80, "policy": "allkeys-lfu"})),
    Good(
        "cache without rdb and aof",
        _with(persistence={"enabled": False, "rdb": {"enabled": False}, "aof": {"enabled": False}}),
    ),
    Good("rdb only", _with(persistence={"aof": {"enabled": False}, "rdb": {"save": ["3600 1", "60 10000"]}})),
    Good("aof only", _with(persistence={"rdb": {"enabled": False}, "aof": {"fsync": "always"}})),
    Good(
        "class and policies",
        _with(
            persistence={
                "storageClassName": "fast.ssd",
                "size": "1.5Ti",
                "whenDeleted": "Delete",
                "whenScaled": "Retain",
            }
        ),
    ),
    Good(
        "directives",
        _with(
            config={
                "maxclients": "20000",
                "notify-keyspace-events": "Ex",
                "client-output-buffer-limit": "replica 512mb 128mb 60",
                "cluster-node-timeout": "5000",
                "cluster-require-full-coverage": "no",
                "cluster-allow-reads-when-down": "yes",
                "proc-title-template": "größe",
            }
        ),
    ),
    Good("shortest node timeout", _with(config={"cluster-node-timeout": "1000"})),
    Good("longest node timeout", _with(config={"cluster-node-timeout": "60000"})),
    Good("128 directives", _with(config={f"some-directive-{number}": '""' for number in range(128)})),
    Good(
        "scheduling",
        _with(
            scheduling={
                "nodes": "Required",
                "zones": "Disabled",
                "nodeSelector": {"example.com/pool": "data", "tier": ""},
                "tolerations": [
                    {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"},
                    {
                        "key": "node.kubernetes.io/unreachable",
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": 30,
                    },
                    {"key": "a", "value": "b"},
                ],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
                "priorityClassName": "high",
                "runtimeClassName": "gvisor",
            }
        ),
    ),
    Good("extras off and on", _with(podDisruptionBudget={"enabled": False}, readService={"enabled": False})),
    Good(
        "labels and annotations",
        _with(
            labels={"team": "a", "example.com/cost-centre": "12_3.4"},
            annotations={"example.com/note": "any text,\nalso over lines", "kubernetes.io/x": ""},
        ),
    ),
    Good("manual updates", _with(updatePolicy={"mode": "Manual"})),
    Good(
        "windows",
        _with(
            updatePolicy={
                "maintenanceWindows": [
                    {"schedule": "0 3 * * 0"},
                    {"schedule": "*/30 1-4 1,15 * *", "durationMinutes": 10, "timeZone": "Europe/Berlin"},
                ]
            }
        ),
    ),
    Good("grace", _with(terminationGracePeriodSeconds=3600)),
    Good(
        "what is not there yet, spelled out as off",
        _with(
            tls={"enabled": False},
            metrics={"enabled": False},
            networkPolicy={"enabled": False},
            updatePolicy={"mode": "Automatic"},
            hibernate={"enabled": False},
            users=[],
        ),
    ),
    Good(
        "what is not there yet, prepared but off",
        _with(
            tls={
                "enabled": False,
                "issuerRef": {"name": "ca"},
                "duration": "2160h",
                "clientCertificates": "Required",
            },
            metrics={"serviceMonitor": True, "image": "quay.io/x/exporter:1"},
            networkPolicy={"clients": [{"podSelector": {"matchLabels": {"app": "web"}}}]},
            updatePolicy={"maintenanceWindows": []},
        ),
    ),
    Good(
        "nulls are absent",
        _with(version=None, image=None, persistence={"size": None, "rdb": None}, backup=None),
    ),
    Good("a float that is whole", _with(terminationGracePeriodSeconds=60.0)),
    Good(
        "empty parts",
        _with(image={}, resources={"requests": {}, "limits": {}}, persistence={}, config={}, labels={}),
    ),
    Good("longest name", {"shards": 3}, name="a" + "b" * 39),
    Good("name with digits", {"shards": 3}, name="cache-7"),
    Good("name with read inside", {"shards": 3}, name="a-read-b"),
)

_SIZED = "from 64Mi to"
_NOT_SUPPORTED = "not supported yet"

BAD = (
    Bad("nothing", {}, ("spec.shards: is required",)),
    Bad("a list", [], ("spec: ", "an object")),
    Bad("a text", "three shards", ("spec: ", "an object")),
    Bad("unknown field", _with(replicas=1), ("spec.replicas: there is no such field",)),
    Bad("unknown field inside", _with(image={"name": "x"}), ("spec.image.name: there is no such field",)),
    Bad("snake case", _with(replicas_per_shard=2), ("spec.replicas_per_shard: there is no such field",)),
    Bad("unknown field in a default part", _with(persistence={"given_size": "1Gi"}), ("given_size",)),
    Bad("no shards", {"shards": 0}, ("spec.shards: 0 is too small",)),
    Bad("negative shards", {"shards": -3}, ("spec.shards: -3 is too small",)),
    Bad("too many shards", {"shards": 101}, ("spec.shards: 101 is too large",)),
    Bad("huge shards", {"shards": 10**30}, ("spec.shards",)),
    Bad("shards as text", {"shards": "3"}, ("spec.shards: '3' has the wrong type",)),
    Bad("shards as fraction", {"shards": 2.5}, ("spec.shards: 2.5 has the wrong type",)),
    Bad("shards as truth", {"shards": True}, ("spec.shards: True has the wrong type",)),
    Bad("shards null", {"shards": None}, ("spec.shards: is required",)),
    Bad("shards a list", {"shards": [3]}, ("spec.shards",)),
    Bad("too many replicas", _with(replicasPerShard=6), ("spec.replicasPerShard: 6 is too large",)),
    Bad("too many pods", {"shards": 100, "replicasPerShard": 5}, ("spec.shards: ", "more than 500 pods")),
    Bad("version of two parts", _with(version="9.1"), ("spec.version: '9.1' is not a Valkey version",)),
    Bad("version with v", _with(version="v9.1.2"), ("spec.version",)),
    Bad("version number", _with(version=9), ("spec.version: 9 has the wrong type",)),
    Bad("version with suffix", _with(version="9.1.2-alpine"), ("spec.version",)),
    Bad("version with newline", _with(version="9.1.2\n"), ("spec.version",)),
    Bad("version with other digits", _with(version="٩.١.٢"), ("spec.version",)),
    Bad("version with leading zero", _with(version="09.1.2"), ("spec.version",)),
    Bad("version too old", _with(version="7.2.5"), ("spec.version: is too old",)),
    Bad("latest", _with(image={"tag": "latest"}), ("spec.image.tag: latest is another version",)),
    Bad("empty tag", _with(image={"tag": ""}), ("spec.image.tag",)),
    Bad("tag in repository", _with(image={"repository": "valkey/valkey:9"}), ("spec.image.repository",)),
    Bad("repository in capitals", _with(image={"repository": "Valkey/Valkey"}), ("spec.image.repository",)),
    Bad("short digest", _with(image={"digest": "sha256:abc"}), ("spec.image.digest",)),
    Bad("pull policy", _with(image={"pullPolicy": "Sometimes"}), ("spec.image.pullPolicy", "'Always'")),
    Bad(
        "pull secrets as objects",
        _with(image={"pullSecrets": [{"name": "x"}]}),
        ("spec.image.pullSecrets[0]",),
    ),
    Bad("pull secret twice", _with(image={"pullSecrets": ["x", "x"]}), ("spec.image.pullSecrets", "twice")),
    Bad("pull secret null", _with(image={"pullSecrets": [None]}), ("spec.image.pullSecrets[0]",)),
    Bad("image as text", _with(image="valkey:9"), ("spec.image",)),
    Bad(
        "memory request over limit",
        _with(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}),
        ("spec.resources.requests.memory: is more than limits.memory",),
    ),
    Bad(
        "cpu request over limit",
        _with(resources={"requests": {"cpu": "1.001"}, "limits": {"cpu": "1000m"}}),
        ("spec.resources.requests.cpu: is more than limits.cpu",),
    ),
    Bad("little memory", _with(resources={"limits": {"memory": "63Mi"}}), ("limits.memory", _SIZED)),
    Bad(
        "memory just too little",
        _with(resources={"requests": {"memory": 67108863}}),
        ("requests.memory", _SIZED),
    ),
    Bad("memory without unit", _with(resources={"limits": {"memory": "512"}}), ("limits.memory", _SIZED)),
    Bad(
        "memory with wrong unit",
        _with(resources={"limits": {"memory": "512MB"}}),
        ("limits.memory: '512MB'",),
    ),
    Bad("negative memory", _with(resources={"limits": {"memory": -1}}), ("limits.memory",)),
    Bad("memory with a space", _with(resources={"limits": {"memory": "1 Gi"}}), ("limits.memory",)),
    Bad("memory as exponent", _with(resources={"limits": {"memory": "1e9"}}), ("limits.memory",)),
    Bad(
        "memory beyond all",
        _with(resources={"limits": {"memory": "99999999999Ti"}}),
        ("limits.memory", _SIZED),
    ),
    Bad("memory a huge number", _with(resources={"limits": {"memory": 10**30}}), ("limits.memory",)),
    Bad("memory true", _with(resources={"limits": {"memory": True}}), ("limits.memory",)),
    Bad("empty memory", _with(resources={"limits": {"memory": ""}}), ("limits.memory",)),
    Bad("cpu fraction unquoted", _with(resources={"limits": {"cpu": 0.5}}), ("limits.cpu", "'0.5'")),
    Bad("no cpu", _with(resources={"requests": {"cpu": 0}}), ("requests.cpu", "from 10m to 512")),
    Bad("cpu finer than a thousandth", _with(resources={"requests": {"cpu": "100.5m"}}), ("requests.cpu",)),
    Bad("ephemeral storage", _with(resources={"limits": {"ephemeral-storage": "1Gi"}}), ("no such field",)),
    Bad("resize policy", _with(resizePolicy={"cpu": "PreferNoRestart"}), ("spec.resizePolicy.cpu",)),
    Bad(
        "nothing to write to the volume",
        _with(persistence={"rdb": {"enabled": False}, "aof": {"enabled": False}}),
        ("spec.persistence: nothing would be written",),
    ),
    Bad("small volume", _with(persistence={"size": "1Mi"}), ("spec.persistence.size: must be", _SIZED)),
    Bad(
        "volume as word", _with(persistence={"size": "big"}), ("spec.persistence.size: 'big' is not a size",)
    ),
    Bad("no save points", _with(persistence={"rdb": {"save": []}}), ("spec.persistence.rdb.save",)),
    Bad(
        "save as one text",
        _with(persistence={"rdb": {"save": "3600 1"}}),
        ("spec.persistence.rdb.save", "a list"),
    ),
    Bad(
        "save of one number",
        _with(persistence={"rdb": {"save": ["3600"]}}),
        ("spec.persistence.rdb.save[0]",),
    ),
    Bad("fsync yes", _with(persistence={"aof": {"fsync": "yes"}}), ("spec.persistence.aof.fsync",)),
    Bad("fsync unquoted no", _with(persistence={"aof": {"fsync": False}}), ("spec.persistence.aof.fsync",)),
    Bad(
        "enabled as text",
        _with(persistence={"enabled": "true"}),
        ("spec.persistence.enabled", "true or false"),
    ),
    Bad(
        "enabled as number", _with(persistence={"enabled": 1}), ("spec.persistence.enabled", "true or false")
    ),
    Bad(
        "whenDeleted",
        _with(persistence={"whenDeleted": "Keep"}),
        ("spec.persistence.whenDeleted", "'Retain'"),
    ),
    Bad("storage class", _with(persistence={"storageClassName": "Fast SSD"}), ("storageClassName",)),
    Bad(
        "directive maxmemory",
        _with(config={"maxmemory": "1gb"}),
        ("spec.config.maxmemory: ", "use spec.maxmemory"),
    ),
    Bad(
        "directive save",
        _with(config={"save": ""}),
        (
            "spec.config.save: save cannot be set",
            "not empty",
            "use spec.persistence.rdb",
        ),
    ),
    Bad("directive appendonly", _with(config={"appendonly": "no"}), ("use spec.persistence.aof",)),
    Bad("directive requirepass", _with(config={"requirepass": "x"}), ("use spec.users",)),
    Bad("directive port", _with(config={"port": "1"}), ("addresses and ports",)),
    Bad("directive dir", _with(config={"dir": "/tmp"}), ("where files lie",)),
    Bad("directive include", _with(config={"include": "/x"}), ("loads nothing from elsewhere",)),
    Bad("directive rename-command", _with(config={"rename-command": "GET X"}), ("rename-command",)),
    Bad("directive daemonize", _with(config={"daemonize": "yes"}), ("container decides",)),
    Bad("directive replicaof", _with(config={"replicaof": "a 1"}), ("use spec.replicasPerShard",)),
    Bad("directive tls-port", _with(config={"tls-port": "6380"}), ("use spec.tls",)),
    Bad("directive cluster-enabled", _with(config={"cluster-enabled": "no"}), ("cluster-node-timeout",)),
    Bad("directive in capitals", _with(config={"MAXMEMORY": "1gb"}), ("lower case",)),
    Bad("directive of two words", _with(config={"save 60": "1"}), ("lower case",)),
    Bad("directive without name", _with(config={"": "1"}), ("lower case",)),
    Bad("directive with a long name", _with(config={"a" * 65: "1"}), ("lower case",)),
    Bad("directive with a newline in its name", _with(config={"a\nport": "1"}), ("lower case",)),
    Bad(
        "directive over two lines",
        _with(config={"maxclients": "1\nport 1"}),
        ("spec.config.maxclients", "on one line"),
    ),
    Bad(
        "directive with a nul",
        _with(config={"maxclients": "1\x00"}),
        ("spec.config.maxclients", "on one line"),
    ),
    Bad("directive as number", _with(config={"maxclients": 10}), ("spec.config.maxclients", "in quotes")),
    Bad(
        "directive without arguments",
        _with(config={"maxclients": ""}),
        ("spec.config.maxclients", "not empty"),
    ),
    Bad("directive too long", _with(config={"x": "y" * 1025}), ("spec.config.x", "1024")),
    Bad("too many directives", _with(config={f"a-{n}": "1" for n in range(129)}), ("spec.config: ", "128")),
    Bad("node timeout too short", _with(config={"cluster-node-timeout": "999"}), ("1000 to 60000",)),
    Bad("node timeout too long", _with(config={"cluster-node-timeout": "60001"}), ("1000 to 60000",)),
    Bad("node timeout as words", _with(config={"cluster-node-timeout": "5s"}), ("1000 to 60000",)),
    Bad("maxmemory in bytes", _with(maxmemory="1gb"), ("spec.maxmemory",)),
    Bad("little maxmemory", _with(maxmemory={"percent": 9}), ("spec.maxmemory.percent: 9 is too small",)),
    Bad("much maxmemory", _with(maxmemory={"percent": 96}), ("spec.maxmemory.percent: 96 is too large",)),
    Bad("maxmemory policy", _with(maxmemory={"policy": "lru"}), ("spec.maxmemory.policy", "'allkeys-lru'")),
    Bad(
        "spread over nodes",
        _with(scheduling={"nodes": "preferred"}),
        ("spec.scheduling.nodes", "'Preferred'"),
    ),
    Bad(
        "node selector key",
        _with(scheduling={"nodeSelector": {"a b": "c"}}),
        ("nodeSelector['a b']: a key is",),
    ),
    Bad("node selector value", _with(scheduling={"nodeSelector": {"a": "c d"}}), ("nodeSelector.a",)),
    Bad(
        "toleration",
        _with(scheduling={"tolerations": [{"taint": "x"}]}),
        ("tolerations[0].taint: there is no",),
    ),
    Bad(
        "toleration operator",
        _with(scheduling={"tolerations": [{"operator": "In"}]}),
        ("tolerations[0].operator",),
    ),
    Bad(
        "anti-affinity as text",
        _with(scheduling={"affinity": {"podAntiAffinity": "x"}}),
        ("spec.scheduling.affinity.podAntiAffinity", "an object"),
    ),
    Bad(
        "anti-affinity term as text",
        _with(
            scheduling={
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": ["x"]}}
            }
        ),
        ("spec.scheduling.affinity.podAntiAffinity", "an object"),
    ),
    Bad(
        "unknown affinity",
        _with(scheduling={"affinity": {"podsAffinity": {}}}),
        ("spec.scheduling.affinity.podsAffinity",),
    ),
    Bad("affinity as list", _with(scheduling={"affinity": []}), ("spec.scheduling.affinity", "an object")),
    Bad("label of ours", _with(labels={"valkeeper.io/cluster": "x"}), ("spec.labels['", "keys under")),
    Bad(
        "label of the app set", _with(labels={"app.kubernetes.io/name": "x"}), ("spec.labels['", "keys under")
    ),
    Bad(
        "annotation of Pulumi",
        _with(annotations={"pulumi.com/skipAwait": "true"}),
        ("spec.annotations['pulumi.com/skipAwait']: keys under",),
    ),
    Bad("label value too long", _with(labels={"a": "b" * 64}), ("spec.labels.a",)),
    Bad("label value number", _with(labels={"a": 1}), ("spec.labels.a", "in quotes")),
    Bad("label key too long", _with(labels={"a" * 64: "b"}), ("spec.labels", ": a key is")),
    Bad("label key with two slashes", _with(labels={"a/b/c": "d"}), ("spec.labels", ": a key is")),
    Bad("too many labels", _with(labels={f"a{n}": "" for n in range(33)}), ("spec.labels: ", "32")),
    Bad("short grace", _with(terminationGracePeriodSeconds=29), ("spec.terminationGracePeriodSeconds",)),
    Bad("long grace", _with(terminationGracePeriodSeconds=3601), ("spec.terminationGracePeriodSeconds",)),
    Bad("budget as truth", _with(podDisruptionBudget=True), ("spec.podDisruptionBudget", "an object")),
    Bad(
        "tls",
        _with(tls={"enabled": True, "issuerRef": {"name": "ca"}}),
        ("spec.tls.enabled: ", _NOT_SUPPORTED),
    ),
    Bad("tls issuer without name", _with(tls={"issuerRef": {}}), ("spec.tls.issuerRef.name: is required",)),
    Bad("users", _with(users=[{"name": "app"}]), ("spec.users: ", _NOT_SUPPORTED)),
    Bad("user twice", _with(users=[{"name": "a"}, {"name": "a"}]), ("spec.users: ", "twice")),
    Bad("user without name", _with(users=[{"keys": ["~*"]}]), ("spec.users[0].name: is required",)),
    Bad("metrics", _with(metrics={"enabled": True}), ("spec.metrics.enabled: ", _NOT_SUPPORTED)),
    Bad(
        "network policy",
        _with(networkPolicy={"enabled": True}),
        ("spec.networkPolicy.enabled: ", _NOT_SUPPORTED),
    ),
    Bad(
        "read service",
        _with(readService={"enabled": True}),
        ("spec.readService.enabled: ", _NOT_SUPPORTED),
    ),
    Bad(
        "window schedule",
        _with(updatePolicy={"maintenanceWindows": [{"schedule": "daily"}]}),
        ("maintenanceWindows[0].schedule: 'daily' is not a cron schedule",),
    ),
    Bad("hibernate", _with(hibernate={"enabled": True}), ("spec.hibernate.enabled: ", _NOT_SUPPORTED)),
    Bad(
        "hibernate at night",
        _with(hibernate={"schedule": "0 20 * * *", "wakeSchedule": "0 6 * * *"}),
        ("spec.hibernate.schedule: ", "spec.hibernate.wakeSchedule: ", _NOT_SUPPORTED),
    ),
    Bad(
        "backup",
        _with(backup={"schedule": "0 3 * * *", "s3": {"bucket": "backups"}}),
        ("spec.backup: ", _NOT_SUPPORTED),
    ),
    Bad(
        "backup without schedule",
        _with(backup={"claim": {"name": "x"}}),
        ("spec.backup.schedule: is required",),
    ),
    Bad(
        "pod template",
        _with(podTemplate={"spec": {"hostNetwork": True}}),
        ("spec.podTemplate: ", _NOT_SUPPORTED),
    ),
    Bad("empty pod template", _with(podTemplate={}), ("spec.podTemplate: ", _NOT_SUPPORTED)),
    Bad("long name", {"shards": 3}, ("metadata.name: ", "longer than 40"), name="a" * 41),
    Bad("name with a dot", {"shards": 3}, ("metadata.name: ",), name="a.b"),
    Bad("name starting with a digit", {"shards": 3}, ("metadata.name: ", "start with a letter"), name="1a"),
    Bad("name of a headless service", {"shards": 3}, ("metadata.name: ", "collides"), name="a-headless"),
    Bad("name of a read service", {"shards": 3}, ("metadata.name: ", "collides"), name="a-read"),
    Bad("name of a config map", {"shards": 3}, ("metadata.name: ", "collides"), name="a-config"),
    Bad("name of a service account", {"shards": 3}, ("metadata.name: ", "collides"), name="a-valkey"),
)

MANY_PROBLEMS = Bad(
    "many at once",
    {
        "version": "7.0.0",
        "shards": "three",
        "unknown": 1,
        "persistence": {"rdb": {"enabled": False}, "aof": {"enabled": False}, "size": "1Mi"},
        "config": {"port": "1", "save": "", "maxclients": 5},
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1", "memory": "lots"}},
        "tls": {"enabled": True},
        "users": [{"name": "a", "colour": []}],
    },
    (
        "metadata.name: ",
        "spec.version: is too old",
        "spec.shards: 'three' has the wrong type",
        "spec.unknown: there is no such field",
        "spec.persistence: nothing would be written",
        "spec.persistence.size: must be from",
        "spec.config.save: '' is not",
        "spec.config.save: save cannot be set",
        "spec.config.port: ",
        "spec.config.maxclients: 5 has the wrong type",
        "spec.resources.requests.cpu: is more than",
        "spec.resources.limits.memory: 'lots' is not",
        "spec.tls.enabled: TLS is not supported yet",
        "spec.users[0].colour: there is no such field",
    ),
    name="Many",
)
"""Each problem must be in one message, whatever else is wrong beside it."""


@dataclass(frozen=True)
class Change:
    """An update of a stored cluster and what it may not change."""

    id: str
    old: Spec
    new: Spec
    says: tuple[str, ...] = ()
    """Fields that immutable_changes() must name; empty: the update is taken."""


CHANGES = (
    Change("nothing", _with(), _with()),
    Change("bigger volume", _with(persistence={"size": "1Gi"}), _with(persistence={"size": "1025Mi"})),
    Change(
        "same volume, spelled differently",
        _with(persistence={"size": "1Gi"}),
        _with(persistence={"size": "1024Mi"}),
    ),
    Change(
        "smaller volume",
        _with(persistence={"size": "2Gi"}),
        _with(persistence={"size": "2047Mi"}),
        ("persistence.size: ",),
    ),
    Change("volume left out again", _with(persistence={"size": "2Gi"}), _with(), ("persistence.size: ",)),
    Change("persistence off", _with(), _with(persistence={"enabled": False}), ("persistence.enabled: ",)),
    Change("persistence on", _with(persistence={"enabled": False}), _with(), ("persistence.enabled: ",)),
    Change(
        "class set",
        _with(),
        _with(persistence={"storageClassName": "a"}),
        ("persistence.storageClassName: ",),
    ),
    Change(
        "class unset",
        _with(persistence={"storageClassName": "a"}),
        _with(),
        ("persistence.storageClassName: ",),
    ),
    Change(
        "class changed",
        _with(persistence={"storageClassName": "a"}),
        _with(persistence={"storageClassName": "b"}),
        ("persistence.storageClassName: ",),
    ),
    Change(
        "class kept",
        _with(persistence={"storageClassName": "a"}),
        _with(persistence={"storageClassName": "a", "aof": {"fsync": "always"}}),
    ),
    Change("upgrade", _with(version="8.1.4"), _with(version="9.1.2")),
    Change("downgrade within 9", _with(version="9.1.2"), _with(version="9.0.1")),
    Change("downgrade within 8", _with(version="8.1.4"), _with(version="8.0.1")),
    Change(
        "downgrade across the data format", _with(version="9.1.2"), _with(version="8.1.4"), ("version: ",)
    ),
    Change(
        "downgrade of a cache",
        _with(version="9.1.2", persistence={"enabled": False}),
        _with(version="8.1.4", persistence={"enabled": False}),
    ),
    Change(
        "several",
        _with(persistence={"size": "2Gi"}),
        _with(version="8.1.4", persistence={"size": "1Gi", "enabled": False}),
        ("version: ", "persistence.size: ", "persistence.enabled: "),
    ),
)
