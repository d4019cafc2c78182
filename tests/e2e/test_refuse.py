"""What cannot be done is said, with the field, and nothing is touched."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from daemon.kube.kinds import POD_DISRUPTION_BUDGET, STATEFUL_SET, VALKEY_CLUSTER
from tests.e2e import audit
from tests.e2e.api import PERSON
from tests.e2e.clusters import CACHE
from tests.e2e.installation import DEFINITION, SYSTEM, WATCHED
from tests.e2e.waiting import until
from valkey_cluster import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.api import Api
    from tests.e2e.clusters import Cluster, Clusters

pytestmark = pytest.mark.e2e

_DEFINITION = DEFINITION.path(None, f"{names.PLURAL}.{names.GROUP}")
_RULES = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"

TOO_OLD = {"shards": 1, "replicasPerShard": 0, "persistence": CACHE, "version": "7.2.4"}


def _accepts(api: Api, spec: dict[str, Any]) -> bool:
    """Whether such a cluster would be let in; nothing is stored."""
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"namespace": WATCHED, "name": "probe"},
        "spec": spec,
    }
    answer = api.http.post(VALKEY_CLUSTER.path(WATCHED), json=body, params={"dryRun": "All"})
    return bool(answer.is_success)


@contextmanager
def without_the_rules_of_the_spec(api: Api) -> Iterator[None]:
    """As with an API server on which an older definition is installed; the present one is put back."""
    definition = api.http.get(_DEFINITION).json()
    rules = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    api.json_patch(_DEFINITION, [{"op": "remove", "path": _RULES}])
    try:
        until(lambda: _accepts(api, TOO_OLD), "the API server lets it in", 30)
        yield
    finally:
        restored = {"op": "add", "path": _RULES, "value": rules["x-kubernetes-validations"]}
        managed = api.json_patch(_DEFINITION, [restored])["metadata"]["managedFields"]
        others = [entry for entry in managed if entry["manager"] != PERSON]
        api.json_patch(_DEFINITION, [{"op": "replace", "path": "/metadata/managedFields", "value": others}])
        until(lambda: not _accepts(api, TOO_OLD), "the API server refuses it again", 30)


def test_a_bad_spec_that_slipped_through_is_refused_and_nothing_is_made(api: Api, clusters: Clusters):
    since = audit.now()
    with without_the_rules_of_the_spec(api):
        spec = {name: value for name, value in TOO_OLD.items() if name not in {"shards", "replicasPerShard"}}
        cluster = clusters.make("slipped", shards=1, replicas=0, tls={"enabled": True}, **spec)
    cluster.wait_step("Refused")
    invalid = cluster.condition("ConfigurationValid")
    assert (invalid["status"], invalid["reason"]) == ("False", "Invalid")
    assert "spec.version: is too old" in invalid["message"]
    assert "TLS is not supported yet" in invalid["message"]
    assert cluster.condition("Ready")["status"] == "False"
    assert cluster.condition("Stalled")["status"] == "True"
    assert cluster.events("InvalidSpec")
    assert cluster.left() == []
    assert "finalizers" not in cluster.raw()["metadata"]
    written = {
        request.resource
        for request in audit.requests(audit.account(SYSTEM), since)
        if request.writes and cluster.name in request.name
    }
    assert written <= {"valkeyclusters/status", "events"}


@dataclass(frozen=True)
class Edit:
    """An edit that cannot be followed, and how to take it back."""

    reason: str
    says: str
    there: dict[str, Any]
    back: dict[str, Any]


EDITS = (
    Edit(
        "NoNodeFits",
        "no node has",
        {"resources": {"requests": {"cpu": "300"}}},
        {"resources": {"requests": {"cpu": "20m"}}},
    ),
)


def _templates(cluster: Cluster) -> list[tuple[str, int]]:
    return [(one["metadata"]["name"], one["metadata"]["generation"]) for one in cluster.objects(STATEFUL_SET)]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.reason)
def test_an_edit_that_cannot_be_followed_blocks_and_touches_nothing(shared: Cluster, edit: Edit):
    pods, templates = shared.pod_uids(), _templates(shared)
    shared.edit(edit.there)
    try:
        shared.wait_step("Blocked")
        blocked = shared.condition("Blocked")
        assert (blocked["status"], blocked["reason"]) == ("True", edit.reason)
        assert edit.says in blocked["message"]
        assert shared.condition("Ready")["status"] == "True"
        assert shared.is_whole()
    finally:
        shared.edit(edit.back)
    shared.wait_ready()
    assert shared.condition("Blocked")["status"] == "False"
    assert shared.pod_uids() == pods
    assert _templates(shared) == templates


def test_a_harmless_edit_is_followed_without_touching_pods(shared: Cluster):
    pods, templates = shared.pod_uids(), _templates(shared)
    shared.edit({"podDisruptionBudget": {"enabled": False}})
    try:
        shared.until(lambda: not shared.objects(POD_DISRUPTION_BUDGET), "the budget is gone")
        shared.wait_ready()
    finally:
        shared.edit({"podDisruptionBudget": {"enabled": True}})
    shared.until(lambda: shared.objects(POD_DISRUPTION_BUDGET), "the budget is back")
    shared.wait_ready()
    assert shared.pod_uids() == pods
    assert _templates(shared) == templates
