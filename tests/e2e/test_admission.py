"""The tables of good and bad specs, judged by a real API server: it and pydantic must agree.

The definitions are installed under a group of this test, so that no daemon sees what is created here and
the schemas under test are those of this checkout.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from tests.unit import spec_cases, upgrade_cases
from tests.unit.odd_specs import odd_specs
from valkey_cluster import crd, names
from valkey_cluster.errors import SpecError
from valkey_cluster.spec import parse, parse_upgrade
from valkey_cluster.status_model import (
    ClusterStatus,
    ConditionStatus,
    Health,
    ShardStatus,
    StageStatus,
    StepStatus,
)
from valkey_cluster.upgrade_status import (
    BaselineStatus,
    HistoryStatus,
    ShardUpgradeStatus,
    UpgradeStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx2

    from tests.unit.spec_cases import Bad, Change, Good

pytestmark = pytest.mark.e2e

GROUP = f"admission-test.{names.GROUP}"
NAMESPACE = "default"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WITHIN_S = 30
REFUSED = {400, 422}


@dataclass(frozen=True)
class Kind:
    """A kind of resource and its tables."""

    resource: crd.CustomResource
    parse: Callable[[Any, str], Any]
    good: tuple[Good, ...]
    bad: tuple[Bad, ...]
    many_problems: Bad
    changes: tuple[Change, ...]

    @property
    def objects(self) -> str:
        return f"/apis/{GROUP}/{names.VERSION}/namespaces/{NAMESPACE}/{self.resource.plural}"

    def object(self, spec: Any, name: str) -> dict[str, Any]:
        return {
            "apiVersion": f"{GROUP}/{names.VERSION}",
            "kind": self.resource.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }

    def judged(self, spec: Any, name: str) -> str:
        """What pydantic says against it; empty: nothing."""
        try:
            self.parse(spec, name)
        except SpecError as error:
            return str(error)
        return ""


def _kind(resource: crd.CustomResource, parser: Callable[[Any, str], Any], cases: Any) -> Kind:
    return Kind(resource, parser, cases.GOOD, cases.BAD, cases.MANY_PROBLEMS, cases.CHANGES)


CLUSTER = _kind(crd.CLUSTER, parse, spec_cases)
UPGRADE = _kind(crd.UPGRADE, parse_upgrade, upgrade_cases)
KINDS = (CLUSTER, UPGRADE)

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)


def _each(cases: Callable[[Kind], tuple[Any, ...]]) -> pytest.MarkDecorator:
    """One run for each case of each kind."""
    runs = [
        pytest.param(kind, case, id=f"{kind.resource.kind}-{case.id}")
        for kind in KINDS
        for case in cases(kind)
    ]
    return pytest.mark.parametrize(("kind", "case"), runs)


@dataclass(frozen=True)
class Server:
    """The API server, asked without storing anything unless a test says so."""

    http: httpx2.Client
    kubeconfig: Path

    def create(self, kind: Kind, spec: Any, name: str, *, dry_run: bool = True) -> httpx2.Response:
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return self.http.post(kind.objects, params=query, json=kind.object(spec, name))

    def update(self, kind: Kind, stored: dict[str, Any], spec: Any) -> httpx2.Response:
        name = stored["metadata"]["name"]
        query = {"fieldValidation": "Strict", "dryRun": "All"}
        return self.http.put(f"{kind.objects}/{name}", params=query, json={**stored, "spec": spec})

    def write_status(self, kind: Kind, name: str, status: dict[str, Any]) -> httpx2.Response:
        return self.http.patch(
            f"{kind.objects}/{name}/status",
            params={"fieldValidation": "Strict"},
            content=json.dumps({"status": status}),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def kubectl_apply(self, *objects: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "apply", "--dry-run=server", "-f", "-"]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return subprocess.run(
            command, input=manifest, text=True, capture_output=True, check=False, timeout=120
        )


@pytest.fixture(scope="module")
def server(kubeconfig: Path) -> Iterator[Server]:
    with Client(KubeConfig.from_file(kubeconfig).get(), ConnectionParams()) as http:
        _remove(http)  # an earlier run may have been killed
        try:
            for kind in KINDS:
                made = http.post(DEFINITIONS, json=_definition(kind))
                assert made.status_code == 201, made.text
            _wait_until(lambda: all(http.get(kind.objects).is_success for kind in KINDS))
            yield Server(http, kubeconfig)
        finally:
            _remove(http)


def _definition(kind: Kind) -> dict[str, Any]:
    definition = crd.crd(kind.resource)
    definition["metadata"]["name"] = f"{kind.resource.plural}.{GROUP}"
    definition["spec"]["group"] = GROUP
    definition["spec"]["names"] |= {"shortNames": [], "categories": []}
    return definition


def _remove(http: httpx2.Client) -> None:
    for kind in KINDS:
        path = f"{DEFINITIONS}/{kind.resource.plural}.{GROUP}"
        assert http.delete(path).status_code in {200, 404}
        _wait_until(lambda path=path: http.get(path).status_code == 404)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WITHIN_S} s"
        time.sleep(0.1)


@_each(lambda kind: kind.good)
def test_the_api_server_takes_a_good_spec_and_fills_in_the_same_defaults(
    server: Server, kind: Kind, case: Good
):
    answer = server.create(kind, case.spec, case.name)
    assert answer.status_code == 201, answer.text
    assert kind.parse(answer.json()["spec"], case.name) == kind.parse(case.spec, case.name)


@_each(lambda kind: (*kind.bad, kind.many_problems))
def test_the_api_server_refuses_a_bad_spec(server: Server, kind: Kind, case: Bad):
    answer = server.create(kind, case.spec, case.name)
    assert answer.status_code in REFUSED, answer.text


@_each(lambda kind: kind.bad)
def test_kubectl_refuses_a_bad_spec(server: Server, kind: Kind, case: Bad):
    done = server.kubectl_apply(kind.object(case.spec, case.name))
    assert done.returncode != 0, done.stdout
    assert re.search(
        "is invalid:|error validating data|strict decoding error|error when creating", done.stderr
    )


@each_kind
def test_kubectl_takes_all_good_specs(server: Server, kind: Kind):
    objects = [kind.object(case.spec, f"good-{number}") for number, case in enumerate(kind.good)]
    done = server.kubectl_apply(*objects)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created (server dry run)") == len(kind.good)


def test_a_message_of_a_rule_reaches_the_user(server: Server):
    spec = {"shards": 3, "tls": {"enabled": True}, "config": {"port": "1"}}
    answer = server.create(CLUSTER, spec, "demo")
    message = answer.json()["message"]
    assert "TLS is not supported yet" in message
    assert "valkeeper decides which addresses and ports nodes use" in message


@each_kind
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_pydantic_and_the_api_server_agree_on_odd_specs(server: Server, kind: Kind, data: st.DataObject):
    spec = data.draw(odd_specs(kind.good, kind.bad))
    answer = server.create(kind, spec, "demo")
    against = kind.judged(spec, "demo")
    assert answer.status_code in {201, *REFUSED}, answer.text
    assert (answer.status_code == 201) == (against == ""), f"{spec!r}\npydantic: {against}\n{answer.text}"
    if not against:
        assert kind.parse(answer.json()["spec"], "demo") == kind.parse(spec, "demo")


@_each(lambda kind: kind.changes)
def test_the_api_server_refuses_what_cannot_be_changed(server: Server, kind: Kind, case: Change):
    name = "change-" + case.id.replace(" ", "-").replace(",", "")[:30]
    made = server.create(kind, case.old, name, dry_run=False)
    assert made.status_code == 201, made.text
    answer = server.update(kind, made.json(), case.new)
    assert (answer.status_code == 200) == (not case.says), answer.text
    for field in case.says:
        assert f"spec.{field}" in answer.json()["message"]


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (f"{names.PLURAL}.spec.persistence", "May grow, never shrink"),
        (f"{names.UPGRADE_PLURAL}", "Annotations with the"),
        (f"{names.UPGRADE_PLURAL}.spec.gates", "a minute"),
    ],
)
def test_descriptions_and_defaults_show_in_kubectl_explain(server: Server, field: str, says: str):
    command = [
        "kubectl",
        "--kubeconfig",
        str(server.kubeconfig),
        "explain",
        "--api-version",
        f"{GROUP}/{names.VERSION}",
    ]
    done = subprocess.run([*command, field], text=True, capture_output=True, check=True, timeout=60)
    assert says in " ".join(done.stdout.split())


def test_status_and_scale_are_served_as_the_daemon_and_an_autoscaler_use_them(server: Server):
    assert server.create(CLUSTER, {"shards": 3}, "served", dry_run=False).status_code == 201
    status = ClusterStatus(
        phase=names.Phase.RUNNING,
        shards=3,
        members="6/6",
        selector="valkeeper.io/cluster=served",
        conditions=(
            ConditionStatus(
                type=names.Condition.READY,
                status="True",
                reason="AllSlotsServed",
                message="all slots are served",
                last_transition_time="2026-11-23T12:00:00Z",
                observed_generation=1,
            ),
        ),
        step=StepStatus(kind="Wait", because="nothing to do", since="2026-11-23T12:00:00Z"),
        topology=(
            ShardStatus(shard=0, slots="0-5460", primary="a-0-0", replicas=("a-0-1",), health=Health.OK),
        ),
        stage=StageStatus(hash="abc", generation=1),
        plan=("nothing",),
    ).as_manifest()
    written = server.write_status(CLUSTER, "served", status)
    assert written.status_code == 200, written.text
    assert written.json()["status"] == status
    scale = server.http.get(f"{CLUSTER.objects}/served/scale").json()
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 3, "selector": "valkeeper.io/cluster=served"}


def _upgrade(cluster: str) -> dict[str, Any]:
    return {"clusterRef": {"name": cluster}, "version": "9.1.2"}


def test_the_status_of_an_upgrade_is_served_as_the_daemon_writes_it(server: Server):
    assert server.create(UPGRADE, _upgrade("orders"), "served", dry_run=False).status_code == 201
    at = "2026-11-23T12:00:00Z"
    status = UpgradeStatus(
        phase=names.UpgradePhase.SOAKING,
        message="shard 0 soaks until 12:00:30",
        observed_generation=1,
        from_version="9.1.1",
        started_at=at,
        finished_at=at,
        soak_until="2026-11-23T12:00:30Z",
        shards=(ShardUpgradeStatus(shard=0, phase=names.ShardPhase.DONE, version="9.1.2", since=at),),
        conditions=(
            ConditionStatus(
                type=names.Condition.PROGRESSING,
                status="True",
                reason="Soaking",
                message="shard 0 soaks",
                last_transition_time=at,
            ),
        ),
        baseline=BaselineStatus(error_replies=0, evicted_keys=1.5, latency_microseconds=12.5),
        history=(HistoryStatus(at=at, phase=names.UpgradePhase.CANARY, message="shard 0 is first"),),
    ).as_manifest()
    written = server.write_status(UPGRADE, "served", status)
    assert written.status_code == 200, written.text
    assert written.json()["status"] == status


def test_upgrades_can_be_selected_by_their_cluster(server: Server):
    for name, cluster in (("select-a", "selected"), ("select-b", "another")):
        assert server.create(UPGRADE, _upgrade(cluster), name, dry_run=False).status_code == 201
    query = {"fieldSelector": "spec.clusterRef.name=selected"}
    found = server.http.get(UPGRADE.objects, params=query).json()["items"]
    assert [one["metadata"]["name"] for one in found] == ["select-a"]
