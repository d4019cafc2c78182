"""What would be done, step after step, if everything went well: the rules themselves, run ahead. Pure.

`ahead` asks decide, pretends that the step was done at once, and asks again. So a plan cannot differ from
what is done, but for what the world adds to it; and a rule needs no second description of itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from daemon.decide import decide, reshard
from daemon.decide.memory import asked_by
from daemon.steps import (
    Blocked,
    DeleteClaims,
    Evict,
    Failover,
    MigrateSlots,
    Provision,
    Refused,
    Resize,
    Retire,
    SetConfig,
    Steady,
    Step,
    Wait,
)
from daemon.topology import Applied, NodeId, PodName, PodView, Resources, Server, View
from valkey_cluster import slots
from valkey_cluster.stage import config_of, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from valkey_cluster.resources import Manifest
    from valkey_cluster.slots import Ranges

STEPS_MAX = 200
LINES_MAX = 40

SECONDS = {"Provision": 2.5, "Evict": 3.5, "Failover": 0.3, "Resize": 0.4, "SetConfig": 0.1}
"""How long a step of this kind takes, its waits included, where it is known; docs/benchmarks.md has the
measurements. A pod with much data takes longer: it copies them."""
BATCH_S = 0.2
MOVED_BYTES_PER_S = 40 << 20
"""A batch of slots takes this long, and its data besides; batches of different shards move side by side."""


def ahead(view: View) -> tuple[Step, ...]:
    """The steps from here to rest, at most STEPS_MAX, as if each of them and every approval came at once."""
    steps: list[Step] = []
    view = _approved(view)
    while len(steps) < STEPS_MAX:
        step = decide(view)
        if isinstance(step, Steady | Wait | Blocked | Refused) or type(step) not in _PRETEND:
            break
        if isinstance(step, MigrateSlots):
            step = reshard.whole(view)
        steps.append(step)
        view = _PRETEND[type(step)](view, step)
    return tuple(steps)


def lines(steps: Iterable[Step]) -> tuple[str, ...]:
    """For people: what it comes to, then each step's own sentence."""
    told = tuple(steps)
    if not told:
        return ()
    evicted = sum(isinstance(step, Evict) for step in told)
    seconds = sum(_seconds(step) for step in told)
    total = f"{len(told)} steps, {evicted} pods restart, about {seconds:.0f} s without the time to copy data"
    texts = [step.because for step in told]
    more = [f"and {len(texts) - LINES_MAX} more"] if len(texts) > LINES_MAX else []
    return (total, *texts[:LINES_MAX], *more)


def _seconds(step: Step) -> float:
    if isinstance(step, MigrateSlots):
        return step.batches * BATCH_S + step.bytes / MOVED_BYTES_PER_S
    return SECONDS.get(type(step).__name__, 1.0)


def rest_of(plan: tuple[str, ...], step: Step) -> tuple[str, ...]:
    """The plan from this step on; the whole of it when the step is none of it."""
    return plan[plan.index(step.because) :] if step.because in plan else plan


def _approved(view: View) -> View:
    opened = replace(view, window_open=None if view.window_open is None else True)
    asked = replace(opened, approved=opened.asked_hash)
    return replace(asked, approved=asked.wanted.hash) if asked.approved == "" else asked


def _provisioned(view: View, step: Provision) -> View:
    applied = Applied(step.stage, step.spec, None, goal=step.goal or step.spec)
    view = replace(view, applied=applied, drift=())
    missing = [name for name in view.expected if all(pod.name != name for pod in view.pods)]
    pods = [pod for pod in view.pods if pod.name in view.expected]
    grown = tuple(pods) + tuple(_joined(view, name) for name in missing)
    return _meshed(replace(view, pods=tuple(sorted(grown, key=lambda pod: (pod.shard, pod.ordinal)))))


def _joined(view: View, name: PodName) -> PodView:
    """A member in sync: a replica of its shard's leader, or the leader of a shard that is new."""
    shard, ordinal = view.expected[name], int(name.rpartition("-")[2])
    leader = view.leader(shard)
    model = leader or next(pod for pod in view.pods if pod.server)
    if model.server is None:
        raise ValueError("a plan is made of a cluster that answers")
    follows = leader.server.me.node_id if leader and leader.server else NodeId(f"planned-{_first(name)}")
    leads = leader is None and name == _first(name)
    me = replace(
        model.server.me,
        node_id=NodeId(f"planned-{name}"),
        ip=f"planned-{name}",
        flags=frozenset({"myself", "master" if leads else "slave"}),
        primary_id=None if leads else follows,
        slots=(),
    )
    server = replace(model.server, me=me)
    if leader is None:
        server = replace(server, keys=0, data_bytes=0, dataset_bytes=0)
    pod = replace(
        model, name=name, uid=f"planned-{name}", shard=shard, ordinal=ordinal, server=server, ip=me.ip
    )
    return _made_from(view, pod)


def _first(name: PodName) -> str:
    return f"{name.rpartition('-')[0]}-0"


def _made_from(view: View, pod: PodView) -> PodView:
    """The pod as its StatefulSet makes it now."""
    manifest: Manifest = view.sets[pod.shard]
    config_map = config_of(manifest)
    conf = view.confs.get(config_map, {})
    server = pod.server
    if server is not None:
        server = replace(
            server, config={name: conf.get(name, value) for name, value in server.config.items()}
        )
    amounts = asked_by(manifest)
    return replace(
        pod,
        server=server,
        template=template_of(manifest),
        config_map=config_map,
        resources=Resources(asked=amounts, actual=amounts),
    )


def _evicted(view: View, step: Evict) -> View:
    return _changed(view, step.pod, lambda pod: _made_from(view, replace(pod, uid=f"{pod.uid}+")))


def _resized(view: View, step: Resize) -> View:
    done = Resources(asked=step.resources, actual=step.resources)
    return _changed(view, step.pod, lambda pod: replace(pod, resources=done))


def _configured(view: View, step: SetConfig) -> View:
    for name in step.pods:
        view = _changed(view, name, lambda pod: _with_config(pod, dict(step.pairs)))
    return view


def _with_config(pod: PodView, pairs: dict[str, str]) -> PodView:
    if pod.server is None:
        return pod
    return replace(pod, server=replace(pod.server, config={**pod.server.config, **pairs}))


def _failed_over(view: View, step: Failover) -> View:
    pod = next(one for one in view.pods if one.name == step.pod)
    old = view.primary(pod.shard)
    if pod.server is None or old is None or old.server is None:
        return view
    new_id, epoch, owned = pod.server.me.node_id, old.server.me.config_epoch + 1, old.server.me.slots

    def turned(one: PodView) -> PodView:
        if one.server is None or one.shard != pod.shard:
            return one
        leads = one.name == pod.name
        me = replace(
            one.server.me,
            flags=frozenset({"myself", "master" if leads else "slave"}),
            primary_id=None if leads else new_id,
            config_epoch=epoch,
            slots=owned if leads else (),
        )
        return replace(one, server=replace(one.server, me=me, link_up=True))

    return _meshed(replace(view, pods=tuple(turned(one) for one in view.pods)))


def _migrated(view: View, step: MigrateSlots) -> View:
    """All at once: keys and bytes go with the slots, as if they were spread evenly."""
    for one in step.transfers:
        source = view.servers[one.source]
        share = slots.count(one.slots) / max(slots.count(source.me.slots), 1)
        keys, size = round(source.keys * share), round(source.dataset_bytes * share)
        view = _changed(view, one.source, partial(_with_slots, gone=one.slots, keys=-keys, size=-size))
        view = _changed(view, one.target, partial(_with_slots, come=one.slots, keys=keys, size=size))
    return _meshed(view)


def _with_slots(pod: PodView, keys: int, size: int, gone: Ranges = (), come: Ranges = ()) -> PodView:
    if pod.server is None:
        return pod
    owned = slots.normalise([*slots.minus(pod.server.me.slots, gone), *come])
    me = replace(pod.server.me, slots=owned)
    held = {name: getattr(pod.server, name) + size for name in ("data_bytes", "dataset_bytes")}
    return replace(pod, server=replace(pod.server, me=me, keys=pod.server.keys + keys, **held))


def _retired(view: View, step: Retire) -> View:
    """Alone, and forgotten by the others."""

    def alone(pod: PodView) -> PodView:
        if pod.server is None:
            return pod
        flags = frozenset({"myself", "master"})
        me = replace(pod.server.me, node_id=NodeId(f"retired-{pod.name}"), flags=flags, primary_id=None)
        return replace(pod, server=replace(pod.server, me=me, peers=(), keys=0, state_ok=False))

    return _meshed(_changed(view, step.pod, alone))


def _unclaimed(view: View, step: DeleteClaims) -> View:
    return replace(view, claims=tuple(one for one in view.claims if one not in step.claims))


def _changed(view: View, name: PodName, change: Callable[[PodView], PodView]) -> View:
    return replace(view, pods=tuple(change(pod) if pod.name == name else pod for pod in view.pods))


def _meshed(view: View) -> View:
    """Everybody knows everybody as they are."""
    all_of_them = [server.me for server in view.servers.values()]

    def told(server: Server) -> Server:
        peers = (replace(one, flags=one.flags - {"myself"}) for one in all_of_them if one != server.me)
        return replace(server, peers=tuple(peers))

    return replace(
        view,
        pods=tuple(
            replace(pod, server=told(pod.server)) if pod.server and pod.name in view.servers else pod
            for pod in view.pods
        ),
    )


_PRETEND: dict[type, Callable[..., View]] = {
    Provision: _provisioned,
    Evict: _evicted,
    Resize: _resized,
    SetConfig: _configured,
    Failover: _failed_over,
    DeleteClaims: _unclaimed,
    MigrateSlots: _migrated,
    Retire: _retired,
}
"""What each kind of step comes to; a plan ends before any other."""
