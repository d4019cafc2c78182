"""Views for table tests: a cluster that is whole, and ways to spoil it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daemon.clock import rfc3339
from daemon.decide import decide
from daemon.status import derive
from daemon.steps import Evict, Failover, Provision, Resize, SetConfig, Steady, Step
from daemon.topology import Amounts, Applied, NodeId, Peer, PodName, PodView, Resources, Server, View
from valkey_cluster import names, slots
from valkey_cluster.config import directives_of, node_timeout_ms
from valkey_cluster.names import Phase
from valkey_cluster.resources import Identity
from valkey_cluster.resources.config_map import conf_of
from valkey_cluster.spec import ValkeyClusterSpec, parse
from valkey_cluster.stage import Stage, advance, config_of, render, shard_of, template_of
from valkey_cluster.status_model import ClusterStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from valkey_cluster.resources import Manifest
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
    stage = render(DEMO, spec)
    pods = tuple(
        as_applied(_pod(spec, shard, ordinal), stage)
        for shard in range(spec.shards)
        for ordinal in range(1 + spec.replicas_per_shard)
    )
    mine = [pod.server.me for pod in pods if pod.server]
    meshed = tuple(replace(pod, server=_with_peers(pod.server, mine)) for pod in pods if pod.server)
    bare = replace(new_view(spec), finalizer=True, applied=Applied(stage, spec, None), pods=meshed)
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
            node_timeout_ms=node_timeout_ms(spec),
            version=spec.version,
        ),
    )


def as_applied(pod: PodView, stage: Stage) -> PodView:
    """The pod as Kubernetes makes it from this stage, its server with the configuration that it read."""
    made = next(one for one in stage.manifests if one["kind"] == "StatefulSet" and shard_of(one) == pod.shard)
    asked = asked_in(made)
    conf = directives_of(conf_of(stage.by_key["ConfigMap", config_of(made)]))
    return replace(
        pod,
        template=template_of(made),
        config_map=config_of(made),
        resources=Resources(asked=asked, actual=asked, allocated=asked["requests"]),
        server=replace(pod.server, config=conf) if pod.server else None,
    )


def asked_in(stateful_set: Manifest) -> Amounts:
    """The resources that a StatefulSet's template asks for."""
    amounts: Amounts = stateful_set["spec"]["template"]["spec"]["containers"][0]["resources"]
    return amounts


def node_id(shard: int, ordinal: int) -> NodeId:
    return NodeId(f"id-{shard}-{ordinal}")


def empty(view: View) -> View:
    """The same pods, each with a server that was just born."""
    return replace(view, pods=tuple(replace(pod, server=_newborn(pod)) for pod in view.pods))


def _newborn(pod: PodView) -> Server:
    me = Peer(NodeId(f"new-{pod.name}"), pod.ip, frozenset({"myself", "master"}), None, 0, True, ())
    return Server(
        me,
        (),
        state_ok=False,
        link_up=True,
        offset=0,
        keys=0,
        node_timeout_ms=5000,
        version="9.1.2",
        config=pod.server.config if pod.server else {},
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
    """A whole cluster of three shards whose spec has just become this."""
    return replace(whole_view(), spec=spec_of(**fields), generation=2)


def advanced(view: View, shards: Collection[int]) -> View:
    """The wanted templates of these shards are applied; no pod has followed."""
    assert view.applied
    mounted = {pod.config_map for pod in view.pods}
    stage = advance(view.applied.stage, view.wanted, shards, mounted)
    return replace(view, applied=replace(view.applied, stage=stage))


def provisioned(view: View, step: Step) -> View:
    """After the update that this step asks for."""
    assert isinstance(step, Provision), step
    return replace(view, applied=Applied(step.stage, step.spec, None, goal=step.goal))


def remade(view: View, *names_: str) -> View:
    """These pods were made anew from what is applied, each with its claim and in sync again."""
    assert view.applied
    stage = view.applied.stage
    made = {pod.name: as_applied(replace(pod, uid=f"{pod.uid}+"), stage) for pod in view.pods}
    return replace(view, pods=tuple(made[pod.name] if pod.name in names_ else pod for pod in view.pods))


def with_resources(view: View, name: str, **changes: Any) -> View:
    """One pod's resources are different."""
    pod = next(pod for pod in view.pods if pod.name == name)
    return with_pod(view, name, resources=replace(pod.resources, **changes))


def resized(view: View, name: str, *, carried_out: bool = True) -> View:
    """The pod asks for what its template does; `carried_out`: and has it."""
    pod = next(pod for pod in view.pods if pod.name == name)
    asked = asked_in(view.sets[pod.shard])
    had = asked if carried_out else pod.resources.actual
    return with_resources(view, name, asked=asked, actual=had, allocated=had["requests"])


def with_config(view: View, name: str, **directives: str | None) -> View:
    """CONFIG GET answers otherwise on one server; None: it does not know the directive."""
    server = next(pod.server for pod in view.pods if pod.name == name)
    assert server
    config = {**server.config, **directives}
    return with_server(view, name, config={key: value for key, value in config.items() if value is not None})


def configured(view: View, step: Step) -> View:
    """After these directives were set."""
    assert isinstance(step, SetConfig), step
    for name in step.pods:
        view = with_config(view, name, **dict(step.pairs))
    return view


def settled(view: View) -> View:
    """After all directives were set that the rules want to set now."""
    for _ in range(10):
        step = decide(view)
        if not isinstance(step, SetConfig):
            break
        view = configured(view, step)
    return view


DEFAULTS = {"maxclients": "10000", "maxmemory-samples": "5", "databases": "16"}
"""Values of directives that a server was not told."""


def carried_out(view: View, step: Step) -> View:
    """The step's purpose, reached at once; servers answer for every directive that is applied by then."""
    match step:
        case Provision():
            view = scaled(provisioned(view, step))
        case SetConfig():
            view = configured(view, step)
        case Evict():
            view = remade(view, step.pod)
        case Failover():
            view = taken_over(view, step.pod)
        case Resize():
            view = resized(view, step.pod)
        case _:
            raise AssertionError(step)
    asked = {name for conf in view.confs.values() for name in conf}
    for pod, server in view.servers.items():
        unknown = {name: value for name, value in DEFAULTS.items() if name in asked - server.config.keys()}
        view = with_config(view, pod, **unknown) if unknown else view
    return view


def scaled(view: View) -> View:
    """Pods that are missing have joined, and those that are too many are gone and forgotten."""
    for name in view.expected.keys() - {pod.name for pod in view.pods}:
        view = with_member(view, view.expected[name], int(name.rpartition("-")[2]))
    kept = [pod for pod in view.pods if pod.name in view.expected]
    everybody = [pod.server.me for pod in kept if pod.server]
    pods = (replace(pod, server=_with_peers(pod.server, everybody)) for pod in kept if pod.server)
    return view if len(kept) == len(view.pods) else replace(view, pods=tuple(pods))


def with_member(view: View, shard: int, ordinal: int) -> View:
    """A replica more, made from what is applied, in sync and known to all."""
    assert view.applied
    pod = as_applied(_pod(view.applied.spec, shard, ordinal), view.applied.stage)
    everybody = [one.server.me for one in (*view.pods, pod) if one.server]
    pods = (
        replace(one, server=_with_peers(one.server, everybody)) if one.server else one
        for one in (*view.pods, pod)
    )
    return replace(view, pods=tuple(sorted(pods, key=lambda one: one.name)))


def dead(view: View, name: str, *, ended_s_ago: float = 0.5) -> View:
    """The kubelet says that the pod's container has ended; its server stays in the others' tables."""
    ended = rfc3339(view.now - ended_s_ago)
    return with_pod(view, name, server=None, runs=False, ended=ended, trouble="container ended")


def silent(view: View, name: str, **changes: Any) -> View:
    """The pod runs, by the kubelet's word, and its server does not answer."""
    return with_pod(view, name, server=None, unreachable="does not answer in time", **changes)


def listing(view: View, by: str, of: str, **changes: Any) -> View:
    """The server in the pod `by` lists the one in `of` in another way."""
    return listing_id(view, by, view.servers[PodName(of)].me.node_id, **changes)


def listing_id(view: View, by: str, of: NodeId, **changes: Any) -> View:
    """The server in the pod `by` lists a member in another way."""
    listed = view.servers[PodName(by)].peers
    peers = tuple(replace(one, **changes) if one.node_id == of else one for one in listed)
    return with_server(view, by, peers=peers)


def mark(view: View, fingerprint: str) -> View:
    """As if a valkeeper that writes other templates had made the StatefulSets and their pods."""
    assert view.applied

    def marked(manifest: Manifest) -> Manifest:
        if manifest["kind"] != "StatefulSet":
            return manifest
        made = copy.deepcopy(manifest)
        made["spec"]["template"]["metadata"]["annotations"][names.ANNOTATION_TEMPLATE] = fingerprint
        return made

    stage = Stage(tuple(map(marked, view.applied.stage.manifests)))
    pods = tuple(replace(pod, template=fingerprint) for pod in view.pods)
    return replace(view, applied=replace(view.applied, stage=stage), pods=pods)


def taken_over(view: View, name: str) -> View:
    """After a failover to this pod: the others of its shard follow it, and everybody knows."""
    heir = next(pod for pod in view.pods if pod.name == name)
    before = view.primary(heir.shard)
    assert heir.server
    assert before
    assert before.server
    owned, lead = before.server.me.slots, heir.server.me.node_id
    shard = {pod.server.me.node_id for pod in view.of_shard(heir.shard) if pod.server}

    def role(peer: Peer) -> Peer:
        if peer.node_id not in shard:
            return peer
        kept = peer.flags - {"master", "slave"}
        if peer.node_id == lead:
            return replace(peer, flags=kept | {"master"}, primary_id=None, config_epoch=99, slots=owned)
        return replace(peer, flags=kept | {"slave"}, primary_id=lead, slots=())

    def table(server: Server) -> Server:
        return replace(server, me=role(server.me), peers=tuple(role(peer) for peer in server.peers))

    pods = tuple(replace(pod, server=table(pod.server)) if pod.server else pod for pod in view.pods)
    return replace(view, pods=pods)


def told(view: View) -> tuple[View, Step]:
    """A pass: what was decided, and the view with the status that says so."""
    step = decide(view)
    return replace(view, status=derive(view, step)), step


def later(view: View, seconds: float) -> View:
    return replace(view, now=view.now + seconds)
