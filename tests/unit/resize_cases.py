"""What the rules do that move memory, CPU and directives, one sentence per case; used by test_decide.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from decide_cases import Case
from views import (
    advanced,
    dead,
    edited,
    listing,
    remade,
    resized,
    settled,
    silent,
    spec_of,
    taken_over,
    told,
    whole_view,
    with_config,
    with_pod,
    with_resources,
    with_server,
)

from daemon.steps import Blocked, Evict, Failover, Preview, Provision, Resize, SetConfig, Steady, Wait

if TYPE_CHECKING:
    from daemon.topology import View

MI = 1 << 20
LARGE: dict[str, Any] = {"resources": {"limits": {"memory": "512Mi", "cpu": "2"}}}
SMALL: dict[str, Any] = {"resources": {"limits": {"memory": "128Mi"}}}
EVERYONE = tuple(f"demo-{shard}-{ordinal}" for ordinal in (1, 0) for shard in range(3))
"""Replicas first."""


def asking(fields: dict[str, Any], *done: str, **spec: Any) -> View:
    """The templates ask for other resources, and live directives are as they can be by now."""
    view = whole_view(spec_of(**spec))
    view = replace(view, spec=spec_of(**{**spec, **fields}), generation=2)
    view = advanced(view, (0, 1, 2))
    for name in done:
        view = resized(view, name)
    return settled(view)


def pending(reason: str, name: str = "demo-0-1", *done: str, **spec: Any) -> View:
    """The kubelet has been asked for this pod, and says why it does not do it now."""
    view = asking(LARGE, *done, **spec)
    return with_resources(resized(view, name, carried_out=False), name, pending=reason, told="node is full")


def waited(view: View, seconds: float) -> View:
    """The same wait was told so long ago."""
    view, _ = told(view)
    return replace(view, now=view.now + seconds)


def error() -> View:
    view = resized(asking(SMALL), "demo-0-1", carried_out=False)
    return with_resources(view, "demo-0-1", error="Error", told="more is used", under_way=True)


NODES = {f"node-{number}": {"cpu": "4", "memory": "8Gi"} for number in range(3)}


def on_nodes(view: View, **nodes: dict[str, str]) -> View:
    """What the nodes can give; node-1 carries demo-0-1."""
    changed = {name.replace("_", "-"): amounts for name, amounts in nodes.items()}
    return replace(view, allocatable={**NODES, **changed})


def too_small() -> dict[str, str]:
    return {"cpu": "4", "memory": "300Mi"}


RESTART: dict[str, Any] = {"resizePolicy": {"memory": "RestartContainer"}}

RESIZE = [
    Case(
        "other resources are asked for in all templates at once",
        lambda: edited(**LARGE),
        Provision,
        "StatefulSet demo-0 (resources), StatefulSet demo-1 (resources), StatefulSet demo-2 (resources)",
    ),
    Case(
        "then of the pods in place, a replica first",
        lambda: asking(LARGE),
        Resize,
        "resizing demo-0-1 in place: requests.cpu 100m, requests.memory 512Mi, limits.cpu 2, "
        "limits.memory 512Mi",
    ),
    Case(
        "all replicas before the first primary",
        lambda: asking(LARGE, "demo-0-1", "demo-1-1"),
        Resize,
        "resizing demo-2-1",
    ),
    Case("then the primaries", lambda: asking(LARGE, *EVERYONE[:3]), Resize, "resizing demo-0-0"),
    Case(
        "a pod that the kubelet has not looked at yet is waited for",
        lambda: with_resources(
            resized(asking(LARGE), "demo-0-1", carried_out=False), "demo-0-1", under_way=True
        ),
        Wait,
        "resizing demo-0-1: waiting for the kubelet",
    ),
    Case(
        "a pod that has not got it yet is waited for",
        lambda: resized(asking(LARGE), "demo-0-1", carried_out=False),
        Wait,
        "resizing demo-0-1: waiting for the kubelet",
    ),
    Case("when all have it, it is done", lambda: asking(LARGE, *EVERYONE), Steady),
    Case(
        "a runtime that rounds CPU has done it",
        lambda: with_resources(
            asking(LARGE, *EVERYONE),
            "demo-0-1",
            actual={
                "requests": {"cpu": "98m", "memory": "536870912"},
                "limits": {"cpu": "2", "memory": "512Mi"},
            },
        ),
        Steady,
    ),
    Case(
        "a replica whose node can never do it moves",
        lambda: pending("Infeasible"),
        Evict,
        "resizing demo-0-1: its node cannot (node is full): demo-0-1 restarts",
    ),
    Case(
        "a primary whose node can never do it hands over first",
        lambda: pending("Infeasible", "demo-0-0", *EVERYONE[:3]),
        Failover,
        "resizing demo-0-0: its node cannot (node is full): demo-0-1 takes over",
    ),
    Case(
        "a pod moves only when it may be taken away",
        lambda: with_server(pending("Infeasible"), "demo-2-0", migrating=True),
        Wait,
        "demo-0-1 is next (slots of demo-2-0 are on their way)",
    ),
    Case(
        "a replica whose node is too small is not even asked",
        lambda: on_nodes(asking(LARGE), node_1=too_small()),
        Evict,
        "resizing demo-0-1: its node node-1 is too small",
    ),
    Case(
        "nor a primary",
        lambda: on_nodes(asking(LARGE, *EVERYONE[:3]), node_0=too_small()),
        Failover,
        "resizing demo-0-0: its node node-0 is too small: demo-0-1 takes over",
    ),
    Case(
        "room on the node is waited for",
        lambda: pending("Deferred"),
        Wait,
        "resizing demo-0-1: its node has no room now (node is full)",
    ),
    Case("for a minute", lambda: waited(pending("Deferred"), 60.0), Wait, "its node has no room now"),
    Case("and no longer", lambda: waited(pending("Deferred"), 61.0), Evict, "its node has no room now"),
    Case(
        "by a primary as well",
        lambda: waited(pending("Deferred", "demo-0-0", *EVERYONE[:3]), 61.0),
        Failover,
        "demo-0-1 takes over",
    ),
    Case(
        "an error of the kubelet is waited for",
        error,
        Wait,
        "resizing demo-0-1: the kubelet tries again (Error: more is used)",
    ),
    Case(
        "a container that has to restart for it is resized when it may go",
        lambda: asking(LARGE, **RESTART),
        Resize,
        "resizing demo-0-1 in place",
    ),
    Case(
        "and not before",
        lambda: with_server(asking(LARGE, **RESTART), "demo-2-0", migrating=True),
        Wait,
        "resizing demo-0-1: its container has to restart (slots of demo-2-0 are on their way)",
    ),
    Case(
        "a primary whose container has to restart hands over first",
        lambda: asking(LARGE, *EVERYONE[:3], **RESTART),
        Failover,
        "resizing demo-0-0: demo-0-1 takes over",
    ),
    Case(
        "not to a replica that is out of contact",
        lambda: listing(asking(LARGE, *EVERYONE[:3], **RESTART), "demo-2-0", "demo-0-1", connected=False),
        Wait,
        "resizing demo-0-0: its primary is next (demo-2-0 has no link to demo-0-1 yet)",
    ),
    Case(
        "a former primary is a replica like others",
        lambda: taken_over(asking(LARGE, *EVERYONE[:3], **RESTART), "demo-0-1"),
        Resize,
        "resizing demo-0-0 in place",
    ),
    Case(
        "a resource whose policy asks for no restart moves no role",
        lambda: asking({"resources": {"limits": {"cpu": "2"}}}, *EVERYONE[:3], **RESTART),
        Resize,
        "resizing demo-0-0 in place",
    ),
    Case(
        "less memory than is used is waited for",
        lambda: with_server(asking(SMALL), "demo-0-1", used_memory=120 * MI),
        Wait,
        "resizing demo-0-1: it uses too much of what its limit will be (more than 90% of 134217728 bytes)",
    ),
    Case(
        "less memory is given as soon as it is enough",
        lambda: with_server(asking(SMALL), "demo-0-1", used_memory=115 * MI),
        Resize,
        "limits.memory 128Mi",
    ),
    Case(
        "more memory is given whatever is used",
        lambda: with_server(asking(LARGE), "demo-0-1", used_memory=600 * MI),
        Resize,
        "limits.memory 512Mi",
    ),
    Case(
        "resources that no node has are not asked for at all",
        lambda: on_nodes(edited(**LARGE), node_0=too_small(), node_1=too_small(), node_2=too_small()),
        Blocked,
        "NoNodeFits no node has cpu 100m, memory 512Mi to give; nothing was touched",
    ),
    Case(
        "resources that one node has are",
        lambda: on_nodes(edited(**LARGE), node_0=too_small(), node_1=too_small()),
        Provision,
    ),
    Case(
        "nothing is said of pods that are as they are asked to be, however small the nodes",
        lambda: on_nodes(whole_view(), **{f"node_{number}": {"memory": "1Mi"} for number in range(3)}),
        Steady,
    ),
    Case(
        "a pod that is missing is waited for before any is resized",
        lambda: silent(asking(LARGE), "demo-2-1"),
        Wait,
        "waiting for demo-2-1",
    ),
]


SAMPLES = spec_of(config={"maxmemory-samples": "5"})


def percent_65(memory_mi: int) -> str:
    return str(memory_mi * MI * 65 // 100)


def full(bytes_: int, **spec: Any) -> View:
    """demo-0-0 holds so much data, and the memory limit shall be 128 MiB."""
    view = with_server(whole_view(spec_of(**spec)), "demo-0-0", data_bytes=bytes_)
    return replace(view, spec=spec_of(**{**spec, **SMALL}), generation=2)


LIVE = [
    Case(
        "a live directive that is edited is set on all servers",
        lambda: replace(whole_view(SAMPLES), spec=spec_of(config={"maxmemory-samples": "9"})),
        SetConfig,
        f"{', '.join(sorted(EVERYONE))}: maxmemory-samples 9",
    ),
    Case(
        "a live directive is set on the one server that has another value",
        lambda: with_config(whole_view(), "demo-0-0", **{"maxmemory-policy": "allkeys-lru"}),
        SetConfig,
        "demo-0-0: maxmemory-policy noeviction",
    ),
    Case(
        "the same in another spelling is no difference",
        lambda: with_config(
            whole_view(), "demo-0-0", **{"cluster-allow-replica-migration": "NO", "save": "3600 1"}
        ),
        Steady,
    ),
    Case(
        "what takes a restart is not set",
        lambda: with_config(whole_view(), "demo-0-0", dir="/elsewhere"),
        Steady,
    ),
    Case(
        "a directive that the server does not know of is left alone",
        lambda: with_config(whole_view(), "demo-0-0", **{"maxmemory-policy": None}),
        Steady,
    ),
    Case(
        "a server that is leaving is left alone",
        lambda: with_pod(
            with_config(whole_view(), "demo-0-0", **{"maxmemory-policy": "allkeys-lru"}),
            "demo-0-0",
            terminating=True,
        ),
        Steady,
    ),
    Case(
        "less memory: maxmemory first",
        lambda: edited(**SMALL),
        SetConfig,
        f"maxmemory {percent_65(128)}",
    ),
    Case(
        "then the limits",
        lambda: settled(edited(**SMALL)),
        Provision,
        "StatefulSet demo-0 (resources)",
    ),
    Case(
        "more memory: maxmemory follows each pod's limit",
        lambda: resized(asking(LARGE), "demo-0-1"),
        SetConfig,
        f"demo-0-1: maxmemory {percent_65(512)}",
    ),
    Case(
        "a pod made with more memory in mind has no more than its limit bears",
        lambda: with_config(asking(LARGE), "demo-0-0", maxmemory=percent_65(512)),
        SetConfig,
        f"demo-0-0: maxmemory {percent_65(256)}",
    ),
    Case(
        "memory is not lowered below the data where nothing may be evicted",
        lambda: full(100 * MI),
        Blocked,
        "DataTooLarge maxmemory would become 87241523 bytes, and more than that is used by "
        "demo-0-0 (104857600)",
    ),
    Case(
        "what nobody has approved yet is not held against the data",
        lambda: full(100 * MI, updatePolicy={"mode": "Manual"}),
        Preview,
    ),
    Case("it is where data may go", lambda: full(100 * MI, maxmemory={"policy": "allkeys-lru"}), SetConfig),
    Case("it is when the data fit", lambda: full(80 * MI), SetConfig, f"maxmemory {percent_65(128)}"),
    Case(
        "more memory than before is never refused",
        lambda: replace(with_server(whole_view(), "demo-0-0", data_bytes=600 * MI), spec=spec_of(**LARGE)),
        Provision,
    ),
    Case(
        "a pod made anew reads what it is to have",
        lambda: remade(advanced(edited(**LARGE), (0, 1, 2)), *EVERYONE),
        Steady,
    ),
]

CASES = [*RESIZE, *LIVE]

EDITION: dict[str, Any] = {"config": {"databases": "32"}}
"""Takes a restart, and another ConfigMap."""


def half_way_to_more() -> View:
    """Shard 0 is to have twice the memory and another edition; its pods have not followed."""
    return advanced(edited(**EDITION, **LARGE), (0,))


def less_cpu_limit() -> View:
    """The CPU limit was taken out of the spec, and out of the templates."""
    view = whole_view(spec_of(resources={"limits": {"cpu": "2"}}))
    return advanced(replace(view, spec=spec_of()), (0, 1, 2))


def without_samples() -> View:
    """A live directive was taken out of the spec."""
    return replace(whole_view(spec_of(config={"maxmemory-samples": "9"})), spec=spec_of(), generation=2)


def broken_and(view: View, **restarting: Any) -> View:
    """Besides, the edit restarts pods, and one does not run."""
    assert view.spec
    spec = spec_of(**{**view.spec.as_manifest(), **restarting})
    return dead(replace(view, spec=spec), "demo-0-1")


CASES += [
    Case(
        "pods that have not followed keep the maxmemory of their own limit",
        half_way_to_more,
        Evict,
        "rolling shard 0",
    ),
    Case(
        "pods that do not run get no template that no node can bear",
        lambda: broken_and(
            on_nodes(edited(**LARGE), **{f"node_{number}": too_small() for number in range(3)}),
            terminationGracePeriodSeconds=90,
        ),
        Wait,
    ),
    Case(
        "nor a maxmemory that is less than the data",
        lambda: broken_and(full(100 * MI), terminationGracePeriodSeconds=90),
        Wait,
    ),
    Case(
        "a little more CPU is asked for as well",
        lambda: asking({"resources": {"requests": {"cpu": "105m"}}}),
        Resize,
        "requests.cpu 105m",
    ),
    Case(
        "a directive that is not wanted any more goes back to its default",
        without_samples,
        SetConfig,
        "maxmemory-samples 5",
    ),
    Case(
        "a pod whose quality of service changes restarts",
        lambda: asking({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}),
        Evict,
    ),
]

WRONG = [
    (
        Case("a limit that is not wanted any more goes", less_cpu_limit, Evict),
        "_same looks at what is wanted only; a limit is not taken away in place, so the pod has to restart",
    ),
]
