"""Rules for what running servers are told by CONFIG SET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.decide.memory import maxmemory_bytes
from daemon.steps import SetConfig, Step
from valkey_cluster.config import directives_of
from valkey_cluster.directives import default, is_live, same
from valkey_cluster.directives.values import arguments
from valkey_cluster.resources.config_map import conf_of, limit_of
from valkey_cluster.spec.versions import version_tuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.topology import PodName, PodView, Server, View

Pairs = tuple[tuple[str, str], ...]


def set_live(view: View) -> Step | None:
    """Servers whose live directives differ from their edition of valkey.conf: all alike ones in one step.

    The wanted edition's ConfigMap is written afterwards: a value that a server refuses never gets into it.
    """
    groups: dict[Pairs, list[PodName]] = {}
    for pod in view.pods:
        if pod.server is not None and not pod.terminating:
            pairs = _pairs(view, pod, pod.server)
            if pairs:
                groups.setdefault(pairs, []).append(pod.name)
    for pairs, pods in sorted(groups.items()):
        text = ", ".join(f"{name} {value}" for name, value in pairs)
        return SetConfig(tuple(pods), pairs, f"{', '.join(pods)}: {text}")
    return None


def _pairs(view: View, pod: PodView, server: Server) -> Pairs:
    version = version_tuple(server.version)
    wanted = {**_taken_out(view, pod), **_wanted(view, pod)}
    return tuple(
        (name, " ".join(arguments(value)))
        for name, value in sorted(wanted.items())
        if is_live(name, version)
        and name in server.config
        and not same(name, server.config[name], value, version)
    )


def _taken_out(view: View, pod: PodView) -> Mapping[str, str]:
    """Directives that the pod's valkey.conf still has, at their defaults: for those not wanted any more.

    The file is written anew afterwards, so this is asked for until every server has them.
    """
    had = view.confs.get(pod.config_map, {})
    return {name: value for name in had if (value := default(name)) is not None}


def _wanted(view: View, pod: PodView) -> Mapping[str, str]:
    """The pod's edition as it is wanted; as it was applied, where the wanted one is another."""
    name = ("ConfigMap", pod.config_map)
    applied = view.applied.stage.by_key.get(name) if view.applied else None
    manifest = view.wanted.by_key.get(name, applied)
    if manifest is None:
        return {}
    conf = directives_of(conf_of(manifest))
    if "maxmemory" not in conf:
        return conf
    return {**conf, "maxmemory": str(maxmemory_bytes(pod, int(conf["maxmemory"]), limit_of(manifest)))}
