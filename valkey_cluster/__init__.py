"""WHAT a Valkey cluster is: its spec, its names, its manifests, its Pulumi component.

No network, no clock, no daemon: everything but `component` is plain data in, plain data out.
`from valkey_cluster import ValkeyCluster` gives the component; it is imported only then, because the
daemon's pure layers must not load Pulumi.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valkey_cluster.component import ValkeyCluster, ValkeyShard

__all__ = ["ValkeyCluster", "ValkeyShard"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    from valkey_cluster import component  # noqa: PLC0415  Pulumi only when it is asked for

    return getattr(component, name)
