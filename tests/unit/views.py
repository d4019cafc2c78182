"""Views for table tests: a cluster that is whole, and ways to spoil it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daemon.decide import decide
from daemon.status import derive
from daemon.steps import Steady, Step
from daemon.topology import Applied, NodeId, Peer, PodName, PodView, Server, View
from valkey_cluster import names, slots
from valkey_cluster.names import Phase
from valkey_cluster.resources import Identity
from valkey_cluster.spec import ValkeyClusterSpec, parse
from valkey_cluster.stage import render
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from valkey_cluster.slots import Ranges

NOW = 1_800_000_000.0
DEMO = Identity("prod", "demo", "uid-demo")


def spec_of(**fields: Any) -> ValkeyClusterSpec:
    """A valid spec of 3 shards, fields in the CR's spelling."""
    return parse({"shards": 3, **fields}, DEMO.name)


def new_view(spec: ValkeyClusterSpec | None) -> View:
    """A ValkeyCluster that was just made."""
    return View(
        identity=DEMO,
        generation=1,
        deleting=False,
        finalizer=False,
        spec=spec,
        spec_error="" if spec is not None else "spec.shards: is required; set it",
        status=ClusterStatus(),
        applied=None,
        stray=(),
        drift=(),
        pods=(),
        claims=(),
        blind="",
        now=NOW,
    )


def whole_view(spec: ValkeyClusterSpec | None = None) -> View:
    """Every slot served, every replica in sync, the objects as applied; its status says Running."""
    spec = spec or spec_of()
    pods = tuple(
        _pod(spec, shard, ordinal)
        for shard in range(spec.shards)
        for ordinal in range(1 + spec.replicas_per_shard)
    )
    mine = [pod.server.me for pod in pods if pod.server]
    meshed = tuple(replace(pod, server=_with_peers(pod.server, mine)) for pod in pods if pod.server)
    bare = replace(
        new_view(spec), finalizer=True, applied=Applied(render(DEMO, spec), spec, None), pods=meshed
    )
    running = replace(bare, status=ClusterStatus(phase=Phase.RUNNING))
    return replace(running, status=derive(running, Steady()))


def _with_peers(server: Server, everybody: list[Peer]) -> Server:
    others = (replace(one, flags=one.flags - {"myself"}) for one in everybody if one != server.me)
    return replace(server, peers=tuple(others))


def _pod(spec: ValkeyClusterSpec, shard: int, ordinal: int) -> PodView:
    primary_id = node_id(shard, 0) if ordinal else None
    owned: Ranges = () if ordinal else slots.even_split(spec.shards)[shard]
    ip = f"10.0.{shard}.{ordinal}"
    return PodView(
        name=PodName(names.pod(DEMO.name, shard, ordinal)),
        uid=f"uid-{shard}-{ordinal}",
        shard=shard,
        ordinal=ordinal,
        ip=ip,
        node=f"node-{(shard + ordinal) % 3}",
        zone=f"zone-{(shard + ordinal) % 3}",
        ready=True,
        terminating=False,
        trouble="",
        server=Server(
            me=Peer(
                node_id(shard, ordinal),
                ip,
                frozenset({"myself", "slave" if ordinal else "master"}),
                primary_id,
                shard + 1,
                True,
                owned,
            ),
            peers=(),
            state_ok=True,
            link_up=True,
            offset=100,
            keys=10,
            node_timeout_ms=5000,
            version=spec.version,
        ),
    )


def node_id(shard: int, ordinal: int) -> NodeId:
    return NodeId(f"id-{shard}-{ordinal}")


def empty(view: View) -> View:
    """The same pods, each with a server that was just born."""
    return replace(view, pods=tuple(replace(pod, server=_newborn(pod)) for pod in view.pods))


def _newborn(pod: PodView) -> Server:
    me = Peer(NodeId(f"new-{pod.name}"), pod.ip, frozenset({"myself", "master"}), None, 0, True, ())
    return Server(
        me, (), state_ok=False, link_up=True, offset=0, keys=0, node_timeout_ms=5000, version="9.1.2"
    )


def with_pod(view: View, name: str, **changes: Any) -> View:
    """One pod is different."""
    return replace(
        view, pods=tuple(replace(pod, **changes) if pod.name == name else pod for pod in view.pods)
    )


def with_server(view: View, name: str, **changes: Any) -> View:
    """One server is different; `me` changes under its own name only."""
    server = next(pod.server for pod in view.pods if pod.name == name)
    assert server
    me = replace(server.me, **{key: changes.pop(key) for key in [*changes] if hasattr(server.me, key)})
    return with_pod(view, name, server=replace(server, me=me, **changes))


def replaced(view: View, name: str) -> View:
    """The pod came back without its claim: another node ID, met by all, empty; the old one is a ghost."""
    pod = next(pod for pod in view.pods if pod.name == name)
    assert pod.server
    newborn = _newborn(pod)
    old = pod.server.me
    # Of the link to an address that is gone, a server says `connected` (9.1.2).
    ghost = replace(old, flags=(old.flags - {"myself"}) | {"fail"}, connected=True, ip="10.9.9.9")
    met = replace(newborn.me, flags=frozenset({"master"}))

    def table(server: Server) -> Server:
        return replace(server, peers=(*(p for p in server.peers if p.node_id != old.node_id), ghost, met))

    newborn = replace(newborn, peers=(*pod.server.peers, ghost), state_ok=True)
    pods = tuple(
        replace(one, server=newborn if one is pod else table(one.server)) for one in view.pods if one.server
    )
    return replace(view, pods=pods)


def without(view: View, name: str) -> View:
    """There is no such pod."""
    return replace(view, pods=tuple(pod for pod in view.pods if pod.name != name))


def edited(**fields: Any) -> View:
    return replace(whole_view(), spec=spec_of(**fields), generation=2)


def told(view: View) -> tuple[View, Step]:
    """A pass: what was decided, and the view with the status that says so."""
    step = decide(view)
    return replace(view, status=derive(view, step)), step


def later(view: View, seconds: float) -> View:
    return replace(view, now=view.now + seconds)
