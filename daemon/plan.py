"""What would be done, step after step, if everything went well: the rules themselves, run ahead. Pure.

`ahead` asks decide, pretends that the step was done at once, and asks again. So a plan cannot differ from
what is done, but for what the world adds to it; and a rule needs no second description of itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from daemon.decide import decide
from daemon.decide.memory import asked_by
from daemon.steps import (
    Blocked,
    DeleteClaims,
    Evict,
    Failover,
    Provision,
    Refused,
    Resize,
    SetConfig,
    Steady,
    Step,
    Wait,
)
from daemon.topology import Applied, NodeId, PodName, PodView, Resources, Server, View
from valkey_cluster.stage import config_of, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from valkey_cluster.resources import Manifest

STEPS_MAX = 200
LINES_MAX = 40

SECONDS = {"Provision": 2.5, "Evict": 3.5, "Failover": 0.3, "Resize": 0.4, "SetConfig": 0.1}
"""How long a step of this kind takes, its waits included, where it is known; docs/benchmarks.md has the
measurements. A pod with much data takes longer: it copies them."""


def ahead(view: View) -> tuple[Step, ...]:
    """The steps from here to rest, at most STEPS_MAX, as if each of them and every approval came at once."""
    steps: list[Step] = []
    view = _approved(view)
    while len(steps) < STEPS_MAX:
        step = decide(view)
        if isinstance(step, Steady | Wait | Blocked | Refused) or type(step) not in _PRETEND:
            break
        steps.append(step)
        view = _PRETEND[type(step)](view, step)
    return tuple(steps)


def lines(steps: Iterable[Step]) -> tuple[str, ...]:
    """For people: what it comes to, then each step's own sentence."""
    told = tuple(steps)
    if not told:
        return ()
    evicted = sum(isinstance(step, Evict) for step in told)
    seconds = sum(SECONDS.get(type(step).__name__, 1.0) for step in told)
    total = f"{len(told)} steps, {evicted} pods restart, about {seconds:.0f} s without the time to copy data"
    texts = [step.because for step in told]
    more = [f"and {len(texts) - LINES_MAX} more"] if len(texts) > LINES_MAX else []
    return (total, *texts[:LINES_MAX], *more)


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
    """A replica of its shard's primary, in sync."""
    model = view.primary(view.expected[name])
    if model is None or model.server is None:
        raise ValueError(f"shard {view.expected[name]} has no primary to follow")
    node_id = NodeId(f"planned-{name}")
    me = replace(
        model.server.me,
        node_id=node_id,
        ip=f"planned-{name}",
        flags=frozenset({"myself", "slave"}),
        primary_id=model.server.me.node_id,
        slots=(),
    )
    ordinal = int(name.rpartition("-")[2])
    pod = replace(
        model, name=name, uid=f"planned-{name}", ordinal=ordinal, server=replace(model.server, me=me)
    )
    return _made_from(view, replace(pod, ip=me.ip))


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


def _unclaimed(view: View, step: DeleteClaims) -> View:
    return replace(view, claims=tuple(one for one in view.claims if one not in step.claims))


def _changed(view: View, name: PodName, change: Callable[[PodView], PodView]) -> View:
    return replace(view, pods=tuple(change(pod) if pod.name == name else pod for pod in view.pods))


def _meshed(view: View) -> View:
    """Everybody knows everybody as they are."""
    all_of_them = [pod.server.me for pod in view.pods if pod.server]

    def told(server: Server) -> Server:
        peers = (replace(one, flags=one.flags - {"myself"}) for one in all_of_them if one != server.me)
        return replace(server, peers=tuple(peers))

    return replace(
        view, pods=tuple(replace(pod, server=told(pod.server)) if pod.server else pod for pod in view.pods)
    )


_PRETEND: dict[type, Callable[..., View]] = {
    Provision: _provisioned,
    Evict: _evicted,
    Resize: _resized,
    SetConfig: _configured,
    Failover: _failed_over,
    DeleteClaims: _unclaimed,
}
"""What each kind of step comes to; a plan ends before any other."""
