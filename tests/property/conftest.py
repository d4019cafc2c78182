"""Pure functions that a simulation asks the same thing thousands of times remember their answers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from daemon import topology
from daemon.decide import change, lifecycle, live, resize
from valkey_cluster import config, directives, quantity, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from valkey_cluster.resources import Identity
    from valkey_cluster.spec import ValkeyClusterSpec
    from valkey_cluster.stage import Stage


KEPT = 200


@pytest.fixture(autouse=True, scope="session")
def _remembering() -> Iterator[None]:
    exact, render = cache(quantity.exact), _by_identity(stage.render)
    is_live, same = cache(directives.is_live), cache(directives.same)
    with pytest.MonkeyPatch.context() as patch:
        for module in (quantity, resize):
            patch.setattr(module, "exact", exact)
        for module in (topology, change, lifecycle):
            patch.setattr(module, "render", render)
        for module in (config, live):
            patch.setattr(module, "is_live", is_live)
        patch.setattr(live, "same", same)
        yield


def _by_identity(
    render: Callable[[Identity, ValkeyClusterSpec], Stage],
) -> Callable[[Identity, ValkeyClusterSpec], Stage]:
    """A spec is frozen, and has no hash."""
    known: dict[int, Any] = {}

    def remembered(identity: Identity, spec: ValkeyClusterSpec) -> Stage:
        if id(spec) not in known:
            if len(known) > KEPT:
                known.clear()
            known[id(spec)] = spec, render(identity, spec)
        made: Stage = known[id(spec)][1]
        return made

    return remembered
