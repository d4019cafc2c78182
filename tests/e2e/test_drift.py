"""What others change is named and put back; what they add beside it is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from daemon.kube.kinds import CONFIG_MAP, POD_DISRUPTION_BUDGET, SERVICE, STATEFUL_SET, Resource
from tests.e2e.api import PERSON
from tests.e2e.clusters import spec_of
from tests.e2e.waiting import timed
from valkey_cluster.config import edition
from valkey_cluster.spec import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.api import Obj
    from tests.e2e.clusters import Cluster
    from tests.e2e.figures import Figures

pytestmark = pytest.mark.e2e

PUT_BACK_S = 3.0


@dataclass(frozen=True)
class Change:
    """What somebody does to an object, and what is to be told of it."""

    id: str
    kind: Resource
    name: str
    told: str
    is_back: Callable[[Obj], bool]
    operations: tuple[Obj, ...] = ()
    """A JSON patch; none means that the object is deleted."""


EDITION = edition(parse(spec_of(shards=3, replicas=1), "shared"))
"""Of the shared cluster's valkey.conf."""

CHANGES = (
    Change(
        id="StatefulSet scaled",
        kind=STATEFUL_SET,
        name="shared-0",
        operations=({"op": "replace", "path": "/spec/replicas", "value": 1},),
        told=f"StatefulSet shared-0: spec.replicas changed by {PERSON}",
        is_back=lambda found: found["spec"]["replicas"] == 2,
    ),
    Change(
        id="Service port edited",
        kind=SERVICE,
        name="shared",
        operations=({"op": "replace", "path": "/spec/ports/0/port", "value": 7000},),
        told=f"Service shared: spec.ports.valkey.port changed by {PERSON}",
        is_back=lambda found: [port["port"] for port in found["spec"]["ports"]] == [6379],
    ),
    Change(
        id="ConfigMap deleted",
        kind=CONFIG_MAP,
        name=f"shared-config-{EDITION}",
        told=f"ConfigMap shared-config-{EDITION} was deleted",
        is_back=lambda found: "cluster-enabled yes" in found["data"]["valkey.conf"],
    ),
    Change(
        id="PodDisruptionBudget deleted",
        kind=POD_DISRUPTION_BUDGET,
        name="shared",
        told="PodDisruptionBudget shared was deleted",
        is_back=lambda found: found["spec"]["maxUnavailable"] == 1,
    ),
)
BESIDE_AN_ADDITION = (
    Change(
        id="PodDisruptionBudget widened",
        kind=POD_DISRUPTION_BUDGET,
        name="shared",
        operations=({"op": "replace", "path": "/spec/maxUnavailable", "value": 2},),
        told=f"PodDisruptionBudget shared: spec.maxUnavailable changed by {PERSON}",
        is_back=lambda found: found["spec"]["maxUnavailable"] == 1,
    ),
    Change(
        id="headless Service edited",
        kind=SERVICE,
        name="shared-headless",
        operations=({"op": "replace", "path": "/spec/ports/1/port", "value": 7001},),
        told=f"Service shared-headless: spec.ports.bus.port changed by {PERSON}",
        is_back=lambda found: [port["port"] for port in found["spec"]["ports"]] == [6379, 16379],
    ),
)
"""What makes the daemon write an object that others have added to."""


def change_by_hand(cluster: Cluster, change: Change) -> None:
    if change.operations:
        path = change.kind.path(cluster.namespace, change.name)
        cluster.api.json_patch(path, list(change.operations))
    else:
        cluster.api.delete(change.kind, cluster.namespace, change.name)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.id)
def test_a_foreign_change_is_named_and_put_back(shared: Cluster, figures: Figures, change: Change):
    seen: list[dict[str, str]] = []

    def is_back() -> bool:
        seen.append(shared.condition("DriftDetected"))
        found = shared.api.get(change.kind, shared.namespace, change.name)
        return found is not None and change.is_back(found)

    change_by_hand(shared, change)
    took_s = timed(is_back, f"{change.id}: put back", 60, shared.explain)
    shared.wait_ready()

    assert change.told in {one.get("message") for one in seen if one.get("status") == "True"}, seen
    after = shared.condition("DriftDetected")
    assert (after["status"], after["reason"]) == ("False", "PutBack")
    assert after["message"] == f"put back: {change.told}"
    shared.until(
        lambda: any(change.told in event for event in shared.events("DriftDetected")),
        "an event names the change",
    )
    figures.at_most(f"drift, {change.id}: put back", took_s, PUT_BACK_S)


@pytest.mark.parametrize(
    ("manager", "change"),
    [
        ("cost-controller", BESIDE_AN_ADDITION[0]),
        pytest.param(
            "kubectl-label",
            BESIDE_AN_ADDITION[1],
            marks=pytest.mark.xfail(
                strict=True,
                reason="pulumi-kubernetes 4.25.0 takes over what any manager named kubectl* has added "
                "to an object that it updates, and lets it go",
            ),
        ),
    ],
    ids=["by a controller", "by kubectl"],
)
def test_what_others_add_is_left_alone(shared: Cluster, manager: str, change: Change):
    addition = {"metadata": {"labels": {"cost-center": manager}}}
    shared.api.patch(change.kind, shared.namespace, change.name, addition, manager=manager)
    change_by_hand(shared, change)

    def found() -> Obj:
        there = shared.api.get(change.kind, shared.namespace, change.name)
        assert there is not None
        return there

    shared.until(lambda: change.is_back(found()), "what the stage declares is put back")
    shared.wait_ready()
    assert shared.condition("DriftDetected")["message"] == f"put back: {change.told}"
    assert found()["metadata"]["labels"].get("cost-center") == manager
